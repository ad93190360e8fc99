"""Each kind of channel against a real receiver of its kind, and what their forms refuse."""

import ipaddress
import json
import socket
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from uuid import uuid4

import pytest
import redis
from django.conf import settings as django_settings
from standardwebhooks import Webhook, WebhookVerificationError
from urllib3.util import connection

from events.channels.base import Message, SendFailed
from events.channels.network import addresses
from events.channels.network.guarded_sockets import guarded_sockets
from events.channels.notification import worded
from events.channels.registry import KINDS, UnknownKind, kind_of
from events.channels.webhook import kind as channel
from events.delivery import channel_operations
from events.delivery.deliverer import deliver_all_due
from events.envelope import LoggedEvent
from events.models import Channel, Delivery, DeliveryState
from events.names import EventType
from events.outbox import NewEvent
from postgres.clock import database_now
from tests.events.channels import factories
from tests.events.channels.mail_server import mail_server
from tests.events.channels.receivers import Answer, receiving
from tests.events.conftest import publish

pytestmark = pytest.mark.django_db

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


@pytest.fixture
def loopback_allowed(settings):
    settings.DELIVERY_ALLOW_PRIVATE = LOOPBACK
    settings.PLATFORM_URL = "https://slipway.example.com"


@pytest.fixture
def receiver(loopback_allowed):
    with receiving() as receiver:
        yield receiver


def message(position=1, event_type=EventType.WORKSPACE_ONLINE, **payload):
    event = LoggedEvent(
        position=position,
        event_type=event_type,
        workspace_id=uuid4(),
        version=1,
        payload=payload,
        created_at=database_now(),
        subject={"name": "nightly", "runtime": "hermes", "ancestors": []},
    )
    return Message(id=f"{position}00", event=event)


def failure(position=1, **payload):
    payload = {"error": "It broke.", "code": "crashed", **payload}
    return message(position, EventType.WORKSPACE_PROVISION_FAILED, **payload)


def sending(kind, options, *, timeout_seconds=5):
    return closing(kind_of(kind).open(options, timeout_seconds=timeout_seconds))


def form_errors(kind, **data):
    form = kind_of(kind).form(data)
    assert not form.is_valid()
    return {name: " ".join(errors) for name, errors in form.errors.items()}


def test_there_are_five_kinds_each_with_a_form_and_a_page():
    assert list(KINDS) == ["webhook", "chat", "email", "redis_stream", "log"]
    for kind in KINDS.values():
        page = django_settings.BASE_DIR / "docs" / "reference" / "channels" / f"{kind.name}.md"
        text = page.read_text()
        for name in kind.form.declared_names():
            assert f"`{name}`" in text, (kind.name, name)
        assert set(kind.form.sealed) <= set(kind.form.declared_names())


def test_an_unknown_kind_is_named():
    with pytest.raises(UnknownKind, match="'pigeon'"):
        kind_of("pigeon")


# --- Addresses -----------------------------------------------------------------------------------

FORBIDDEN = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104
    "192.0.2.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "fd00:ec2::254",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_what_is_no_public_address_is_refused(address):
    assert not addresses.is_allowed(ipaddress.ip_address(address))
    with pytest.raises(addresses.ForbiddenAddress, match="DELIVERY_ALLOW_PRIVATE"):
        addresses.reachable_address(address, 80)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_a_public_address_is_allowed(address):
    assert addresses.is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "localhost"])
def test_other_spellings_of_loopback_are_refused_too(host):
    with pytest.raises(addresses.ForbiddenAddress):
        addresses.reachable_address(host, 80)


def test_an_operator_s_networks_are_allowed_and_no_others(settings):
    settings.DELIVERY_ALLOW_PRIVATE = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")]
    assert addresses.is_allowed(ipaddress.ip_address("10.1.2.3"))
    assert addresses.is_allowed(ipaddress.ip_address("::ffff:10.1.2.3"))
    assert addresses.is_allowed(ipaddress.ip_address("fd00::1"))
    assert not addresses.is_allowed(ipaddress.ip_address("10.2.0.1"))


