"""What no event may hold, whoever produced it: more than the log's share of bytes, or what looks like a token.

A move must never be lost because of what is told about it. So nothing is refused here: texts are shortened, masked.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

MAX_PAYLOAD_BYTES = 65_536
# What is left of a text that had to be shortened, at first and at last.
_KEPT_CHARACTERS = (8_192, 1_024, 128)
SHORTENED = "… [shortened]"
OMITTED = "[omitted: too large for the event log]"
MASK = "••••••"
# 32 random bytes as base64url, standing alone: an agent token or an API key (wire contract). Both cases, or it is a
# long word and no token.
_TOKEN_CHARACTERS = 43
# The length first: most words fail there, at once.
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])(?:slw_)?(?=[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-]))"
    r"(?=[A-Za-z0-9_-]*[a-z])(?=[A-Za-z0-9_-]*[A-Z])[A-Za-z0-9_-]{43}"
)


# Every character that a token may hold becomes one letter, so that a run of them is found at once.
_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_AS_RUNS = bytes(ord("a") if code in _ALPHABET else ord(" ") for code in range(256))
_RUN = b"a" * _TOKEN_CHARACTERS


def is_storable(written: str, *, beside: int = 0) -> bool:
    """Tell of a JSON text, as `json.dumps` writes it, whether it is small and holds no token: nearly all are.

    `beside` is the length of what is stored with it.
    """
    # In ASCII it is no shorter than what the database stores, and no run of a token's letters is parted.
    return len(written) + beside <= MAX_PAYLOAD_BYTES and _RUN not in written.encode().translate(_AS_RUNS)


def mask_tokens(value: Any) -> Any:
    """Return a JSON value with what is shaped like one of our tokens masked, in keys too."""
    return _each_text(value, _masked)


def _masked(text: str) -> str:
    return _TOKEN.sub(MASK, text) if len(text) >= _TOKEN_CHARACTERS else text


def shorten(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload, in at most MAX_PAYLOAD_BYTES of JSON: long texts shortened, then large fields left out."""
    fitting = dict(payload)
    if _size(fitting) <= MAX_PAYLOAD_BYTES:
        return fitting
    for kept in _KEPT_CHARACTERS:
        fitting = _each_text(fitting, partial(_shortened, kept=kept))
        if _size(fitting) <= MAX_PAYLOAD_BYTES:
            return fitting
    for name in sorted(fitting, key=lambda name: _size(fitting[name]), reverse=True):
        fitting[name] = OMITTED
        if _size(fitting) <= MAX_PAYLOAD_BYTES:
            break
    return fitting


def _size(value: Any) -> int:
    # As the database stores it: not escaped. What is no JSON yet (a date, an id) is written by the field's encoder.
    return len(json.dumps(value, ensure_ascii=False, default=str).encode(errors="replace"))


def _shortened(text: str, *, kept: int) -> str:
    return text[:kept] + SHORTENED if len(text) > kept + len(SHORTENED) else text


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    # Asked before the abstract classes, which answer slowly, and once for each value of each event.
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {_each_text(key, change): _each_text(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(item, change) for item in value]
    return value
