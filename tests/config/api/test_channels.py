"""/channels: what the admin does with channels, for scripts; secrets are written and never read."""

import pytest
from cryptography.fernet import Fernet

from config.api import channels
from events.channels.registry import KINDS
from events.delivery import channel_operations
from events.delivery.channel_operations import all_options
from events.models import Channel, Delivery, DeliveryState
from postgres.clock import database_now
from tests.callers import holder
from tests.events.channels import factories
from tests.events.channels.conftest import loopback_allowed, receiver
from tests.events.channels.receivers import Answer
from tests.events.conftest import online, publish
from workspaces.models import ApiScope

__all__ = ["loopback_allowed", "receiver"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin():
    return holder(ApiScope.ADMIN)


def webhook(url, **options):
    return {"kind": "webhook", "name": "ops", "options": {"url": url, "is_https_only": False, **options}}


def patch(caller, path, body):
    return caller.client.patch(path, body, content_type="application/json", headers=caller.headers)


def add(admin, body):
    answer = admin.post("/channels", body)
    assert answer.status_code == 201, answer.content
    return answer.json()


def dead_letters(channel, number):
    """Store dead letters of as many events, and return these in order."""
    events = [publish(online()).get() for _ in range(number)]
    Delivery.objects.filter(channel=channel).update(state=DeliveryState.DEAD, attempts=8, settled_at=database_now())
    return events


def test_a_webhook_is_added_tested_and_followed_with_its_secret(admin, receiver):
    made = add(admin, webhook(receiver.url, headers={"Authorization": "Bearer s3cr3t"}) | {"runtimes": ["hermes"]})
    assert (made["name"], made["kind"], made["runtimes"]) == ("ops", "webhook", ["hermes"])
    assert (made["event_types"], made["concurrency"], made["state"]) == ([], 4, "sending")
    answer = admin.post(f"/channels/{made['id']}/test").json()
    assert (answer["is_accepted"], answer["answer"], answer["response"]) == (True, "HTTP 200", "thanks")
    (message,) = receiver.messages(made["signing_secret"])
    assert message["type"] == channel_operations.TEST_EVENT
    assert receiver.received[0].headers["authorization"] == "Bearer s3cr3t"


def test_what_is_secret_is_never_shown_again(admin, receiver):
    made = add(admin, webhook(receiver.url, headers={"Authorization": "Bearer s3cr3t"}))
    reader = holder(ApiScope.READ)
    for answer in (
        reader.get("/channels"),
        reader.get(f"/channels/{made['id']}"),
        patch(admin, f"/channels/{made['id']}", {"concurrency": 2}),
        admin.post(f"/channels/{made['id']}/pause"),
    ):
        assert answer.status_code == 200
        for hidden in ("s3cr3t", receiver.url, made["signing_secret"]):
            assert hidden not in answer.content.decode()
    assert reader.get(f"/channels/{made['id']}").json()["encrypted"] == ["url", "headers"]


def test_a_change_keeps_what_it_does_not_name(admin, receiver):
    made = add(admin, webhook(receiver.url, headers={"X-Key": "kept"}) | {"failure_codes": ["crashed"]})
    before = all_options(Channel.objects.get())
    changed = patch(admin, f"/channels/{made['id']}", {"name": "night shift", "timeout_seconds": 5}).json()
    assert (changed["name"], changed["timeout_seconds"], changed["failure_codes"]) == ("night shift", 5, ["crashed"])
    assert changed["signing_secret"] is None
    assert all_options(Channel.objects.get()) == before
    patch(admin, f"/channels/{made['id']}", {"options": {"headers": {}}})
    assert all_options(Channel.objects.get())["headers"] == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_channel_of_any_kind_is_renamed_without_entering_its_secrets_again(admin, receiver, settings, kind):
    settings.EMAIL_URL = "smtp://localhost:1"
    channel = factories.of_every_kind(receiver)[kind]
    before = all_options(channel)
    answer = patch(admin, f"/channels/{channel.pk}", {"name": "night shift"})
    assert (answer.status_code, answer.json()["name"]) == (200, "night shift"), answer.content
    channel.refresh_from_db()
    assert all_options(channel) == before


def test_a_change_while_the_key_is_missing_destroys_nothing(admin, receiver, settings):
    made = add(admin, webhook(receiver.url, headers={"X-Key": "kept"}))
    before = Channel.objects.get().sealed_options
    settings.SECRETS_KEYS = [Fernet.generate_key().decode()]
    for body in ({"name": "x"}, {"options": {"url": receiver.url}}):
        answer = patch(admin, f"/channels/{made['id']}", body)
        assert (answer.status_code, answer.json()["code"]) == (409, "secret_unreadable")
    answer = patch(admin, f"/channels/{made['id']}", {"options": {"url": "", "headers": {}}})
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["options.url"])
    assert Channel.objects.get().sealed_options == before
    answer = patch(admin, f"/channels/{made['id']}", {"options": {"url": receiver.url, "headers": {"X-Key": "new"}}})
    assert answer.json()["signing_secret"] not in (None, made["signing_secret"])
    assert all_options(Channel.objects.get())["headers"] == {"X-Key": "new"}


