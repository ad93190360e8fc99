"""Masking takes time and memory in proportion to its text, whatever the text and the secrets look like."""

import base64
import json
import random
import tracemalloc

import pytest

from events.masking.cut_secrets import EndingIndex, length_of_rest, rests_in
from events.masking.decoded_text import without_escape_sequences
from events.masking.masker import MASK, Masker, readings_of
from events.masking.secret_forms import forms_of
from events.payload_limits import MAX_PAYLOAD_BYTES, is_storable, mask_tokens, shorten
from registry.schemas import MAX_CARD_BYTES
from tests.callers import AgentCaller
from tests.growth import assert_grows_linearly, at_most, seconds
from tests.workspaces.factories import booting
from workspaces.access.masking import masker_of
from workspaces.access.secrets import put_secrets
from workspaces.access.tokens import digest
from workspaces.models import Workspace

_RANDOM = random.Random(7)  # noqa: S311 (the same texts in each run)
_TOKEN_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
PEM = base64.encodebytes(_RANDOM.randbytes(6_000)).decode()
VALUES = [
    "sk-" + _RANDOM.randbytes(20).hex(),
    PEM,
    "x" * 65_536,
    "postgres://u:pa%2Fss@h/db",
    '{"a": ["b", {"c": "d"}]}',
]


def token_like(size):
    return "".join(_RANDOM.choices(_TOKEN_CHARACTERS, k=size))


def twice(text):
    return base64.b64encode(base64.b64encode(text.encode())).decode()


