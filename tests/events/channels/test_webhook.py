"""Webhooks against a real receiver that verifies with the library of Standard Webhooks."""

import ipaddress
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from events.channels.base import Receipt, SendFailed
from events.channels.registry import kind_of
from events.channels.webhook import signing
from events.channels.webhook.kind import parse_retry_after, receipt_of
from postgres.clock import database_now
from tests.events.channels.factories import failure, form_errors, message, sending
from tests.events.channels.receivers import Answer, receiving

pytestmark = pytest.mark.django_db


def options_for(url, **more):
    return {"url": url, "headers": {}, **signing.initial_options(), **more}


def test_a_private_address_is_refused_when_sending(settings):
    with receiving() as private, sending("webhook", options_for(private.url)) as sender:
        with pytest.raises(SendFailed, match="not a public address") as failed:
            sender.send([message()])
        assert failed.value.is_permanent
        assert private.received == []


def test_the_connection_uses_the_checked_address_even_if_the_name_resolves_to_another_one_later(monkeypatch, settings):
    """The name server answers with an allowed address first, and with a private one next."""
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
        assert private.received == []
    assert next(answers) == "127.0.0.1"


def test_both_secrets_sign_until_the_overlap_ends(receiver):
    now = database_now()
    old = signing.initial_options()["signing"]
    both = signing.rotate(old, now=now)
    with sending("webhook", options_for(receiver.url, signing=both)) as sender:
        sender.send([message()])
    for each in both:
        assert Webhook(each["secret"]).verify(receiver.received[0].body, receiver.received[0].headers)
    assert [signing.is_valid(each, now + timedelta(hours=25)) for each in both] == [True, False]
    late = [both[0], {**both[1], "until": (now - timedelta(seconds=1)).isoformat()}]
    with sending("webhook", options_for(receiver.url, signing=late)) as sender:
        sender.send([message()])
    assert Webhook(both[0]["secret"]).verify(receiver.received[1].body, receiver.received[1].headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(both[1]["secret"]).verify(receiver.received[1].body, receiver.received[1].headers)


def test_rotating_twice_keeps_the_end_of_the_first_secret():
    now = database_now()
    once = signing.rotate(signing.initial_options()["signing"], now=now)
    twice = signing.rotate(once, now=now + timedelta(hours=1))
    assert [each["until"] for each in twice] == [
        None,
        (now + timedelta(hours=25)).isoformat(),
        (now + timedelta(hours=24)).isoformat(),
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("soon", None),
        ("-5", None),
        ("0", 0),
        ("120", 120),
        ("9" * 30, 1_000_000),
        ("9" * 5000, 1_000_000),
        ("0" * 5000 + "5", 5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("Fri, 31 Dec 2026 23:59:59 +999999999999", None),
        ("١٢", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_is_ignored(text, seconds):
    assert parse_retry_after(text) == (None if seconds is None else timedelta(seconds=seconds))


def test_retry_after_as_a_date_is_the_time_until_then():
    # The date has no fractions of a second.
    soon = datetime.now(tz=UTC).replace(microsecond=0) + timedelta(minutes=5)
    longest = soon - datetime.now(tz=UTC)
    parsed = parse_retry_after(format_datetime(soon, usegmt=True))
    assert soon - datetime.now(tz=UTC) <= parsed <= longest


@pytest.mark.parametrize(
    ("status", "headers", "is_permanent", "is_gone", "retry_after"),
    [
        (500, {}, False, False, None),
        (404, {}, False, False, None),
        (302, {}, False, False, None),
        (301, {}, True, False, None),
        (308, {}, True, False, None),
        (400, {}, True, False, None),
        (431, {}, True, False, None),
        (410, {}, False, True, None),
        (429, {b"retry-after": b"120"}, False, False, timedelta(minutes=2)),
        (503, {b"retry-after": b"999999"}, False, False, timedelta(hours=12)),
    ],
)
def test_a_status_other_than_2xx_is_a_failure(status, headers, is_permanent, is_gone, retry_after):
    with pytest.raises(SendFailed) as failed:
        receipt_of(status, headers, "no")
    error = failed.value
    assert (error.is_permanent, error.is_gone, error.retry_after) == (is_permanent, is_gone, retry_after)
    assert (error.answer, error.response) == (f"HTTP {status}", "no")


@pytest.mark.parametrize(
    "retry_after", ["Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -2359", "9" * 5000]
)
@pytest.mark.parametrize("location", ["http://[::1", "http://[v1.x]/", "http://\u2100.example/", "//[", ""])
def test_hostile_headers_of_a_real_answer_are_a_failure_like_any_other(receiver, retry_after, location):
    receiver.answer = lambda request: Answer(
        302, {"Location": location.encode().decode("latin-1"), "Retry-After": retry_after}
    )
    with sending("webhook", options_for(receiver.url)) as sender, pytest.raises(SendFailed) as failed:
        sender.send([message()])
    assert failed.value.answer == "HTTP 302"
    assert failed.value.retry_after is None or failed.value.retry_after <= timedelta(hours=12)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_2xx_status_is_a_receipt(status):
    assert receipt_of(status, {}, "ok") == Receipt(answer=f"HTTP {status}", response="ok")


def test_a_connection_is_used_again(receiver):
    with sending("webhook", options_for(receiver.url)) as sender:
        for position in range(5):
            sender.send([message(position)])
    assert len(receiver.received) == 5
    assert len(receiver.ports) == 1


def test_a_body_with_non_ascii_text_verifies(receiver):
    options = options_for(receiver.url)
    with sending("webhook", options) as sender:
        sender.send([failure(error='Ключ "α" 缺失 \u2028 </script>')])
    got = receiver.received[0]
    body = Webhook(options["signing"][0]["secret"]).verify(got.body, got.headers)
    assert body["data"]["payload"]["error"] == 'Ключ "α" 缺失 \u2028 </script>'
    assert got.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("data", "field", "reason"),
    [
        ({}, "url", "required"),
        ({"url": "nonsense"}, "url", "not a URL"),
        ({"url": "ftp://example.com/"}, "url", "not a URL"),
        ({"url": "https://"}, "url", "not a URL"),
        ({"url": "https://example.com:99999/"}, "url", "not a URL"),
        ({"url": "https://[::1/"}, "url", "not a URL"),
        ({"url": "https://exa mple.com/"}, "url", "not a URL"),
        ({"url": "https://user:pw@example.com/"}, "url", "Authorization"),
        ({"url": "http://8.8.8.8/", "is_https_only": "on"}, "url", "not https"),
        ({"url": "https://169.254.169.254/latest"}, "url", "not a public address"),
        ({"url": "https://localhost/"}, "url", "not a public address"),
        ({"url": "https://8.8.8.8/", "headers": "nonsense"}, "headers", "Line 1"),
        ({"url": "https://8.8.8.8/", "headers": "A: b\nB: ä"}, "headers", "Line 2"),
        ({"url": "https://8.8.8.8/", "headers": "Host: x"}, "headers", "Slipway sets"),
        ({"url": "https://8.8.8.8/", "headers": "Webhook-Id: x"}, "headers", "Slipway sets"),
        ({"url": "https://8.8.8.8/", "headers": "\n".join(f"X-{n}: 1" for n in range(21))}, "headers", "at most 20"),
    ],
)
def test_the_form_names_what_is_wrong(data, field, reason):
    assert reason in form_errors("webhook", **data)[field]


def test_the_form_accepts_a_public_url_and_headers():
    form = kind_of("webhook").form({"url": " https://8.8.8.8/hook ", "headers": "Authorization: Bearer a:b\nX-A: 1"})
    assert form.is_valid(), form.errors
    headers = {"Authorization": "Bearer a:b", "X-A": "1"}
    assert form.cleaned_data == {"url": "https://8.8.8.8/hook", "is_https_only": False, "headers": headers}
