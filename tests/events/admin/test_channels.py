"""Channels in the admin: the forms of each kind, secrets that are not shown, and what operators can do."""

import html

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from standardwebhooks import WebhookVerificationError

from events.channels.registry import KINDS
from events.delivery.channel_operations import all_options
from events.delivery.deliverer import deliver_all_due
from events.models import Channel, Delivery, DeliveryState
from postgres.clock import database_now
from tests.events.channels import factories
from tests.events.channels.receivers import Answer, receiving
from tests.events.conftest import online, publish

pytestmark = pytest.mark.django_db

ADD, LIST = "/admin/events/channel/add/", "/admin/events/channel/"
COMMON = {"name": "ops", "concurrency": "4", "timeout_seconds": "30", "with_descendants": "on"}


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_superuser("operator"))
    return client


def errors_of(answer):
    form = answer.context["adminform"].form
    return {name: " ".join(errors) for name, errors in form.errors.items()}


def page(channel, action=""):
    address = reverse("admin:events_channel_change", args=[channel.pk])
    return address.replace("/change/", f"/{action}/") if action else address


def text_of(answer):
    return answer.content.decode()


def messages_of(answer):
    return " ".join(str(message) for message in answer.context["messages"])


def test_adding_a_channel_begins_with_choosing_its_kind(operator):
    text = text_of(operator.get(ADD))
    for kind in KINDS:
        assert f"?kind={kind}" in text
        assert operator.get(f"{ADD}?kind={kind}").status_code == 200
    assert "?kind=webhook" in text_of(operator.get(f"{ADD}?kind=pigeon"))


def test_the_secret_of_a_new_webhook_is_shown_once(operator, receiver):
    data = COMMON | {
        "url": receiver.url,
        "headers": "Authorization: Bearer s3cr3t",
        "failure_codes": ["crashed", "timed_out"],
        "runtimes": "hermes, echo hermes",
    }
    answer = operator.post(f"{ADD}?kind=webhook", data, follow=True)
    channel = Channel.objects.get()
    secret = all_options(channel)["signing"][0]["secret"]
    assert secret in text_of(answer)
    assert (channel.failure_codes, channel.runtimes) == (["crashed", "timed_out"], ["hermes", "echo"])
    assert channel.options == {"is_https_only": False}
    again = text_of(operator.get(page(channel)))
    for hidden in (secret, receiver.url, "s3cr3t", channel.sealed_options):
        assert hidden not in again


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        ({"name": ""}, "name", "required"),
        ({"url": "https://10.0.0.1/"}, "url", "not a public address"),
        ({"workspace_id": "nonsense"}, "workspace_id", "UUID"),
        ({"event_types": ["NONSENSE"]}, "event_types", "NONSENSE"),
        ({"failure_codes": ["nonsense"]}, "failure_codes", "nonsense"),
        ({"runtimes": "a;b"}, "runtimes", "is not allowed"),
        ({"concurrency": "0"}, "concurrency", "greater than or equal to 1"),
        ({"timeout_seconds": "31"}, "timeout_seconds", "less than or equal to 30"),
    ],
)
def test_invalid_input_is_named_at_its_field_and_nothing_is_saved(operator, data, field, message):
    answer = operator.post(f"{ADD}?kind=webhook", COMMON | {"url": "https://8.8.8.8/"} | data)
    assert message in errors_of(answer)[field]
    assert not Channel.objects.exists()


def test_a_timeout_of_more_than_half_the_lease_is_refused(operator, settings):
    settings.DELIVERY_LEASE_SECONDS = 10
    answer = operator.post(f"{ADD}?kind=webhook", COMMON | {"url": "https://8.8.8.8/", "timeout_seconds": "6"})
    assert "At most 5" in errors_of(answer)["timeout_seconds"]


