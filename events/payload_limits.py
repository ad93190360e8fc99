"""Keeps events small and free of tokens, whatever their producers hand in.

Nothing is refused, since that would refuse the change that the event reports. Texts are shortened and masked.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from events.masking.masker import MASK

MAX_PAYLOAD_BYTES = 65_536
# To how many characters texts are shortened: the first length that makes the payload fit.
_LENGTHS = (8_192, 1_024, 128)
SHORTENED = "… [shortened]"
OMITTED = "[omitted: too large for the event log]"
# A word of 32 random bytes as base64url, with a prefix or, by earlier versions, without: an agent token or an API key.
# It has letters of both cases; a word without is not a token.
_TOKEN_CHARACTERS = 43
# Test the length first, since most words fail it.
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])(?:slwt?_)?(?=[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-]))"
    r"(?=[A-Za-z0-9_-]*[a-z])(?=[A-Za-z0-9_-]*[A-Z])[A-Za-z0-9_-]{43}"
)


# Translates each character that a token may have to "a", so that a token becomes a run that is found fast.
_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_AS_RUNS = bytes(ord("a") if code in _ALPHABET else ord(" ") for code in range(256))
_RUN = b"a" * _TOKEN_CHARACTERS


def is_storable(text: str, *, beside: int = 0) -> bool:
    """Return whether a text by `json.dumps` is small enough and has no token, as nearly all are.

    `beside` is the length of what is stored with it.
    """
    # The text is ASCII: at least as long as what the database stores, and no escape splits a token.
    return len(text) + beside <= MAX_PAYLOAD_BYTES and _RUN not in text.encode().translate(_AS_RUNS)


def mask_tokens(value: Any) -> Any:
    """Return a JSON value in which everything that looks like one of our tokens is masked, keys too."""
    return _each_text(value, lambda text: _TOKEN.sub(MASK, text) if len(text) >= _TOKEN_CHARACTERS else text)


def shorten(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload in at most MAX_PAYLOAD_BYTES of JSON: shorten long texts, then leave out large fields."""
    fitting = dict(payload)
    if _size(fitting) <= MAX_PAYLOAD_BYTES:
        return fitting
    for length in _LENGTHS:

        def cut(text: str, kept: int = length) -> str:
            return text[:kept] + SHORTENED if len(text) > kept + len(SHORTENED) else text

        fitting = _each_text(fitting, cut)
        if _size(fitting) <= MAX_PAYLOAD_BYTES:
            return fitting
    for name in sorted(fitting, key=lambda name: _size(fitting[name]), reverse=True):
        fitting[name] = OMITTED
        if _size(fitting) <= MAX_PAYLOAD_BYTES:
            break
    return fitting


def _size(value: Any) -> int:
    # As the database stores it: not escaped. The field's encoder writes other types (a date, a UUID).
    return len(json.dumps(value, ensure_ascii=False, default=str).encode(errors="replace"))


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    # Before the abstract classes, which are slow to check: this runs for each value of each event.
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {_each_text(key, change): _each_text(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(item, change) for item in value]
    return value
