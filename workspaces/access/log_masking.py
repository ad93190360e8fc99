"""Masks lines of the server's log: what a failure says may hold anything, also secrets."""

import math
import re
import threading
import time
from itertools import chain
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection, transaction

from events.masking.configured_secrets import configured_secrets
from events.masking.masker import WINDOW_CHARACTERS, Masker
from workspaces.access import secrets
from workspaces.models import Launch

# Two digits before it may be those of a percent-escape; more are the rest of a checksum.
_UUID = re.compile(r"(?<![0-9a-f]{3})[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}(?![0-9a-f])", re.IGNORECASE)
# No line waits for the database so soon after one that could not reach it.
PAUSE_SECONDS = 5.0
_paused_until = -math.inf
# `paused_until` of the thread alone.
own = threading.local()


class NotReadNow(Exception):
    """The database could not be reached a moment ago, so the secrets are not read now."""


def mask_line(line: str) -> str:
    """Return a line without the secrets of the workspaces that it names, without global ones and Slipway's own.

    It names them anywhere by their IDs, or by those of launches. If it names none, no secret of workspaces is read: the
    line may be about a database that can't be reached. Raises what keeps them from being read.
    """
    named = {UUID(found) for found in _UUID.findall(line)}
    return Masker([*values_of(named), *configured_secrets()]).mask(line[-WINDOW_CHARACTERS:])


def values_of(named: set[UUID]) -> list[str]:
    """Return the secrets of workspaces, each named by its ID or that of a launch; none at all if none is named.

    Logging changes nothing for its caller: a failed query breaks no transaction, and a thread that had no connection to
    the database is left without one, since nobody would close it. Raises NotReadNow, and what keeps them from being
    read.
    """
    if not named:
        return []
    if time.monotonic() < max(_paused_until, getattr(own, "paused_until", -math.inf)):
        raise NotReadNow
    was_connected = connection.connection is not None
    try:
        with transaction.atomic():
            launched = Launch.objects.filter(pk__in=named).values_list("workspace_id", flat=True)
            return list(chain.from_iterable(secrets.readable_values({*named, *launched}).values()))
    except (OperationalError, InterfaceError):
        # What ends one thread's session or query keeps no other thread's line from being masked. But it may be a
        # timeout, for which this thread's next lines would wait again.
        own.paused_until = time.monotonic() + PAUSE_SECONDS
        if not was_connected and connection.connection is None:
            pause_reads()
        raise
    finally:
        if not was_connected:
            connection.close()


def pause_reads() -> None:
    """Let the next lines do without what only the database knows."""
    global _paused_until
    _paused_until = time.monotonic() + PAUSE_SECONDS
