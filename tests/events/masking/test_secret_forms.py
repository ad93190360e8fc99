"""A secret value is masked in whatever form a program prints it."""

import base64
import html
import json
import random
import re
import shlex
import textwrap
import urllib.parse

import pytest

from events.masking.masker import MASK, Masker
from tests.callers import AgentCaller
from tests.workspaces.factories import booting
from workspaces.access.api_keys import mint_api_key
from workspaces.access.tokens import mint_agent_token
from workspaces.models import Heartbeat

SECRET = "p/ä ss+w&rd'\"=tail-9f\\x"
PEM = "-----BEGIN KEY-----\nMIIEvgIBADANBgkq\nhkiG9w0BAQ\nAQ8Z==\nz9\n-----END KEY-----\n"
URL_SECRET = "postgres://service:pa%2Fss-w0rd@db.internal:5432/app?sslmode=require"
JSON_SECRET = json.dumps({"user": "svc", "nested": [{"private_key": "first\nsecond-line"}], "password": "hun7er2"})


def b64(text):
    return base64.b64encode(text.encode()).decode()


def basic(user, value):
    return b64(f"{user}:{value}")


def lines_of(text):
    raw = text.encode()
    return [raw[at : at + 16] for at in range(0, len(raw), 16)]


def dump(text, line):
    """Return the lines that a program prints of these bytes, 16 in each."""
    printed = []
    for number, raw in enumerate(lines_of(text)):
        shown = re.sub("[^ -~]", ".", raw.decode("latin-1"))
        halves = f"{raw[:8].hex(' ')}  {raw[8:].hex(' ')}"
        columns = {"digits": raw.hex(" "), "groups": raw.hex(" ", -2), "halves": halves, "shown": shown}
        columns |= {"fours": raw.hex(" ", -4), "eights": raw.hex(" ", -8)}
        printed.append(line.format(at=16 * number, **columns))
    return "\n".join(printed)


class MaskerOfFormer(Masker):
    """Knows one token without a prefix, as earlier versions minted them."""

    def is_former_token(self, word):
        return word == TEXT