def test_one_forbidden_address_among_several_is_enough(monkeypatch):
    # The name server is not ours.
    found = [(socket.AF_INET, 1, 6, "", (address, 80)) for address in ("8.8.8.8", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(addresses.ForbiddenAddress, match=r"127\.0\.0\.1"):
        addresses.reachable_address("two.example.com", 80)


# --- Webhook -------------------------------------------------------------------------------------


def options_for(url, **more):
    return {"url": url, "headers": {}, **channel.KIND.initial_options(), **more}


def test_a_webhook_is_refused_where_its_address_is_private_when_it_is_sent(settings):
    with receiving() as private, sending("webhook", options_for(private.url)) as sender:
        with pytest.raises(SendFailed, match="no public address") as failed:
            sender.send([message()])
        assert failed.value.is_permanent
        assert private.got == []


def test_a_webhook_connects_to_the_address_that_was_judged_whatever_its_name_says_next(monkeypatch, settings):
    """A name server that gives an allowed address to the judge and a private one to the connection."""
    settings.DELIVERY_ALLOW_PRIVATE = [ipaddress.ip_network("127.0.0.2/32")]
    answers = iter(["127.0.0.2", "127.0.0.1"])
    real = socket.getaddrinfo

    def rebinding(host, port, *arguments, **keywords):
        return real(next(answers) if host == "rebind.example.com" else host, port, *arguments, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with receiving() as private:
        port = private.server_address[1]
        options = options_for(f"http://rebind.example.com:{port}/")
        with sending("webhook", options) as sender, pytest.raises(SendFailed, match="The connection failed"):
            sender.send([message()])
        assert private.got == []
    assert next(answers) == "127.0.0.1"


def test_both_secrets_sign_while_they_overlap_and_the_old_one_no_longer_then(receiver):
    now = database_now()
    old = channel.KIND.initial_options()["signing"]
    both = channel.rotated(old, now=now)
    with sending("webhook", options_for(receiver.url, signing=both)) as sender:
        sender.send([message()])
    for each in both:
        assert Webhook(each["secret"]).verify(receiver.got[0].body, receiver.got[0].headers)
    assert channel.valid(both, now=now + timedelta(hours=25)) == both[:1]
    late = [both[0], {**both[1], "until": (now - timedelta(seconds=1)).isoformat()}]
    with sending("webhook", options_for(receiver.url, signing=late)) as sender:
        sender.send([message()])
    assert Webhook(both[0]["secret"]).verify(receiver.got[1].body, receiver.got[1].headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(both[1]["secret"]).verify(receiver.got[1].body, receiver.got[1].headers)


def test_rotating_twice_keeps_the_first_secret_s_own_end():
    now = database_now()
    once = channel.rotated(channel.KIND.initial_options()["signing"], now=now)
    twice = channel.rotated(once, now=now + timedelta(hours=1))
    assert [each["until"] for each in twice] == [
        None,
        (now + timedelta(hours=25)).isoformat(),
        (now + timedelta(hours=24)).isoformat(),
    ]


def test_a_connection_is_used_again(receiver):
    with sending("webhook", options_for(receiver.url)) as sender:
        for position in range(5):
            sender.send([message(position)])
    assert len(receiver.got) == 5
    assert len(receiver.ports) == 1


def test_the_body_holds_texts_of_every_script_and_verifies(receiver):
    options = options_for(receiver.url)
    with sending("webhook", options) as sender:
        sender.send([failure(error='Ключ "α" 缺失 \u2028 </script>')])
    got = receiver.got[0]
    body = Webhook(options["signing"][0]["secret"]).verify(got.body, got.headers)
    assert body["data"]["payload"]["error"] == 'Ключ "α" 缺失 \u2028 </script>'
    assert got.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("data", "field", "said"),
    [
        ({}, "url", "required"),
        ({"url": "nonsense"}, "url", "no address"),
        ({"url": "ftp://example.com/"}, "url", "no address"),
        ({"url": "https://"}, "url", "no address"),
        ({"url": "https://example.com:99999/"}, "url", "no address"),
        ({"url": "https://[::1/"}, "url", "no address"),
        ({"url": "https://exa mple.com/"}, "url", "no address"),
        ({"url": "https://user:pw@example.com/"}, "url", "Authorization"),
        ({"url": "http://8.8.8.8/", "is_https_only": "on"}, "url", "not https"),
        ({"url": "https://169.254.169.254/latest"}, "url", "no public address"),
        ({"url": "https://localhost/"}, "url", "no public address"),
        ({"url": "https://8.8.8.8/", "headers": "nonsense"}, "headers", "Line 1"),
        ({"url": "https://8.8.8.8/", "headers": "A: b\nB: ä"}, "headers", "Line 2"),
        ({"url": "https://8.8.8.8/", "headers": "Host: x"}, "headers", "set by Slipway"),
        ({"url": "https://8.8.8.8/", "headers": "Webhook-Id: x"}, "headers", "set by Slipway"),
        ({"url": "https://8.8.8.8/", "headers": "\n".join(f"X-{n}: 1" for n in range(21))}, "headers", "at most 20"),
    ],
)
def test_the_webhook_s_form_names_what_is_wrong(data, field, said):
    assert said in form_errors("webhook", **data)[field]


def test_the_webhook_s_form_takes_what_can_be_sent_to():
    form = kind_of("webhook").form({"url": " https://8.8.8.8/hook ", "headers": "Authorization: Bearer a:b\nX-A: 1"})
    assert form.is_valid(), form.errors
    headers = {"Authorization": "Bearer a:b", "X-A": "1"}
    assert form.cleaned_data == {"url": "https://8.8.8.8/hook", "is_https_only": False, "headers": headers}


# --- Chat ----------------------------------------------------------------------------------------


def mattermost(receiver):
    return f"mmost://127.0.0.1:{receiver.server_address[1]}/3ccdd113474722377935511fc85d3dd4"


def test_a_chat_gets_what_failed_why_since_when_and_a_link(receiver):
    with sending("chat", {"url": mattermost(receiver)}) as sender:
        failed = failure(error="Missing required environment variable OPENAI_API_KEY.", code="missing_env")
        sender.send([failed])
    text = json.loads(receiver.got[0].body)["text"]
    assert "nightly failed (missing_env)" in text
    assert "Why: Missing required environment variable OPENAI_API_KEY." in text
    assert f"Since: {failed.event.created_at:%Y-%m-%d %H:%M}" in text
    assert f"https://slipway.example.com/admin/workspaces/workspace/{failed.event.workspace_id}/change/" in text


def test_a_chat_that_does_not_take_it_says_why(receiver):
    receiver.answer = lambda request: Answer(404)
    with sending("chat", {"url": mattermost(receiver)}) as sender, pytest.raises(SendFailed, match="404") as failed:
        sender.send([failure()])
    assert "3ccdd113474722377935511fc85d3dd4" not in str(failed.value)


def test_a_chat_on_a_private_address_is_refused_and_gets_nothing():
    with receiving() as private, sending("chat", {"url": mattermost(private)}) as sender:
        with pytest.raises(SendFailed):
            sender.send([failure()])
        assert private.got == []


def test_a_chat_s_redirect_to_a_private_address_is_refused(receiver, settings):
    settings.DELIVERY_ALLOW_PRIVATE = [ipaddress.ip_network("127.0.0.1/32")]
    with receiving() as private:
        port = private.server_address[1]
        receiver.answer = lambda request: Answer(307, {"Location": f"http://127.0.0.2:{port}/"})
        with sending("chat", {"url": mattermost(receiver)}) as sender, pytest.raises(SendFailed):
            sender.send([failure()])
        assert private.got == []


def test_the_guard_of_sockets_ends_with_its_block(receiver, settings):
    settings.DELIVERY_ALLOW_PRIVATE = []
    with guarded_sockets(), pytest.raises(addresses.ForbiddenAddress):
        connection.create_connection(receiver.server_address)
    connection.create_connection(receiver.server_address, timeout=30).close()


@pytest.mark.parametrize("url", ["nonsense", "file:///etc/passwd", "syslog://", "json://example.com", "slack://short"])
def test_the_chat_s_form_refuses_what_is_no_chat(url):
    assert form_errors("chat", url=url)["url"]


@pytest.mark.parametrize(
    "url",
    [
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "tgram://123456789:abcdefg_hijklmnop/12315544/",
        "mmosts://chat.example.com/3ccdd113474722377935511fc85d3dd4",
        "matrixs://user:secret@matrix.example.com/#room",
    ],
)
def test_the_chat_s_form_takes_the_usual_ones(url):
    form = kind_of("chat").form({"url": url})
    assert form.is_valid(), form.errors


# --- E-mail --------------------------------------------------------------------------------------


@pytest.fixture
def mails(settings):
    with mail_server() as server:
        settings.EMAIL_URL = f"smtp://127.0.0.1:{server.port}"
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        yield server


def test_a_mail_goes_out_as_text_and_as_html(mails, loopback_allowed):
    with sending("email", {"recipients": "ops@example.com\noncall@example.com", "subject_prefix": "[S]"}) as sender:
        sender.send([failure(error="<b>It broke</b>\nbadly.")])
    mail = message_from_bytes(mails.mails[0], policy=policy.default)
    assert mail["Subject"] == "[S] nightly failed (crashed)"
    assert mail["To"] == "ops@example.com, oncall@example.com"
    text, html = (part.get_content() for part in mail.iter_parts())
    assert "<b>It broke</b>\nbadly." in text.replace("\r\n", "\n")
    assert "&lt;b&gt;It broke&lt;/b&gt;" in html
    assert "https://slipway.example.com/admin/workspaces/workspace/" in html


def test_a_name_with_a_line_end_makes_no_header_of_its_own(mails, loopback_allowed):
    event = replace(failure().event, subject={"name": "x\r\nBcc: evil@example.com"})
    evil = Message(id="1", event=event)
    with sending("email", {"recipients": "ops@example.com", "subject_prefix": ""}) as sender:
        sender.send([evil])
    mail = message_from_bytes(mails.mails[0], policy=policy.default)
    assert mail["Bcc"] is None
    assert mail["Subject"].startswith("x Bcc: evil@example.com failed")


@pytest.mark.parametrize(("answer", "is_permanent"), [(b"550 unknown", True), (b"450 later", False)])
def test_a_recipient_that_is_refused_for_good_is_a_permanent_failure(mails, answer, is_permanent):
    mails.answer = answer
    options = {"recipients": "ops@example.com", "subject_prefix": ""}
    with sending("email", options) as sender, pytest.raises(SendFailed, match=answer[:3].decode()) as failed:
        sender.send([failure()])
    assert failed.value.is_permanent is is_permanent


@pytest.mark.parametrize(
    ("recipients", "said"),
    [
        ("", "required"),
        ("nonsense", "nonsense is no"),
        ("\n".join(f"a{n}@example.com" for n in range(51)), "at most 50"),
    ],
)
def test_the_mail_s_form_names_what_is_wrong(mails, recipients, said):
    assert said in form_errors("email", recipients=recipients)["recipients"]


def test_the_mail_s_form_says_that_no_server_is_set(settings):
    settings.EMAIL_URL = ""
    assert "EMAIL_URL" in form_errors("email", recipients="ops@example.com")["recipients"]


# --- Redis stream --------------------------------------------------------------------------------


@pytest.fixture
def stream(loopback_allowed):
    name = f"{django_settings.REDIS_PREFIX}stream-{uuid4()}"
    with redis.Redis.from_url(django_settings.REDIS_URL, decode_responses=True) as client:
        yield client, name
        client.delete(name)


def redis_options(name, **more):
    return {"url": django_settings.REDIS_URL, "stream": name, "max_length": 100, **more}


def test_an_entry_has_its_position_for_an_id_and_is_added_once(stream):
    client, name = stream
    first, second = message(5), message(6)
    with sending("redis_stream", redis_options(name)) as sender:
        for each in (first, second, second, first):
            sender.send([each])
    entries = client.xrange(name)
    assert [place for place, _ in entries] == ["5-0", "6-0"]
    fields = entries[0][1]
    assert (fields["id"], fields["event"], fields["position"]) == ("500", "WORKSPACE_ONLINE", "5")
    assert json.loads(fields["data"])["position"] == 5


def test_an_entry_that_comes_late_is_added_behind_the_newest_and_says_where_it_belongs(stream):
    client, name = stream
    with sending("redis_stream", redis_options(name)) as sender:
        for position in (4, 6, 5, 7):
            sender.send([message(position)])
    entries = client.xrange(name)
    assert [place for place, _ in entries] == ["4-0", "6-0", "6-1", "7-0"]
    assert [fields["position"] for _, fields in entries] == ["4", "6", "5", "7"]


def test_tests_of_a_stream_are_added_and_are_in_no_event_s_way(stream):
    client, name = stream
    tests = [replace(message(0), id=f"test-{number}") for number in (1, 2, 3)]
    with sending("redis_stream", redis_options(name)) as sender:
        for each in (tests[0], tests[1], message(3), tests[2], message(4)):
            sender.send([each])
    places = {fields["id"]: place for place, fields in client.xrange(name)}
    assert places == {"test-1": "0-1", "test-2": "0-2", "300": "3-0", "test-3": "3-1", "400": "4-0"}


def test_the_stream_is_kept_to_about_its_length(stream):
    client, name = stream
    with sending("redis_stream", redis_options(name)) as sender:
        for position in range(1, 601):
            sender.send([message(position)])
    assert 100 <= client.xlen(name) < 400


def test_a_redis_that_is_away_is_a_failure_that_may_pass(loopback_allowed):
    options = redis_options("x", url="redis://127.0.0.1:1/0")
    with sending("redis_stream", options) as sender, pytest.raises(SendFailed) as failed:
        sender.send([message()])
    assert not failed.value.is_permanent


def test_a_redis_on_a_private_address_is_refused():
    with pytest.raises(SendFailed, match="no public address"), sending("redis_stream", redis_options("x")):
        pass


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"url": "http://8.8.8.8"}, "url"),
        ({"url": "redis://"}, "url"),
        ({"url": "redis://127.0.0.1:6379/0"}, "url"),
        ({"url": "redis://8.8.8.8", "stream": "a b"}, "stream"),
        ({"url": "redis://8.8.8.8", "max_length": "5"}, "max_length"),
    ],
)
def test_the_stream_s_form_names_what_is_wrong(data, field):
    assert form_errors("redis_stream", **{"stream": "s", "max_length": "1000", **data})[field]