def test_for_another_host_the_secrets_are_asked_for_again_and_a_new_one_signs(admin, receiver):
    made = add(admin, webhook(receiver.url, headers={"X-Key": "of the old host"}))
    elsewhere = {"url": "http://127.0.0.1:1/hook"}
    answer = patch(admin, f"/channels/{made['id']}", {"options": elsewhere})
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["options.headers"])
    answer = patch(admin, f"/channels/{made['id']}", {"options": {**elsewhere, "headers": {"X-Key": "new"}}})
    secret = answer.json()["signing_secret"]
    assert secret not in (None, made["signing_secret"])
    assert factories.signing_secret(Channel.objects.get()) == secret


def test_options_of_each_kind_are_taken_as_json(admin, settings):
    settings.EMAIL_URL = "smtp://localhost:1"
    mail = {"kind": "email", "name": "mail", "options": {"recipients": ["a@example.com", "b@example.com"]}}
    assert add(admin, mail)["options"]["recipients"] == "a@example.com\nb@example.com"
    assert add(admin, {"kind": "log", "name": "log", "options": {"level": "INFO"}})["signing_secret"] is None
    stream = {"url": "rediss://192.0.2.1:6379/0", "max_length": 500}
    refused = admin.post("/channels", {"kind": "redis_stream", "name": "stream", "options": stream})
    assert list(refused.json()["fields"]) == ["options.url"]
    assert [row["kind"] for row in admin.get("/channels").json()] == ["log", "email"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"name": "x"}, {"kind"}),
        ({"kind": "pigeon", "name": "x"}, {"kind"}),
        ({"kind": "log"}, {"name"}),
        ({"kind": "log", "name": ""}, {"name"}),
        ({"kind": "log", "name": "a\u202eb"}, {"name"}),
        ({"kind": "log", "name": 7}, {"name"}),
        ({"kind": "log", "name": "taken", "options": {"level": "INFO"}}, {"name"}),
        ({"kind": "log", "name": "x", "evnt_types": []}, {"evnt_types"}),
        ({"kind": "log", "name": "x", "event_types": ["NO_SUCH"]}, {"event_types"}),
        ({"kind": "log", "name": "x", "event_types": "WORKSPACE_ONLINE"}, {"event_types"}),
        ({"kind": "log", "name": "x", "runtimes": ["a b"]}, {"runtimes"}),
        ({"kind": "log", "name": "x", "workspace_id": "x"}, {"workspace_id"}),
        ({"kind": "log", "name": "x", "concurrency": "4"}, {"concurrency"}),
        ({"kind": "log", "name": "x", "concurrency": 33}, {"concurrency"}),
        ({"kind": "log", "name": "x", "timeout_seconds": 10**30}, {"timeout_seconds"}),
        ({"kind": "log", "name": "x", "with_descendants": "no"}, {"with_descendants"}),
        ({"kind": "log", "name": "x", "options": []}, {"options"}),
        ({"kind": "log", "name": "x", "options": {"levle": "INFO"}}, {"options.levle"}),
        ({"kind": "log", "name": "x", "options": {"level": "LOUD"}}, {"options.level"}),
        ({"kind": "log", "name": "x", "options": {"level": None}}, {"options.level"}),
        ({"kind": "webhook", "name": "x"}, {"options.url"}),
        ({"kind": "webhook", "name": "x", "options": {"url": "https://169.254.169.254/"}}, {"options.url"}),
        (
            {"kind": "webhook", "name": "x", "options": {"url": "https://e.com", "headers": {"a": 1}}},
            {"options.headers"},
        ),
        (
            {"kind": "webhook", "name": "x", "options": {"url": "https://e.com", "headers": {"a": "b\nc: d"}}},
            {"options.headers"},
        ),
        ({"kind": "webhook", "name": "x", "options": {"url": "https://e.com", "signing": []}}, {"options.signing"}),
        (
            {"kind": "webhook", "name": "x", "options": {"url": ["https://e.com"], "is_https_only": 1}},
            {"options.is_https_only"},
        ),
    ],
)
def test_a_wrong_channel_is_refused_by_field_and_nothing_is_stored(admin, body, fields):
    Channel.objects.create(name="taken", kind="log", options={"level": "INFO"})
    answer = admin.post("/channels", body)
    assert answer.status_code == 422, answer.content
    assert set(answer.json()["fields"]) == fields
    assert Channel.objects.count() == 1


