"""Masks secret values and credentials in text before it is stored or leaves the process.

Mask first, then cut: half of a secret can't be recognised. What others cut before it came here is masked as far as it
can be: the rest of a value at either end of each text.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from agent.texts import is_visibly_empty, last_characters, printable
from events.masking.credentials import CREDENTIAL_PREFIXES, REST_CHARACTERS, TOKEN_CHARACTERS
from events.masking.cut_secrets import rests_in_texts
from events.masking.decoded_text import DecodedText, from_bytes, undone, without_escape_sequences, without_wraps
from events.masking.encoded_text import ENCODED, JoinedTexts, encoded_texts
from events.masking.hex_dumps import without_gaps
from events.masking.known_runs import KnownRuns
from events.masking.secret_forms import Form, Where, forms_of
from events.masking.terminal_lines import COLOUR, shown_lines

MASK = "••••••"
LOG_TAIL_BYTES = 8 * 1024
# This much of a text is masked before it is cut: more than what is kept and the longest secret, URL-encoded.
WINDOW_CHARACTERS = 262_144
# What a terminal shows of it, and what is kept of that with colours; a log with more colours loses them.
_SHOWN_CHARACTERS, _MOST_COLOURED_CHARACTERS = 65_536, 4 * LOG_TAIL_BYTES
# Forms are looked up by their first characters; the short ones by fewer.
_KEY_CHARACTERS = (16, 8, 4, 3, 2, 1)
_MANY_KEYS = 256
# Credentials by their prefixes, whole or the beginning of one.
_CREDENTIAL = re.compile(rf"(?:{'|'.join(CREDENTIAL_PREFIXES)})[A-Za-z0-9_-]{{8,{TOKEN_CHARACTERS}}}")
# What is Base64 or hexadecimal digits twice is found, too.
_ROUNDS = 2
# Agent tokens without a prefix, as earlier versions minted them, at most this many characters beside others.
_UNPREFIXED = re.compile(rf"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{{{TOKEN_CHARACTERS},}}+")
_MOST_BESIDE_A_TOKEN = 64
# Each reading costs a search for each form, and a dump has three of them in each way to undo escapes.
_MOST_WITHOUT_GAPS = 12

_WIDE_MASK = re.compile(rf"{MASK[0]}{{2,}}")
# A log that was cut inside of a credential begins with the rest of it, perhaps behind the rest of a colour
# or an HTML entity.
_REST_OF_CREDENTIAL = re.compile(
    r"(?:\[[0-9;]{0,8}m|[&#0-9A-Za-z]{0,8};)?(?=[A-Za-z0-9_-]*[a-z])(?=[A-Za-z0-9_-]*[A-Z])(?=[A-Za-z0-9_-]*[0-9])"
    rf"[A-Za-z0-9_-]{{{REST_CHARACTERS},}}"
)
# More than such a rest takes in any spelling.
_BEGIN_CHARACTERS = 4096
# Where what a cut text begins with may begin: behind the rest of a group of Base64.
_MOST_BEFORE_A_REST = 3


def texts_in(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from texts_in(list(pair))
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


class Masker:
    """Masks values in all their forms, and credentials. The time is proportional to the length of the text."""

    def __init__(self, values: Iterable[str]) -> None:
        forms = forms_of(values)
        self._long_forms = [form.text for form in forms if form.where is Where.ANYWHERE]
        self._by_key: dict[int, dict[str, list[Form]]] = defaultdict(lambda: defaultdict(list))
        for form in forms:
            width = next(width for width in _KEY_CHARACTERS if width <= len(form.text))
            self._by_key[width][form.text[:width]].append(form)

    def mask(self, text: str) -> str:
        """Return the text with what is secret masked, without terminal sequences and NULs."""
        return self.mask_all([text])[0]

    def mask_coloured(self, text: str) -> str:
        """Return the text with its terminal sequences, and with what is secret masked in its own width.

        It must not hold a NUL.
        """
        return replace_spans(text, self.spans_in(without_escape_sequences(text)), wide_cover)

    def mask_all(self, texts: list[str]) -> list[str]:
        """Return the texts with what is secret masked, without terminal sequences and NULs."""
        # No secret contains the NUL that stands between them.
        whole = "\0".join([text.replace("\0", "") for text in texts])
        plain = without_escape_sequences(whole)
        masked = replace_spans(whole, self.spans_in(plain))
        return (without_escape_sequences(masked).text if plain.is_changed else masked).split("\0") if texts else []

    def mask_start(self, text: str, *, most_characters: int) -> str:
        """Return the first characters of the text, masked before it is cut."""
        return self.mask(text[:WINDOW_CHARACTERS]).strip()[:most_characters]

    def mask_log_tail(self, text: str) -> str:
        """Return the last 8 KiB of what a terminal shows of a log, masked before it is cut, with its colours.

        "" if that is visibly empty.
        """
        window = last_characters(text, WINDOW_CHARACTERS).replace("\0", "").encode(errors="replace").decode()
        shown = shown_lines(self.mask_coloured(window))
        # Again, since what overwrites a part of a line may complete a secret in it.
        coloured = _WIDE_MASK.sub(MASK, self.mask_coloured(last_characters(shown, _SHOWN_CHARACTERS)))
        if rest := length_of_credential_rest(coloured):
            coloured = MASK + coloured[rest:]
        plain = without_escape_sequences(coloured)
        kept = last_bytes(plain.text)
        if is_visibly_empty(kept):
            return ""
        start = len(plain.text) - len(kept)
        with_colours = coloured[plain.origin(start) if start else 0 :]
        return with_colours if len(with_colours) <= _MOST_COLOURED_CHARACTERS else kept

    def mask_log_lines(self, text: str) -> str:
        """Return what a terminal shows of whole lines of a log, masked, as plain text."""
        shown = shown_lines(self.mask_coloured(text.replace("\0", "").encode(errors="replace").decode()))
        # Again, since what overwrites a part of a line may complete a secret in it.
        return printable(_WIDE_MASK.sub(MASK, self.mask_coloured(shown)))

    def mask_strings(self, value: Any) -> Any:
        """Return a JSON value with every string in it masked, keys included."""
        texts = list(dict.fromkeys(texts_in(value)))
        # All at once, since each text costs a search for each secret.
        masked = dict(zip(texts, self.mask_all(texts), strict=True))

        def with_masks(value: Any) -> Any:
            if isinstance(value, dict):
                return {with_masks(key): with_masks(item) for key, item in value.items()}
            if isinstance(value, list):
                return [with_masks(item) for item in value]
            return masked[value] if isinstance(value, str) else value

        return with_masks(value)

    def spans_in(self, plain: DecodedText) -> list[tuple[int, int]]:
        """Return what is secret as (start, end) in the text that `plain` was made of."""
        spans, known = [], KnownRuns(plain.text)
        for reading in readings_of(plain):
            found = [*self.whole_in_reading(reading, known), *rests_in_texts(reading.text, self._long_forms)]
            spans += [reading.span(start, end) for start, end in found]
        return spans

    def holds_whole(self, text: str) -> bool:
        """Return whether a whole value or credential stands in the text, not only a part that others have, too."""
        plain = without_escape_sequences(text)
        known = KnownRuns(plain.text)
        return any(any(self.whole_in_reading(each, known)) for each in readings_of(plain))

    def whole_in_reading(self, reading: DecodedText, known: KnownRuns) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of each whole value and credential in one reading of a text."""
        return self.whole_in(reading.text, known, rounds=_ROUNDS, min_characters=reading.min_form_characters)

    def whole_in(
        self, text: str, known: KnownRuns, *, rounds: int, min_characters: int = 0
    ) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of each whole value and credential; only credentials if no rounds are left."""
        yield from self.credentials_in(text, known)
        if rounds:
            yield from self.encoded_in(text, known, rounds=rounds)
            yield from self.forms_in(text, min_characters=min_characters)

    def credentials_in(self, text: str, known: KnownRuns) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of each agent token and API key."""
        yield from (match.span() for match in _CREDENTIAL.finditer(text))
        yield from known.spans_in(text, _UNPREFIXED, self.unprefixed_tokens_in)

    def encoded_in(self, text: str, known: KnownRuns, *, rounds: int) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of each credential in Base64 or hexadecimal digits, and of values that are encoded twice.

        `forms_in` finds values that are encoded once.
        """

        def decoded_in(runs: Sequence[str]) -> Iterator[tuple[int, int, int]]:
            decoded = JoinedTexts(runs)
            found = list(self.whole_in(decoded.text, known, rounds=rounds - 1))
            unwrapped = without_wraps(decoded.text)
            if unwrapped.is_changed:
                found_there = self.whole_in(unwrapped.text, known, rounds=rounds - 1)
                found += [unwrapped.span(start, end) for start, end in found_there]
            yield from (decoded.origin(start, end) for start, end in found)

        yield from known.spans_in(text, ENCODED, decoded_in, kind=rounds)

    def forms_in(self, text: str, *, min_characters: int = 0) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of each form of a value that is so long."""
        for width, forms in self._by_key.items():
            keys: Iterable[str] = forms
            if len(forms) > _MANY_KEYS:
                # One pass over the text instead of a search for each of many forms.
                keys = {key for at in range(len(text)) if (key := text[at : at + width]) in forms}
            for form in [form for key in keys for form in forms[key] if len(form.text) >= min_characters]:
                start = text.find(form.text)
                while start >= 0:
                    end = start + len(form.text)
                    if form.counts_in(text, start, end):
                        yield form.extended_in(text, start, end)
                    start = text.find(form.text, end)

    def unprefixed_tokens_in(self, words: Sequence[str]) -> Iterator[tuple[int, int, int]]:
        """Yield (number of the word, start, end) of each token without a prefix that `is_former_token` knows."""
        for number, word in enumerate(words):
            if len(word) > TOKEN_CHARACTERS + _MOST_BESIDE_A_TOKEN or word.lower() == word or word.upper() == word:
                continue
            for start in range(len(word) - TOKEN_CHARACTERS + 1):
                if self.is_former_token(word[start : start + TOKEN_CHARACTERS]):
                    yield number, start, start + TOKEN_CHARACTERS

    def is_former_token(self, word: str) -> bool:
        """Return whether this is a token that an earlier version minted; a plain masker knows none."""
        return False