LONG = SECRET * 5
# In UTF-8, characters of two, three and four bytes.
FOREIGN = [
    "Pässwörd-geheim-1",
    "пароль-очень-тайный",
    "épée-\N{EURO SIGN}-été-42",
    "pass-\N{KEY}\N{LOCK}-word-7",
    "Ñ°Ã¤-x-Â¡",
]
# Random ones, as text of its own.
TEXT = "nI7cVx0-QmYbR2_fLz8TgWk5DsAe3JhUo1Np6XqCv9B"
TOKEN, KEY = f"slwt_{TEXT}", f"slw_{TEXT}"
SPELLINGS = {
    "plain": str,
    "URL": urllib.parse.quote,
    "URL with slashes": lambda text: urllib.parse.quote(text, safe=""),
    "query": urllib.parse.quote_plus,
    "query with slashes": lambda text: urllib.parse.quote_plus(text, safe="/"),
    "URL in lower case": lambda text: urllib.parse.quote(text, safe="").replace("%2F", "%2f").replace("%C3", "%c3"),
    "each byte in a URL": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "URL in a URL": lambda text: urllib.parse.quote(urllib.parse.quote(text, safe=""), safe=""),
    "JSON": json.dumps,
    "JSON in Unicode": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON with slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "JSON in capitals": lambda text: json.dumps(text).replace("\\u00e4", "\\u00E4"),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "Python": repr,
    "HTML": html.escape,
    "each character in HTML": lambda text: "".join(f"&#{ord(character)};" for character in text),
    "hex": lambda text: text.encode().hex(),
    "hex in capitals": lambda text: text.encode().hex().upper(),
    "hex with 0x": lambda text: f"0x{text.encode().hex()}",
    "hex with colons": lambda text: text.encode().hex(":"),
    "hex with colons in capitals": lambda text: text.encode().hex(":").upper(),
    "hex with hyphens": lambda text: text.encode().hex("-"),
    "hex with spaces": lambda text: text.encode().hex(" "),
    "hex in groups": lambda text: text.encode().hex(" ", -2),
    "hex in a list": lambda text: ", ".join(f"0x{byte:02x}" for byte in text.encode()),
    "od": lambda text: "".join(f" {line.hex(' ')}\n" for line in lines_of(text)),
    "od in Python": lambda text: repr("".join(f" {line.hex(' ')}\n" for line in lines_of(text)).encode()),
    "od with addresses": lambda text: dump(text, "{at:07o} {digits}"),
    "xxd -p": lambda text: "\n".join(textwrap.wrap(text.encode().hex(), 60)),
    "Base64": lambda text: b64(text),
    "Base64 of lines of Base64": lambda text: b64(base64.encodebytes(text.encode()).decode()),
    "Base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "Base64 in a URL": lambda text: urllib.parse.quote(b64(text), safe=""),
    **{f"Basic {length}": lambda text, user="u" * length: basic(user, text) for length in range(1, 7)},
    "Basic without padding": lambda text: basic("user", text).replace("=", ""),
    "lines of Base64": lambda text: "\n".join(textwrap.wrap(basic("user", text), 64)),
    "Base64 twice": lambda text: b64(b64(text)),
    **{f"Base64 twice {length}": lambda text, user="u" * length: b64(basic(user, text)) for length in range(1, 4)},
    **{f"Base64 in Basic {length}": lambda text, user="u" * length: basic(user, b64(text)) for length in range(1, 4)},
    "lines of Base64 twice": lambda text: "\n".join(textwrap.wrap(b64(b64(text)), 76)),
    "coloured": lambda text: "".join(f"\x1b[3{at % 8}m{character}" for at, character in enumerate(text)) + "\x1b[0m",
    "with a NUL": lambda text: text[:5] + "\0" + text[5:],
    **{
        ascii(invisible): invisible.join
        for invisible in ("\u200b", "\u00ad", "\ufe0f", "\u200c", "\u2060", "\u202a\u034f")
    },
    "JSON with invisible characters": lambda text: json.dumps("\u200b".join(text)),
    "a value of JSON in a URL": lambda text: urllib.parse.quote(json.dumps({"": text})[5:-2]),
    "JSON in JSON in a URL": lambda text: urllib.parse.quote(json.dumps(json.dumps(text)[1:-1])[1:-1], safe=""),
    "JSON in HTML": lambda text: html.escape(json.dumps(text)[1:-1]),
    "HTML in HTML": lambda text: html.escape(html.escape(text)),
    "URL in HTML": lambda text: html.escape(urllib.parse.quote(text)),
    "Python in HTML in JSON": lambda text: json.dumps(html.escape(repr(text)[1:-1])),
    "shell": lambda text: text.replace("'", "'\\''"),
    "shell's quotes": shlex.quote,
    "octal characters": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode("latin-1")),
    "long Unicode": lambda text: "".join(f"\\U{ord(character):08x}" for character in text),
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("secret", [SECRET, LONG, TOKEN, KEY, TEXT], ids=["value", "long", "token", "key", "former"])
def test_a_value_a_token_and_a_key_are_masked_in_each_spelling(spell, secret):
    values = [SECRET, LONG] if secret in (SECRET, LONG) else []
    spelled = spell(secret)
    masked = MaskerOfFormer(values).mask(f"curl: ({spelled}) failed")
    assert MASK in masked
    remaining = masked.removeprefix("curl: (").removesuffix(") failed").replace(MASK, "")
    # Base64 of a user name before it, and quotes around it, remain.
    assert len(remaining) <= 10, remaining
    for part in (secret, secret[:6], secret[-6:]):
        assert part not in masked