def test_an_unknown_field_is_refused_with_the_nearest_name(admin):
    answer = admin.post("/channels", {"kind": "log", "name": "x", "options": {"levle": "INFO"}})
    assert answer.json()["fields"] == {"options.levle": "There is no such field. Did you mean level?"}


def test_a_refusal_never_repeats_a_secret(admin):
    for options in (
        {"url": "http://h4ckme.example.com/s3cr3t"},
        {"url": "https://example.com", "headers": {"Authorization": "s3cr3t\x01"}},
    ):
        answer = admin.post("/channels", {"kind": "webhook", "name": "x", "options": options})
        assert answer.status_code == 422
        assert "s3cr3t" not in answer.content.decode()


def test_the_kind_can_not_be_changed(admin):
    channel = Channel.objects.create(name="log", kind="log", options={"level": "INFO"})
    answer = patch(admin, f"/channels/{channel.pk}", {"kind": "webhook"})
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["kind"])


def test_pause_resume_and_enable(admin):
    channel = Channel.objects.create(name="log", kind="log", options={"level": "INFO"})
    assert admin.post(f"/channels/{channel.pk}/pause").json()["state"] == "paused"
    assert admin.post(f"/channels/{channel.pk}/resume").json()["state"] == "sending"
    channel_operations.disable(channel, reason="The receiver is gone.")
    shown = admin.get(f"/channels/{channel.pk}").json()
    assert (shown["state"], shown["disabled_reason"]) == ("disabled", "The receiver is gone.")
    assert admin.post(f"/channels/{channel.pk}/enable").json()["state"] == "sending"


def test_dead_letters_are_sent_again_all_or_since_a_time(admin):
    channel = Channel.objects.create(name="log", kind="log", options={"level": "INFO"})
    *_, newest = dead_letters(channel, 3)
    assert admin.get(f"/channels/{channel.pk}").json()["dead_letters"] == 3
    since = newest.created_at.isoformat()
    assert admin.post(f"/channels/{channel.pk}/redrive", {"since": since}).json() == {"redriven": 1}
    far_zone = {"since": "2099-01-01T00:00:00+23:59"}
    assert admin.post(f"/channels/{channel.pk}/redrive", far_zone).json() == {"redriven": 0}
    refused = admin.post(f"/channels/{channel.pk}/redrive", {"since": "soon"})
    assert (refused.status_code, list(refused.json()["fields"])) == (422, ["since"])
    without_body = admin.client.generic("POST", f"/channels/{channel.pk}/redrive", headers=admin.headers)
    assert without_body.json() == {"redriven": 2}


def test_a_rotated_secret_is_in_the_answer_and_the_old_one_still_signs(admin, receiver):
    made = add(admin, webhook(receiver.url))
    new = admin.post(f"/channels/{made['id']}/rotate").json()["signing_secret"]
    admin.post(f"/channels/{made['id']}/test")
    assert len(receiver.messages(made["signing_secret"])) == len(receiver.messages(new)) == 1
    log = Channel.objects.create(name="log", kind="log", options={"level": "INFO"})
    refused = admin.post(f"/channels/{log.pk}/rotate")
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_to_rotate")