def test_a_change_keeps_encrypted_options_that_are_left_empty(operator, receiver):
    channel = factories.webhook(receiver.url, headers={"X-A": "1"}, name="ops")
    before = all_options(channel)
    operator.post(page(channel), COMMON | {"name": "renamed", "url": "", "headers": ""})
    channel.refresh_from_db()
    assert channel.name == "renamed"
    assert all_options(channel) == before
    operator.post(page(channel), COMMON | {"url": receiver.url + "/2", "headers": "-"})
    channel.refresh_from_db()
    assert all_options(channel) == before | {"url": receiver.url + "/2", "headers": {}}


@pytest.mark.parametrize("kind", KINDS)
def test_a_channel_of_any_kind_is_renamed_without_entering_its_secrets_again(operator, receiver, settings, kind):
    settings.EMAIL_URL = "smtp://localhost:1"
    channel = factories.of_every_kind(receiver)[kind]
    before = all_options(channel)
    shown = {name: value for name, value in channel.options.items() if value is not False}
    answer = operator.post(page(channel), COMMON | shown | {"name": "renamed"})
    assert answer.status_code == 302, errors_of(answer)
    channel.refresh_from_db()
    assert (channel.name, all_options(channel)) == ("renamed", before)


def test_a_change_while_the_key_is_missing_asks_for_every_secret_and_destroys_none(operator, receiver, settings):
    channel = factories.webhook(receiver.url, headers={"X-A": "1"}, name="ops")
    settings.SECRETS_KEYS = [Fernet.generate_key().decode()]
    assert "can't be decrypted" in html.unescape(text_of(operator.get(page(channel))))
    answer = operator.post(page(channel), COMMON | {"name": "renamed", "url": "", "headers": ""})
    assert set(errors_of(answer)) == {"url", "headers"}
    before = channel.sealed_options
    channel.refresh_from_db()
    assert (channel.name, channel.sealed_options) == ("ops", before)
    operator.post(page(channel), COMMON | {"url": receiver.url, "headers": "-"})
    channel.refresh_from_db()
    assert all_options(channel)["headers"] == {}


OTHER_ORIGINS = {
    "port": "http://127.0.0.1:{other}/hook",
    "host": "http://127.0.0.2:{port}/hook",
    "name": "http://localhost:{port}/hook",
    "scheme": "https://127.0.0.1:{port}/hook",
    "written in capitals": "HTTP://127.0.0.1:{other}/hook",
    "unparsable": "http://[::1",
}


def stolen(receiver, thief, place):
    return OTHER_ORIGINS[place].format(port=receiver.server_address[1], other=thief.server_address[1])


@pytest.mark.parametrize("place", OTHER_ORIGINS)
def test_stored_headers_are_not_kept_for_another_origin(operator, receiver, place):
    channel = factories.webhook(receiver.url, headers={"Authorization": "Bearer s3cr3t"}, name="ops")
    before = all_options(channel)
    with receiving() as thief:
        data = COMMON | {"url": stolen(receiver, thief, place), "headers": ""}
        answer = operator.post(page(channel), data)
        assert "Enter this again" in errors_of(answer)["headers"]
        operator.post(page(channel, "test"))
        assert thief.received == []
    channel.refresh_from_db()
    assert all_options(channel) == before


@pytest.mark.parametrize(("entered", "sent"), [("-", None), ("Authorization: Bearer other", "Bearer other")])
def test_another_origin_gets_the_headers_entered_for_it_and_a_signing_secret_of_its_own(
    operator, receiver, entered, sent
):
    channel = factories.webhook(receiver.url, headers={"Authorization": "Bearer s3cr3t"}, name="ops")
    old = factories.signing_secret(channel)
    with receiving() as thief:
        answer = operator.post(page(channel), COMMON | {"url": thief.url, "headers": entered}, follow=True)
        channel.refresh_from_db()
        new = factories.signing_secret(channel)
        assert new in text_of(answer)
        operator.post(page(channel, "test"))
        (request,) = thief.received
        assert request.headers.get("authorization") == sent
        assert thief.messages(new)
        with pytest.raises(WebhookVerificationError):
            thief.messages(old)