@pytest.mark.parametrize("length", [58, 120, 600])
def test_a_value_that_takes_several_lines_of_base64_is_masked_if_these_are_encoded_again(length):
    value = random.Random(7).randbytes(length // 2).hex()  # noqa: S311 (the same value in each run)
    for encode in (base64.encodebytes, base64.b64encode):
        spelled = encode(base64.encodebytes(value.encode())).decode()
        masked = Masker([value]).mask(f"encoded: {spelled}")
        assert re.fullmatch(rf"encoded: .?{MASK}\w{{0,8}}=*\n?", masked)


def in_bytes(pattern):
    return lambda text: "".join(pattern.format(byte) for byte in text.encode())


def in_octal(text):
    """Return the text as git prints names of files, and C compilers texts."""
    return "".join(chr(byte) if byte < 128 else f"\\{byte:03o}" for byte in text.encode())


OF_BYTES = {
    "Python": lambda text: repr(text.encode()),
    "Python in JSON": lambda text: json.dumps(repr(text.encode())),
    "each byte in C": in_bytes("\\x{:02x}"),
    "each byte in capitals": in_bytes("\\x{:02X}"),
    "octal": in_octal,
    "each byte in octal": in_bytes("\\{:03o}"),
    "octal in JSON": lambda text: json.dumps(in_octal(text)),
    "characters": ascii,
}


@pytest.mark.parametrize("spell", OF_BYTES.values(), ids=OF_BYTES)
@pytest.mark.parametrize("secret", FOREIGN)
def test_a_value_of_any_language_is_masked_in_escapes_of_its_bytes(spell, secret):
    masked = Masker([secret]).mask(f"curl: {spell(secret)} failed")
    assert re.fullmatch(rf"""curl: [b\\"']*{MASK}[\\"']* failed""", masked)


@pytest.mark.parametrize("spell", [*OF_BYTES.values(), urllib.parse.quote], ids=[*OF_BYTES, "URL"])
@pytest.mark.parametrize("secret", FOREIGN[:4])
def test_no_offset_at_which_others_cut_such_escapes_leaves_four_characters(spell, secret):
    spelled = spell(secret)
    first = max(len(spell(secret[:7])), len(spell(secret[-7:])))
    for offset in range(first, len(spelled)):
        for cut in (f"{spelled[-offset:]} was refused", f"the key {spelled[:offset]}", f"the key {spelled[:offset]}…"):
            masked = Masker([secret]).mask(cut)
            assert MASK in masked, (offset, cut)
            remaining = masked.replace(MASK, "").removesuffix(" was refused").removeprefix("the key ")
            assert len(remaining) < 12, (offset, remaining)


@pytest.mark.parametrize("secret", [TOKEN, KEY, TEXT, "Global-secret-value-1"])
@pytest.mark.parametrize("before", ["", "KEY=", "a text of twenty and more bytes: "])
@pytest.mark.parametrize(
    "line",
    ["{at:08x}: {groups:39}  {shown}", "{at:08x}  {halves:48}  |{shown}|", "{at:07o} {digits:47}  >{shown}<"],
    ids=["xxd", "hexdump -C", "od -tx1z"],
)
def test_neither_the_digits_nor_the_text_of_a_dump_show_a_secret(line, before, secret):
    text = f"the agent said\n{dump(before + secret, line)}\nthe end"
    masked = MaskerOfFormer([secret] if "value" in secret else []).mask(text)
    assert masked.startswith("the agent said\n0000000")
    assert masked.endswith("\nthe end")
    for at in range(len(secret) - 4):
        piece = secret[at : at + 4]
        assert piece not in masked
        assert piece.encode().hex(" ") not in masked
        assert piece.encode().hex(" ", -2) not in masked


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


@pytest.mark.parametrize(
    "line",
    [
        "{at:08x}: {fours:39}  {shown}",
        "{at:08x}: {eights:39}  {shown}",
        "{at:08x}: {groups:39}  {shown}",
        "{at:08x}  {halves:48}  |{shown}|",
        "{at:07o} {digits:47}  >{shown}<",
        "worker-1  | {at:08x}: {groups:39}  {shown}",
    ],
)
@pytest.mark.parametrize("secret", ["Pässwörd-geheim-1", "Global-secret-value-1", "Pässwörd-1"])
@pytest.mark.parametrize("before", ["", "KEY="])
def test_a_dump_shows_nothing_of_a_secret_as_text(line, secret, before):
    masked = Masker([secret]).mask(f"the agent said\n{dump(before + secret, line)}\nthe end")
    assert masked.startswith("the agent said\n")
    assert masked.endswith(f"{MASK}\nthe end")
    assert not re.search("ssw|rd-|geh|eim|Glo|ret|val|ue-", masked)


def test_a_short_value_of_digits_is_not_found_across_dates_and_times():
    masked = Masker(["0123"]).mask("at 2024-01-23 10:12:34:56 took 41 42 01 23 45 67, 30 31 32 33 and 0123")
    assert masked == f"at 2024-01-23 10:12:34:56 took 41 42 01 23 45 67, {MASK} and {MASK}"


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


@pytest.mark.django_db
@pytest.mark.parametrize(
    "spell", ["hex", "hex in capitals", "hex with colons", "hex with spaces", "od", "Base64 twice"]
)
def test_a_beat_and_a_failure_show_no_spelling_of_a_token_or_a_key(spell):
    _, key = mint_api_key(name="script", scopes=["read"])
    agent = AgentCaller(booting())
    agent.register()
    for secret in (mint_agent_token(agent.workspace), key):
        failing = AgentCaller(booting())
        spelled = SPELLINGS[spell](secret)
        told = f"no: {spelled} !"
        assert agent.beat(error_rate=0.9, sample_error=told, current_task=told).status_code == 200
        assert failing.failed(error=told, log_tail=f"{told}\n").status_code == 200
        beat = Heartbeat.objects.get(pk=agent.workspace.pk)
        failing.workspace.refresh_from_db()
        failed = failing.workspace
        for text in (beat.sample_error, beat.current_task, failed.failure_message, failed.failure_log_tail):
            assert text.split() == ["no:", "••••••", "!"]
