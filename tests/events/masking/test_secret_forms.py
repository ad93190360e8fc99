"""A secret value is masked in whatever form a program prints it."""

import base64
import html
import json
import shlex
import urllib.parse

import pytest

from events.masking.masker import MASK, Masker
from tests.callers import AgentCaller
from tests.workspaces.factories import booting
from workspaces.models import Heartbeat

SECRET = "p/ä ss+w&rd'\"=tail-9f\\x"
PEM = "-----BEGIN KEY-----\nMIIEvgIBADANBgkq\nhkiG9w0BAQ\nAQ8Z==\nz9\n-----END KEY-----\n"
URL_SECRET = "postgres://service:pa%2Fss-w0rd@db.internal:5432/app?sslmode=require"
JSON_SECRET = json.dumps({"user": "svc", "nested": [{"private_key": "first\nsecond-line"}], "password": "hun7er2"})


def basic(user, value):
    return base64.b64encode(f"{user}:{value}".encode()).decode()


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        urllib.parse.quote(SECRET),
        urllib.parse.quote(SECRET, safe=""),
        urllib.parse.quote_plus(SECRET),
        urllib.parse.quote_plus(SECRET, safe="/"),
        urllib.parse.quote(SECRET, safe="").replace("%2F", "%2f").replace("%C3%A4", "%c3%a4"),
        urllib.parse.quote(urllib.parse.quote(SECRET, safe=""), safe=""),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps(SECRET).replace("/", "\\/"),
        json.dumps(SECRET).replace("\\u00e4", "\\u00E4"),
        json.dumps(json.dumps(SECRET)),
        repr(SECRET),
        html.escape(SECRET),
        SECRET.encode().hex(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        urllib.parse.quote(base64.b64encode(SECRET.encode()).decode(), safe=""),
        *(basic("u" * length, SECRET) for length in range(1, 7)),
        basic("user", SECRET * 5).replace("=", ""),
        base64.encodebytes(b"user:" + SECRET.encode() * 5).decode(),
        "".join(f"\x1b[3{number % 8}m{character}" for number, character in enumerate(SECRET)) + "\x1b[0m",
        SECRET[:5] + "\0" + SECRET[5:],
        *(invisible.join(SECRET) for invisible in ("\u200b", "\u00ad", "\ufe0f", "\u200c", "\u2060", "\u202a\u034f")),
        json.dumps("\u200b".join(SECRET)),
        urllib.parse.quote(json.dumps({"": SECRET})[5:-2]),
        urllib.parse.quote(json.dumps(json.dumps(SECRET)[1:-1])[1:-1], safe=""),
        html.escape(json.dumps(SECRET)[1:-1]),
        html.escape(html.escape(SECRET)),
        html.escape(urllib.parse.quote(SECRET)),
        json.dumps(html.escape(repr(SECRET)[1:-1])),
        SECRET.replace("'", "'\\''"),
        shlex.quote(SECRET),
        "".join(f"\\{byte:03o}" for byte in SECRET.encode("latin-1")),
        "".join(f"\\U{ord(character):08x}" for character in SECRET),
        SECRET.encode().hex(":"),
        SECRET.encode().hex(":").upper(),
        base64.b64encode(base64.b64encode(SECRET.encode())).decode(),
    ],
)
def test_a_value_is_masked_in_each_spelling(spelled):
    values = [SECRET, SECRET * 5]
    masked = Masker(values).mask(f"curl: ({spelled}) failed")
    assert MASK in masked
    remaining = masked.removeprefix("curl: (").removesuffix(") failed").replace(MASK, "")
    # Base64 of a user name before it, and quotes around it, remain.
    assert len(remaining) <= 10, remaining
    for part in (SECRET, SECRET[:6], SECRET[-6:]):
        assert part not in masked


@pytest.mark.parametrize(
    ("value", "printed", "secret"),
    [
        (URL_SECRET, 'FATAL: password "pa/ss-w0rd" is wrong', "pa/ss-w0rd"),
        (URL_SECRET, "password=pa%2Fss-w0rd user=service", "pa%2Fss-w0rd"),
        (URL_SECRET, f"Basic {basic('service', 'pa/ss-w0rd')}", basic("service", "pa/ss-w0rd")[12:-2]),
        ("https://0123456789abcdef@sentry.io/42", "key 0123456789abcdef", "0123456789abcdef"),
        ("https://h/?sig=a%2Fb1&mode=ro", "signature a/b1", "a/b1"),
        ("Server=tcp:db;User Id=sa;Password=Zx81!;", "Login failed: Zx81!", "Zx81!"),
        (JSON_SECRET, "the password hun7er2 is wrong", "hun7er2"),
        (JSON_SECRET, "key: second-line", "second-line"),
        (json.dumps(JSON_SECRET), "key: second-line", "second-line"),
        ('{"pin": 4711, "port": 5432}', "pin 4711", "4711"),
        (PEM, "> hkiG9w0BAQ", "hkiG9w0BAQ"),
        (PEM, "> AQ8Z==", "AQ8Z=="),
        (PEM, "> AQ8Z== <", "AQ8Z=="),
        (PEM, "> z9\nnext", "z9"),
        (PEM.replace("\n", "\r\n"), "> AQ8Z==\r\n> z9\r\n", "z9"),
        ("USER=me\nPIN=77aa\nURL=https://u:open-sesame@h/\n", "open-sesame and 77aa", "77aa"),
        ("USER=me\nPIN=77aa\nURL=https://u:open-sesame@h/\n", "open-sesame and 77aa", "open-sesame"),
    ],
)
def test_what_is_secret_inside_of_a_value_is_masked_by_itself(value, printed, secret):
    masked = Masker([value]).mask(printed)
    assert MASK in masked
    assert secret not in masked


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (URL_SECRET, "with sslmode=require, port 5432"),
        (JSON_SECRET, "svc: a passwordless user"),
        ('{"pin": 4711, "port": 5432}', "port 5432"),
        (PEM, "az9\nz9 was read\n"),
        ("line one\nok\n", "ok, and not okay"),
    ],
)
def test_what_is_not_secret_inside_of_a_value_stays(value, text):
    assert Masker([value]).mask(text) == text


def test_overlapping_values_are_masked_together():
    assert Masker(["abcdef", "defgh"]).mask("<abcdefgh>") == f"<{MASK}>"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "spelled",
    [
        "\u200b".join(SECRET),
        urllib.parse.quote(json.dumps({"k": SECRET})),
        html.escape(json.dumps(SECRET)),
        base64.b64encode(base64.b64encode(SECRET.encode())).decode(),
    ],
)
def test_a_beat_and_a_failure_show_no_spelling_of_a_secret(spelled):
    agent, failing = (AgentCaller(booting(secrets={"KEY": SECRET})) for _ in range(2))
    agent.register()
    assert (
        agent.beat(error_rate=0.9, sample_error=f"no: {spelled} !", current_task=f"no: {spelled} !").status_code == 200
    )
    assert failing.failed(error="no", log_tail=f"no: {spelled} !\n").status_code == 200
    beat = Heartbeat.objects.get(pk=agent.workspace.pk)
    failing.workspace.refresh_from_db()
    for text in (beat.sample_error, beat.current_task, failing.workspace.failure_log_tail):
        assert "•" in text, text
        assert spelled[-12:-8] not in text