def test_another_path_of_the_same_origin_keeps_headers_and_signing_secret(operator, receiver):
    channel = factories.webhook(receiver.url, headers={"X-A": "1"}, name="ops")
    before = all_options(channel)
    operator.post(page(channel), COMMON | {"url": receiver.url + "/2", "headers": ""})
    channel.refresh_from_db()
    assert all_options(channel) == before | {"url": receiver.url + "/2"}


def test_https_only_is_checked_against_the_stored_url(operator, receiver):
    channel = factories.webhook(receiver.url)
    answer = operator.post(page(channel), COMMON | {"is_https_only": "on"})
    assert "not https" in errors_of(answer)["url"]


def test_a_change_keeps_what_the_delivery_wrote_meanwhile(operator, receiver):
    channel = factories.webhook(receiver.url)
    now = database_now()
    Channel.objects.update(last_success_at=now, paused_at=now)
    operator.post(page(channel), COMMON)
    channel.refresh_from_db()
    assert (channel.last_success_at, channel.paused_at) == (now, now)


def test_sending_a_test_shows_the_answer(operator, receiver):
    channel = factories.webhook(receiver.url)
    receiver.answer = lambda request: Answer(503, body=b"closed <b>today</b>")
    assert operator.get(page(channel, "test")).status_code == 200
    assert receiver.received == []
    text = text_of(operator.post(page(channel, "test")))
    assert "The test failed" in text
    assert "HTTP 503" in text
    assert "closed &lt;b&gt;today&lt;/b&gt;" in text
    receiver.answer = lambda request: Answer()
    assert "The test was accepted" in text_of(operator.post(page(channel, "test")))


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("webhook", "https://does-not-exist.invalid/hook"),
        ("chat", "mmost://does-not-exist.invalid/3ccdd113474722377935511fc85d3dd4"),
        ("redis_stream", "redis://does-not-exist.invalid/0"),
    ],
)
def test_a_test_of_a_channel_whose_name_can_t_be_resolved_says_so(operator, kind, url):
    more = {"webhook": {"headers": {}}, "redis_stream": {"stream": "events", "max_length": 100}}.get(kind, {})
    answer = operator.post(page(factories.channel(kind, {"url": url, **more}), "test"))
    assert answer.status_code == 200
    assert "can't be resolved" in html.unescape(text_of(answer))


def test_pause_resume_and_enable(operator, receiver):
    channel = factories.webhook(receiver.url)
    operator.post(page(channel, "pause"))
    channel.refresh_from_db()
    assert channel.paused_at
    assert "Resume" in text_of(operator.get(page(channel)))
    operator.post(page(channel, "resume"))
    Channel.objects.update(is_enabled=False, disabled_reason="It is gone.")
    assert "It is gone." in text_of(operator.get(page(channel)))
    operator.post(page(channel, "enable"))
    channel.refresh_from_db()
    assert (channel.paused_at, channel.is_enabled, channel.disabled_reason) == (None, True, "")


def dead_letters(receiver, count):
    receiver.answer = lambda request: Answer(400, body=b"never")
    publish(*[online(subject={"name": "w", "runtime": "echo", "ancestors": []}) for _ in range(count)])
    deliver_all_due()
    receiver.answer = lambda request: Answer()
    return Delivery.objects.filter(state=DeliveryState.DEAD)


def test_dead_letters_are_redriven_singly_all_at_once_or_since_a_time(operator, receiver):
    channel = factories.webhook(receiver.url)
    dead = dead_letters(receiver, 3)
    one = dead.first()
    selected = {"action": "redrive_selected", "_selected_action": [one.pk]}
    assert "Dead letters redriven: 1." in messages_of(operator.post("/admin/events/delivery/", selected, follow=True))
    future = {"since": "2999-01-01 00:00"}
    assert "Dead letters redriven: 0." in messages_of(operator.post(page(channel, "redrive"), future, follow=True))
    future = {"since": "2999-01-01 00:00+23:59"}
    assert "Dead letters redriven: 0." in messages_of(operator.post(page(channel, "redrive"), future, follow=True))
    assert "not a date and time" in text_of(operator.post(page(channel, "redrive"), {"since": "soon"}))
    assert dead.count() == 2
    past = {"since": "2020-01-01 00:00"}
    assert "Dead letters redriven: 2." in messages_of(operator.post(page(channel, "redrive"), past, follow=True))
    dead_letters(receiver, 2)
    selected = {"action": "redrive_selected", "_selected_action": [channel.pk]}
    assert "Dead letters redriven: 5." in messages_of(operator.post(LIST, selected, follow=True))