def repeated(text):
    return lambda size: text * (size // len(text))


TEXTS = {
    "token-like": token_like,
    "token-like words": lambda size: " ".join(token_like(100) for _ in range(size // 101)),
    "Base64": lambda size: base64.encodebytes(_RANDOM.randbytes(size * 3 // 4)).decode(),
    "Base64 twice": lambda size: base64.b64encode(base64.b64encode(_RANDOM.randbytes(size * 9 // 16))).decode(),
    "Base64 of words": lambda size: base64.b64encode(token_like(size * 3 // 4).encode()).decode(),
    "words of Base64 twice": lambda size: " ".join(twice(token_like(40)) for _ in range(size // 73)),
    "hex": lambda size: _RANDOM.randbytes(size // 2).hex(),
    "hex of words": lambda size: token_like(size // 2).encode().hex(),
    "bytes in hex": lambda size: _RANDOM.randbytes(size // 3).hex(" "),
    "lines of bytes in hex": lambda size: "\n".join(_RANDOM.randbytes(16).hex(" ") for _ in range(size // 48)),
    "a dump": lambda size: "\n".join(f"{at:08x}: {'4142 ' * 8} ABABABABABABABAB" for at in range(size // 67)),
    "the secret": repeated(VALUES[0]),
    "lines of the secret": repeated(PEM),
    "a part of the secret": repeated(PEM[:200]),
    **{
        repr(text): repeated(text)
        for text in (
            *(
                "\x1b[",
                "\x1b]",
                "\x1b[0",
                "\x1b]8;;",
                "\x1b[31mx",
                "\x1bP",
                "%",
                "%4",
                "%41",
                "%e2%82",
                "+",
                "\\",
                "\\u",
            ),
            *("\\ud83d", "\\u0041", "&", "&#", "&#x41;", "&amp;", "slw_", "slwt_", "slwt_slw", "c2x3dF", "x", "xy"),
            *(
                "ab ",
                "ab ab abc ",
                "ab:",
                "ab  ",
                "ab \n",
                "00000000: ",
                "\n0000000 ",
                "ab" * 8 + " ",
                "0x41, ",
                "c2x3dF8=",
            ),
            *("\\xc3\\xa4", "\\303\\244", "\xc3\xa4", "\xf0\x9f", "%c3"),
            *("\n", "\r\n", "\0", "\t", " ", "://", "a=", "=", "ä", "\ud800", "a\n", "a" * 76 + "\n", "password="),
        )
    },
}


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_masking_grows_with_the_text_and_not_faster(make):
    assert_grows_linearly(Masker(VALUES).mask, make, size=32_768)


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_reading_a_secret_grows_with_its_length_and_not_faster(make):
    assert_grows_linearly(lambda text: forms_of([text]), make, size=16_384)


def encoded(size):
    return base64.b64encode(token_like(size).encode()).decode()


# Escapes of each kind, characters that were read in two ways, a wrapped line and a dump.
ESCAPES = (
    "\n%41%2541 \\u0041 \\x41 \\\\u0041 \\n \\\\n &amp;&#x41;&amp;amp; '\\''"
    " a+b \u00e4 \u00c3\u00a4 \\303\\244 %C3%A4 \u200b\n"
    "00000000: 4142 4344 4546 4748 494a 4b4c 4d4e 4f50  ABCDEFGHIJKLMNOP\n"
    f"00000010: 4142 4344 4546 4748 494a 4b4c 4d4e 4f50  ABCDEFGHIJKLMNOP\n{'a' * 64}\nabcd\n"
)
_CHARACTERS = 65_536
RUNS = {
    "short Base64": lambda: " ".join(encoded(12) for _ in range(_CHARACTERS // 17)),
    "Base64": lambda: " ".join(encoded(40) for _ in range(_CHARACTERS // 57)),
    "lines of Base64": lambda: base64.encodebytes(token_like(_CHARACTERS * 3 // 4).encode()).decode(),
    "Base64 twice": lambda: " ".join(twice(token_like(40)) for _ in range(_CHARACTERS // 77)),
    "hex": lambda: " ".join(token_like(12).encode().hex() for _ in range(_CHARACTERS // 25)),
    "words as long as tokens": lambda: " ".join(token_like(107) for _ in range(_CHARACTERS // 108)),
    **{
        f"Base64 with {separator!r}": lambda separator=separator: separator.join(
            encoded(12) for _ in range(_CHARACTERS // (16 + len(separator)))
        )
        for separator in ("%2520", "%20", "\\n", "+", "\u00e4", "\u00c3\u00a4", "&amp;", "\\u0041")
    },
}


class FormerTokenMasker(Masker):
    """Hashes words as the masker of a workspace does."""

    def is_former_token(self, word):
        return digest(word) == ""


@pytest.mark.parametrize("make", RUNS.values(), ids=RUNS)
def test_encoded_words_and_escapes_of_each_kind_cost_little_more_than_plain_words_with_them(make):
    masker = FormerTokenMasker([token_like(20) for _ in range(16)])
    plain = "plain words " * (_CHARACTERS // 12) + ESCAPES
    assert seconds(masker.mask, make() + ESCAPES) < 5 * seconds(masker.mask, plain)


@pytest.mark.parametrize("make", RUNS.values(), ids=RUNS)
def test_a_text_is_read_in_at_most_48_different_ways(make):
    readings = [reading.text for reading in readings_of(without_escape_sequences(make()[:1_000] + ESCAPES))]
    assert len(set(readings)) == len(readings) <= 48


def test_what_is_encoded_twice_is_masked_where_it_stands_among_many_words_and_each_time():
    words = [twice(token_like(40)) for _ in range(200)]
    words[50] = words[150] = twice(f"user:{VALUES[0]}")
    masked = Masker(VALUES).mask(" ".join(words)).split(" ")
    assert [at for at, word in enumerate(masked) if MASK in word] == [50, 150]
    assert [word for word in masked if MASK not in word] == [*words[:50], *words[51:150], *words[151:]]


NESTED = {
    "lists": lambda size: "[" * (size // 2) + "]" * (size // 2),
    "objects": lambda size: '{"a":' * (size // 6) + "1" + "}" * (size // 6),
    "items": lambda size: json.dumps(["abcdefgh"] * (size // 12)),
    "texts in texts": lambda size: json.dumps(json.dumps(json.dumps(["a" * 9] * (size // 16)))),
    "URLs": lambda size: "https://u:passw0rd@h/ " * (size // 22),
    "assignments": lambda size: "password=a1; " * (size // 13),
    "lines": lambda size: "".join(f"{number}\n" for number in range(size // 6)),
}


@pytest.mark.parametrize("make", NESTED.values(), ids=NESTED)
def test_finding_what_is_secret_in_a_secret_grows_with_its_length_and_not_faster(make):
    assert_grows_linearly(lambda text: forms_of([text]), make, size=16_384)


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_masking_what_was_cut_grows_with_the_text_and_not_faster(make):
    forms = [form.text for form in forms_of(VALUES)]
    assert_grows_linearly(lambda text: list(rests_in(text, forms)), make, size=32_768)


REPETITIVE = {
    "one character": lambda size: "\\" * size,
    "one character with an end": lambda size: "a" * size + "b",
    "two characters with an end": lambda size: "ab" * (size // 2) + "c",
    "one character with a middle": lambda size: "a" * (size // 2) + "b" + "a" * (size // 2),
    "a long period": lambda size: ("a" * 300 + "b") * (size // 301) + "c",
}


@pytest.mark.parametrize("make", REPETITIVE.values(), ids=REPETITIVE)
def test_finding_the_rest_of_a_secret_that_repeats_itself_grows_with_its_length_and_not_faster(make):
    def find_rests(secret):
        for text in (secret[1:-1], secret[:1000], secret[:-1] * 2):
            list(rests_in(text, [secret, secret[::-1]]))

    assert_grows_linearly(find_rests, make, size=65_536)


@pytest.mark.parametrize("length", [*range(4, 12), 100, 255, 256, 257, 299, 301, 600, 998])
@pytest.mark.parametrize("make", [token_like, *REPETITIVE.values()], ids=["token-like", *REPETITIVE])
def test_a_rest_of_any_length_is_found(make, length):
    secret = make(1_300)
    text = secret[-length:] + "\n!"
    assert length_of_rest(secret, text) == length
    assert EndingIndex([secret], [text]).length_of_rest(text) == length


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_what_the_outbox_does_to_a_payload_grows_with_it_and_not_faster(make):
    def bound(text):
        if not is_storable(json.dumps({"a": text})):
            shorten(mask_tokens({"a": text, "b": [text]}))

    assert_grows_linearly(bound, make, size=MAX_PAYLOAD_BYTES)


@pytest.mark.django_db
def test_masking_a_card_grows_with_its_number_of_texts_and_not_faster():
    workspace = booting(secrets={f"KEY_{number}": f"secret-value-{number}" for number in range(20)})

    def mask_card(number):
        masker_of(workspace.pk).mask_strings({str(each): [str(each)] for each in range(number)})

    assert_grows_linearly(mask_card, int, size=2_000)


# Secrets, and the texts of a card that have as much in common with each of them as can be.
CARDS = {
    "nothing in common": ("{token}", "{token} {number}"),
    "the same begin": ("sk-proj-{token}", "sk-proj-{number}"),
    "the same begin at the end": ("sk-proj-{token}", "{number} is sk-proj-"),
    "the same end": ("{token}/database", "/database is {number}"),
    "the same begin of long ones": (f"{PEM[:300]}{{token}}", f"{{number}} {PEM[:20]}"),
    "the same end of long ones": (f"{{token}}{PEM[:300]}", f"{PEM[280:300]} {{number}}"),
    "the same middle": (f"{{token}}{PEM[:40]}{{token}}", f"{PEM[:30]} {{number}}"),
    "words in Base64 twice": ("{token}", "{number} WXpKNE0yUkdPSEpUV1dKSVEwUlpSbGRQ"),
    "bytes in hex": ("{token}", "{number} 47 6c 6f 62 61 6c 20 73 65 63 72 65 74"),
    "the same address": ("https://hooks.example.com/{token}", "https://hooks.example.com/{number}"),
}


@pytest.mark.parametrize(("secret", "text"), CARDS.values(), ids=CARDS)
def test_masking_a_card_grows_with_its_texts_and_the_secrets_and_not_with_their_product(secret, text):
    def mask_card(number):
        values = [secret.format(token=token_like(20)) for _ in range(number)]
        Masker(values).mask_all([text.format(token=token_like(20), number=each) for each in range(10 * number)])

    assert_grows_linearly(mask_card, int, size=100)


@pytest.mark.parametrize(("secret", "text"), CARDS.values(), ids=CARDS)
def test_the_largest_card_is_masked_with_two_hundred_secrets_within_two_seconds(secret, text):
    masker = Masker([secret.format(token=token_like(40)) for _ in range(200)])
    texts = [text.format(token=token_like(20), number=number) for number in range(MAX_CARD_BYTES // len(text))]
    assert seconds(masker.mask_strings, texts) < at_most(2)


@pytest.mark.django_db
@pytest.mark.parametrize("size", [60_000, 1_000_000])
def test_a_token_like_card_is_masked_in_little_memory(size):
    agent = AgentCaller(booting())
    put_secrets({"KEY": VALUES[0]}, workspace_id=agent.workspace.pk)
    card = {"name": "n", "text": token_like(size)}
    # The first request imports and caches what all later ones share.
    agent.register(agent_card={})
    tracemalloc.start()
    answer = agent.register(agent_card=card)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.status_code == 200
    assert ("ignored" in answer.json()) == (size > MAX_CARD_BYTES)
    assert Workspace.objects.get(pk=agent.workspace.pk).agent_card == (card if size < MAX_CARD_BYTES else {})
    assert peak < 16 * (size + MAX_CARD_BYTES)


@pytest.mark.django_db
def test_a_log_of_eight_mebibytes_is_masked_in_the_time_of_what_is_kept_of_it():
    assert seconds(masker_of(booting().pk).mask_log_tail, token_like(8 * 1024 * 1024)) < at_most(2)