# --- Words, floods and tests ---------------------------------------------------------------------


@pytest.mark.parametrize("name", EventType.values)
def test_every_event_has_words_for_people(name, loopback_allowed):
    wording = worded([message(event_type=name, kind="outage", message="It was down.")])
    assert name not in wording.title
    assert wording.link.startswith("https://slipway.example.com/admin/")


def test_a_test_is_said_to_be_one(receiver):
    channel_operations.send_test(factories.channel("chat", {"url": mattermost(receiver)}), now=database_now())
    assert json.loads(receiver.got[0].body)["text"].startswith(
        "A test of this channel\r\nWhy: A test of the channel chat"
    )


def test_many_equal_failures_become_one_message_with_their_number(receiver):
    factories.channel("chat", {"url": mattermost(receiver)})
    codes = ["crashed"] * 20 + ["missing_env"] * 2
    publish(*[failed_event(f"w{number}", code) for number, code in enumerate(codes)])
    assert deliver_all_due() == 22
    texts = [json.loads(request.body)["text"] for request in receiver.got]
    assert len(texts) == 3
    assert "20 × Provisioning failed: crashed" in texts[0]
    assert "w0, w1, " in texts[0]
    assert "and 10 more" in texts[0]
    assert all("missing_env" in text for text in texts[1:])

    # More of them within the window wait, and go out as one.
    publish(*[failed_event(f"v{number}", "crashed") for number in range(5)])
    assert deliver_all_due() == 0
    assert Delivery.objects.filter(state=DeliveryState.WAITING).count() == 5
    Delivery.objects.filter(state=DeliveryState.DELIVERED).update(settled_at=database_now() - timedelta(minutes=2))
    Delivery.objects.filter(state=DeliveryState.WAITING).update(next_attempt_at=database_now())
    assert deliver_all_due() == 5
    assert "5 × Provisioning failed: crashed" in json.loads(receiver.got[-1].body)["text"]


