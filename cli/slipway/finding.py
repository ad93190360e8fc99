"""Find what a person means: by its ID, its name, or the beginning of either."""

import re
import uuid
from difflib import get_close_matches
from typing import Any

from slipway.answers import shapes
from slipway.client import Client
from slipway.errors import CommandFailed, ExitCode
from slipway.texts import one_line

_MOST = 20_000
_LONGEST_SEARCH = 200
_SHOWN = 5
_ID_PREFIX = re.compile(r"[0-9a-fA-F][0-9a-fA-F-]{3,35}")


def find(client: Client, text: str) -> dict[str, Any]:
    """Return the workspace that a text means. Raises CommandFailed if it means none or several."""
    if (workspace_id := as_id(text)) is not None:
        found: dict[str, Any] = client.get(f"/workspaces/{workspace_id}", shape=shapes.WORKSPACE)
        return found
    if not text.strip():
        raise CommandFailed("A workspace's name or ID is not empty.", ExitCode.WRONG_ARGUMENT)
    # Few have the text in them, so that most of a large fleet is only read for the beginning of an ID or a wrong name.
    few = client.pages("/workspaces", {"q": text[:_LONGEST_SEARCH]}, shape=shapes.WORKSPACE, most=_MOST)
    rows = few if candidates_in(few, text) else client.pages("/workspaces", shape=shapes.WORKSPACE, most=_MOST)
    return choose(rows, text, what="workspace")


def choose(rows: list[dict[str, Any]], text: str, *, what: str) -> dict[str, Any]:
    """Return the only row that a text means. Raises CommandFailed if there is none, or several."""
    candidates = candidates_in(rows, text)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        near = get_close_matches(text, [row["name"] for row in rows], n=3)
        meant = f" Did you mean {' or '.join(map(one_line, near))}?" if near else ""
        raise CommandFailed(f"There is no {what} {text!r}.{meant}", ExitCode.NOT_FOUND)
    named = [f"  {row['id']}  {one_line(row['name'])}" for row in candidates[:_SHOWN]]
    more = [f"  and {len(candidates) - _SHOWN} more"] if len(candidates) > _SHOWN else []
    lines = "\n".join([*named, *more])
    raise CommandFailed(f"{text!r} may be one of {len(candidates)} {what}s:\n{lines}", ExitCode.NOT_FOUND)


def candidates_in(rows: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Return the rows that a text means: by the whole ID or name, else by the beginning of a name, else of an ID.

    Upper and lower case are alike in beginnings.
    """
    beginning = text.casefold()
    ways = (
        [row for row in rows if str(row["id"]) == text],
        [row for row in rows if row["name"] == text],
        [row for row in rows if row["name"].casefold().startswith(beginning)],
        [row for row in rows if _ID_PREFIX.fullmatch(text) and str(row["id"]).startswith(beginning)],
    )
    return next(filter(None, ways), [])


def find_all(client: Client, texts: list[str]) -> list[dict[str, Any]]:
    """Return the workspaces that texts mean, each once, before anything is done to one of them."""
    found = [find(client, text) for text in texts]
    return list({row["id"]: row for row in found}.values())


def as_id(text: str) -> uuid.UUID | None:
    """Return the ID that a text is, None if it is none."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
