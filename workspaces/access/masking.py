"""Masks secret values and agent tokens in text before it reaches the outbox, a row or a log."""

import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any
from urllib.parse import quote
from uuid import UUID

from workspaces.access import secrets
from workspaces.access.tokens import TOKEN_CHARACTERS, digest
from workspaces.models import AgentToken

MASK = "••••••"
LOG_TAIL_BYTES = 8 * 1024
# Shorter values occur inside ordinary words by chance, so they are masked only as whole words.
_MIN_SUBSTRING_CHARACTERS = 4
# Shorter lines of a secret with several lines are not masked by themselves.
_MIN_LINE_CHARACTERS = 8
_TOKEN_LIKE = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_CHARACTERS},}}")


def mask(text: str, *, workspace_id: UUID) -> str:
    """Return the text without the workspace's secrets, the global ones and its agent tokens, and without NULs."""
    text = text.replace("\0", "")
    if not text.strip():
        return text
    return _masker(workspace_id)(text)


def mask_strings(value: Any, *, workspace_id: UUID) -> Any:
    """Return a JSON value with every string in it masked, keys included."""
    masker = _masker(workspace_id)

    def masked(value: Any) -> Any:
        if isinstance(value, dict):
            return {masker(key): masked(item) for key, item in value.items()}
        if isinstance(value, list):
            return [masked(item) for item in value]
        return masker(value) if isinstance(value, str) else value

    return masked(value)


def _masker(workspace_id: UUID) -> Callable[[str], str]:
    """Read the workspace's secrets once and return a function that masks them and the agent tokens in a text.

    Only digests of the tokens are stored, so each part of the text that could be a token is hashed and compared.
    """
    stored = [value for values in secrets.readable_values({workspace_id}).values() for value in values]

    @cache
    def digests() -> set[str]:
        return set(AgentToken.objects.filter(workspace_id=workspace_id).values_list("digest", flat=True))

    def masked(text: str) -> str:
        text = mask_values(text, stored)
        windows = {
            match.group()[start : start + TOKEN_CHARACTERS]
            for match in _TOKEN_LIKE.finditer(text)
            for start in range(len(match.group()) - TOKEN_CHARACTERS + 1)
        }
        return mask_values(text, [window for window in windows if digest(window) in digests()])

    return masked


def mask_values(text: str, values: Iterable[str]) -> str:
    """Return the text with each value masked, as it is, URL-encoded and JSON-escaped; the longest first."""
    forms: set[str] = set()
    for value in values:
        # Programs print a value of several lines line by line, with a prefix before each.
        lines = {line.strip() for line in value.splitlines() if len(line.strip()) >= _MIN_LINE_CHARACTERS}
        for part in {value, value.strip()} | lines:
            forms |= {part, quote(part, safe=""), json.dumps(part)[1:-1]}
    for form in sorted(forms - {""}, key=len, reverse=True):
        if len(form) >= _MIN_SUBSTRING_CHARACTERS:
            text = text.replace(form, MASK)
        else:
            text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", MASK, text)
    return text


def last_bytes(text: str, *, limit_bytes: int = LOG_TAIL_BYTES) -> str:
    """Return the end of the text, cut between characters. Mask first: a secret that is cut in two stays readable."""
    return text.encode(errors="replace")[-limit_bytes:].decode(errors="ignore")