def failed_event(name, code, workspace_id=None, version=1):
    return NewEvent(
        event_type=EventType.WORKSPACE_PROVISION_FAILED,
        workspace_id=workspace_id or uuid4(),
        version=version,
        payload={"error": "It broke.", "code": code},
        subject={"name": name, "runtime": "echo", "ancestors": []},
    )


def test_what_follows_a_failure_that_is_held_back_waits_behind_it(receiver):
    factories.channel("chat", {"url": mattermost(receiver)})
    publish(*[failed_event(f"w{number}", "crashed") for number in range(4)])
    deliver_all_due()
    held = uuid4()
    publish(failed_event("late", "crashed", held))
    assert deliver_all_due() == 0
    recovered = NewEvent(
        event_type=EventType.WORKSPACE_ONLINE, workspace_id=held, version=2, subject={"name": "late", "ancestors": []}
    )
    publish(recovered)
    assert deliver_all_due() == 0
    assert len(receiver.got) == 1


def test_a_webhook_gets_every_event_of_a_flood(receiver):
    factories.webhook(receiver.url)
    publish(*[failed_event(f"w{number}", "crashed") for number in range(20)])
    assert deliver_all_due() == 20
    assert len(receiver.got) == 20


def test_a_test_shows_what_the_receiver_answered_and_queues_nothing(receiver):
    stored = factories.webhook(receiver.url)
    receiver.answer = lambda request: Answer(202, body=b"noted")
    answer = channel_operations.send_test(stored, now=database_now())
    assert (answer.is_taken, answer.answer, answer.response) == (True, "HTTP 202", "noted")
    (body,) = receiver.messages(factories.signing_secret(stored))
    assert body["type"] == channel_operations.TEST_EVENT
    receiver.answer = lambda request: Answer(500, body=b"oops")
    answer = channel_operations.send_test(stored, now=database_now())
    assert (answer.is_taken, answer.answer, answer.response) == (False, "HTTP 500 It answered 500.", "oops")
    assert not Delivery.objects.exists()


def test_what_a_channel_must_not_show_is_encrypted_at_rest(receiver):
    stored = factories.webhook(receiver.url, headers={"Authorization": "Bearer s3cr3t"})
    row = Channel.objects.filter(pk=stored.pk).values().get()
    assert "s3cr3t" not in str(row)
    assert receiver.url not in str(row)
    assert "whsec_" not in str(row)


def test_a_rotated_secret_is_stored_and_the_old_one_signs_along(receiver):
    stored = factories.webhook(receiver.url)
    old = factories.signing_secret(stored)
    new = channel_operations.rotate_secret(stored, now=database_now())
    stored.refresh_from_db()
    assert factories.signing_secret(stored) == new != old
    channel_operations.send_test(stored, now=database_now())
    assert len(receiver.messages(old)) == len(receiver.messages(new)) == 1