def test_a_delivery_s_page_shows_each_attempt_with_its_answer(operator, receiver):
    factories.webhook(receiver.url)
    delivery = dead_letters(receiver, 1).get()
    text = text_of(operator.get(reverse("admin:events_delivery_change", args=[delivery.pk])))
    assert "HTTP 400" in text
    assert "never" in text


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("", 3),
        ("state=dead", 2),
        ("state=delivered", 1),
        ("state=nonsense", 3),
        ("channel={}", 3),
        ("channel=0", 0),
        ("channel=nonsense", 3),
        ("channel={}&state=dead", 2),
    ],
)
def test_deliveries_are_filtered_by_state_and_channel(operator, receiver, query, number):
    channel = factories.webhook(receiver.url)
    dead_letters(receiver, 2)
    publish(online())
    deliver_all_due()
    answer = operator.get(f"/admin/events/delivery/?{query.format(channel.pk)}")
    assert answer.context["cl"].result_count == number


def test_a_channel_s_page_links_to_its_deliveries(operator, receiver):
    channel = factories.webhook(receiver.url)
    address = f"/admin/events/delivery/?channel={channel.pk}"
    assert f'href="{address}"' in text_of(operator.get(page(channel)))
    assert operator.get(address).status_code == 200


def test_lookups_other_than_the_filters_are_refused(operator):
    assert operator.get("/admin/events/delivery/?event__payload__code=crashed").status_code == 400


def test_rotating_shows_the_new_secret_once(operator, receiver):
    channel = factories.webhook(receiver.url)
    answer = operator.post(page(channel, "rotate"), follow=True)
    channel.refresh_from_db()
    secret = factories.signing_secret(channel)
    assert secret in text_of(answer)
    assert secret not in text_of(operator.get(page(channel)))
    logged = factories.channel("log", {"level": "INFO"})
    assert "Rotate" not in text_of(operator.get(page(logged)))


def test_a_channel_is_deleted_with_its_deliveries(operator, receiver):
    channel = factories.webhook(receiver.url)
    dead_letters(receiver, 2)
    address = page(channel, "delete")
    assert operator.get(address).status_code == 200
    operator.post(address, {"post": "yes"})
    assert not Channel.objects.exists()
    assert not Delivery.objects.exists()


def test_an_unknown_id_redirects_to_the_list(operator):
    for action in ("test", "pause", "redrive", "rotate"):
        for key in ("0", "nonsense", "9" * 30):
            assert operator.get(f"/admin/events/channel/{key}/{action}/").status_code == 302


def test_a_viewer_can_see_channels_but_not_change_them(client, receiver):
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(permission("view_channel", "view_delivery"))
    client.force_login(viewer)
    channel = factories.webhook(receiver.url)
    assert client.get(page(channel)).status_code == 200
    for action in ("test", "pause", "resume", "enable", "redrive", "rotate"):
        assert client.post(page(channel, action)).status_code == 403
    assert client.get(f"{ADD}?kind=webhook").status_code == 403
    assert receiver.received == []


def permission(*names):
    return Permission.objects.filter(codename__in=names)


@pytest.mark.parametrize("address", [LIST, "/admin/events/delivery/"])
def test_a_list_takes_the_same_number_of_queries_with_3_and_with_30_rows(operator, receiver, address):
    factories.webhook(receiver.url)
    counts = []
    for number in (3, 27):
        for _ in range(number):
            factories.channel("log", {"level": "INFO"})
        publish(*[online() for _ in range(3)])
        operator.get(address)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert operator.get(address).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]