def test_a_repeated_request_adds_one_channel_and_answers_with_the_same_secret(admin, receiver):
    headers = {**admin.headers, "Idempotency-Key": "once"}
    first, second = (
        admin.client.post("/channels", webhook(receiver.url), content_type="application/json", headers=headers)
        for _ in range(2)
    )
    assert first.json()["signing_secret"] == second.json()["signing_secret"]
    assert Channel.objects.count() == 1


def test_a_lost_key_is_said_and_a_channel_of_an_unknown_kind_hides_no_other(admin, receiver):
    made = add(admin, webhook(receiver.url))
    Channel.objects.update(sealed_options="nonsense")
    rotated = admin.post(f"/channels/{made['id']}/rotate")
    assert (rotated.status_code, rotated.json()["code"]) == (409, "secret_unreadable")
    assert admin.post(f"/channels/{made['id']}/test").json()["is_accepted"] is False
    pigeon = Channel.objects.create(name="coo", kind="pigeon")
    assert [row["name"] for row in admin.get("/channels").json()] == ["coo", "ops"]
    assert patch(admin, f"/channels/{pigeon.pk}", {"name": "x"}).json()["code"] == "unknown_kind"
    assert admin.post(f"/channels/{pigeon.pk}/test").json()["code"] == "unknown_kind"


def test_a_removed_channel_is_gone_with_its_deliveries(admin):
    channel = Channel.objects.create(name="log", kind="log", options={"level": "INFO"})
    dead_letters(channel, 1)
    assert admin.delete(f"/channels/{channel.pk}").status_code == 200
    assert not Delivery.objects.exists()
    assert admin.get(f"/channels/{channel.pk}").status_code == 404


CALLS = [
    ("get", ""),
    ("delete", ""),
    *(("post", f"/{act}") for act in ("test", "pause", "resume", "enable", "redrive")),
]


@pytest.mark.parametrize(("method", "path"), [*CALLS, ("post", "/rotate")])
def test_an_unknown_channel_is_not_found(admin, method, path):
    for unknown in (999, 0, "x", 2**63):
        answer = getattr(admin, method)(f"/channels/{unknown}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert patch(admin, "/channels/999", {}).status_code == 404


@pytest.mark.parametrize(("method", "path"), [("patch", ""), ("post", "/rotate"), ("post", "/pause")])
def test_a_channel_that_is_removed_during_a_call_is_not_found(admin, receiver, monkeypatch, method, path):
    made = add(admin, webhook(receiver.url))
    find = channels.find_channel

    def find_and_remove(channel_id):
        channel = find(channel_id)
        Channel.objects.filter(pk=channel_id).delete()
        return channel

    monkeypatch.setattr(channels, "find_channel", find_and_remove)
    address = f"/channels/{made['id']}{path}"
    answer = patch(admin, address, {"concurrency": 2}) if method == "patch" else admin.post(address)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("scope", [ApiScope.READ, ApiScope.OPERATE, ApiScope.WATCH])
def test_only_admins_change_channels(scope):
    channel = Channel.objects.create(name="log", kind="log", options={"level": "INFO"})
    caller = holder(scope)
    for method, path in [*CALLS[1:], ("post", "/rotate")]:
        assert getattr(caller, method)(f"/channels/{channel.pk}{path}").status_code == 403
    assert patch(caller, f"/channels/{channel.pk}", {"name": "x"}).status_code == 403
    assert caller.post("/channels", {"kind": "log", "name": "x"}).status_code == 403
    assert caller.get("/channels").status_code == (403 if scope == ApiScope.WATCH else 200)


def test_every_kind_can_be_added_by_name():
    assert set(KINDS) == {"webhook", "chat", "email", "redis_stream", "log"}


def test_a_receiver_that_refuses_is_an_answer_of_the_test(admin, receiver):
    made = add(admin, webhook(receiver.url))
    receiver.answer = lambda request: Answer(500, body=b"oops")
    answer = admin.post(f"/channels/{made['id']}/test").json()
    assert (answer["is_accepted"], answer["response"]) == (False, "oops")
