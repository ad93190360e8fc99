"""Masks the tracebacks in the server's log: the text of an exception may hold anything, also secrets."""

import re
import traceback
from collections.abc import Mapping
from itertools import chain
from types import TracebackType
from typing import Any
from uuid import UUID

from events.masking.masker import WINDOW_CHARACTERS, Masker
from workspaces.access import secrets
from workspaces.models import Launch

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def masked_traceback(exception: ExceptionInfo, fields: Mapping[str, Any]) -> str:
    """Return a traceback without the secrets of the workspaces that the fields of its log line name, and global ones.

    The fields hold IDs of workspaces or launches anywhere in them. If they name none, only credentials are masked. If
    the secrets can't be read now, the texts of the exceptions are left out.
    """
    text = "".join(traceback.format_exception(*exception))[-WINDOW_CHARACTERS:].rstrip("\n")
    named = {UUID(found) for value in fields.values() for found in _UUID.findall(str(value))}
    try:
        return Masker(values_of(named)).mask(text)
    except Exception:  # noqa: BLE001 (whatever keeps the secrets from being read, a line of the log must be written)
        kind, _, frames = exception
        left_out = f"{kind.__name__} (its text is left out, since the secrets in it can't be masked now)"
        return "".join([*traceback.format_tb(frames), left_out])


def values_of(named: set[UUID]) -> list[str]:
    """Return the secrets of workspaces, each named by its ID or that of a launch; none at all if none is named."""
    if not named:
        return []
    launched = Launch.objects.filter(pk__in=named).values_list("workspace_id", flat=True)
    return list(chain.from_iterable(secrets.readable_values({*named, *launched}).values()))
