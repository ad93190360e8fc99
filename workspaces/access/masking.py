"""Takes secret values and agent tokens out of a text before it reaches the outbox, a row or a log."""

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
# Shorter values stand in ordinary words by chance: they are masked only where they stand alone.
_SHORTEST_ANYWHERE = 4
_TOKEN_LIKE = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_CHARACTERS},}}")


def mask(text: str, *, workspace_id: UUID) -> str:
    """Return the text without this workspace's secrets, the global ones, and its agent tokens; NULs removed."""
    text = text.replace("\0", "")
    if not text.strip():
        return text
    return _masker(workspace_id)(text)


def mask_strings(value: Any, *, workspace_id: UUID) -> Any:
    """Return a JSON value with every text in it masked, keys too."""
    return _each_string(value, _masker(workspace_id))


def _each_string(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {change(key): _each_string(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_each_string(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def _masker(workspace_id: UUID) -> Callable[[str], str]:
    """Read once what is secret of this workspace, and return what takes it out of a text."""
    stored = [value for values in secrets.readable_values({workspace_id}).values() for value in values]

    @cache
    def digests() -> set[str]:
        return set(AgentToken.objects.filter(workspace_id=workspace_id).values_list("digest", flat=True))

    return lambda text: _without_tokens(mask_values(text, stored), digests)


def mask_values(text: str, values: Iterable[str]) -> str:
    """Return the text with each value masked, in the forms in which programs print it; the longest first."""
    for form in sorted({form for value in values for form in _forms(value)}, key=len, reverse=True):
        if len(form) >= _SHORTEST_ANYWHERE:
            text = text.replace(form, MASK)
        else:
            text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", MASK, text)
    return text


def last_bytes(text: str, *, limit_bytes: int = LOG_TAIL_BYTES) -> str:
    """Return the text's end, cut on a character. Mask first: a cut through a secret leaves a part of it."""
    return text.encode(errors="replace")[-limit_bytes:].decode(errors="ignore")


def _forms(value: str) -> set[str]:
    # A key in several lines is printed line by line, with a prefix before each.
    lines = {line.strip() for line in value.splitlines() if len(line.strip()) >= 8}
    whole = {value, value.strip()} | lines
    return {form for text in whole for form in (text, quote(text, safe=""), json.dumps(text)[1:-1]) if form}


def _without_tokens(text: str, digests: Callable[[], set[str]]) -> str:
    """Mask what hashes to one of these tokens: the tokens themselves are not kept. Few texts hold what looks so."""
    windows = {
        match.group()[start : start + TOKEN_CHARACTERS]
        for match in _TOKEN_LIKE.finditer(text)
        for start in range(len(match.group()) - TOKEN_CHARACTERS + 1)
    }
    return mask_values(text, [window for window in windows if digest(window) in digests()])