def readings_of(plain: DecodedText) -> Iterator[DecodedText]:
    """Yield the text, and what it says without the escapes and the gaps that programs print, each once.

    A text with escapes of all kinds is read without gaps only in the first ways.
    """
    seen, left = set[int](), _MOST_WITHOUT_GAPS
    for reading in undone(plain):
        gapless = list(islice(without_gaps(reading), left))
        left -= len(gapless)
        for each in (reading, *from_bytes(reading), *gapless):
            if (text_hash := hash(each.text)) not in seen:
                seen.add(text_hash)
                yield each


def length_of_credential_rest(text: str) -> int:
    """Return how many characters at the begin of the text are the rest of a credential; 0 if none are."""
    readings = readings_of(without_escape_sequences(text[:_BEGIN_CHARACTERS]))
    return max((reading.origin(end) for reading in readings for end in ends_of_rest(reading.text)), default=0)


def ends_of_rest(text: str, *, rounds: int = _ROUNDS) -> Iterator[int]:
    """Yield where what looks like the rest of a credential at the begin of the text ends: as it is, or encoded."""
    if match := _REST_OF_CREDENTIAL.match(text):
        yield match.end()
    for encoded in encoded_texts(text) if rounds else ():
        if encoded.start > _MOST_BEFORE_A_REST:
            break
        yield from (encoded.origin(0, end)[1] for end in ends_of_rest(encoded.text, rounds=rounds - 1))


def replace_spans(
    text: str, spans: Iterable[tuple[int, int]], cover: Callable[[str], str] = lambda secret: MASK
) -> str:
    """Return the text with a cover in place of each (start, end); one for those that overlap."""
    pieces, begin, done = [], 0, 0
    for start, end in [*sorted(spans), (len(text), len(text))]:
        if start >= done:
            pieces += [cover(text[begin:done]) if done > begin else "", text[done:start]]
            begin = start
        done = max(done, end)
    return "".join(pieces)


def wide_cover(secret: str) -> str:
    """Return a mask as wide as the secret, so that what follows in its line stays in its place, with its colours."""
    visible = COLOUR.sub("", secret)
    return MASK[0] * len(visible) + "".join(COLOUR.findall(secret))


def last_bytes(text: str, *, limit_bytes: int = LOG_TAIL_BYTES) -> str:
    """Return the end of the text, cut between characters. Mask first: a secret that is cut in two stays readable."""
    return text.encode(errors="replace")[-limit_bytes:].decode(errors="ignore")
