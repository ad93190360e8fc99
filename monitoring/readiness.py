"""Checks of what this process needs in order to serve, each with a time limit."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import redis
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from events.positions import oldest_unpositioned_at
from postgres.clock import database_now
from postgres.errors import is_lost_connection
from status_drift.live import live_enums
from workspaces.deadlines.policy import current_policy
from workspaces.services.watching.sweep import MISSED_SWEEPS, last_sweep_run, overdue_workspaces

MAX_RELAY_LAG_SECONDS = 10
_TIMEOUT_SECONDS = 2
_WRITE_COUNTS_SECONDS = 2.0
_last_write = [-_WRITE_COUNTS_SECONDS]


@dataclass(frozen=True, kw_only=True)
class ReadinessCheck:
    """The result of one check. `detail` is a sentence for people; it holds no address and no secret."""

    ok: bool
    detail: str


# Without Redis nothing is lost and the API serves; launches wait for the next message or for beat. If the sweep does
# not run, people must act: taking this process out of service would only keep agents from reporting.
OPTIONAL = frozenset({"redis", "sweep"})


def readiness() -> dict[str, ReadinessCheck]:
    """Run every check, even after one failed, so that an operator sees everything that is wrong.

    Only if the database lets us wait, the remaining ones are left out: whoever asks waits a few seconds at most.
    """
    of_database = {
        "database": check_database,
        "migrations": check_migrations,
        "enum": check_enums,
        "relay": check_relay,
        "sweep": check_sweep,
    }
    results = {}
    began = time.monotonic()
    for name, check in of_database.items():
        if time.monotonic() - began < 2 * _TIMEOUT_SECONDS:
            results[name] = run_database_check(check)
        else:
            results[name] = ReadinessCheck(ok=False, detail="Not checked, since the database takes too long.")
    return results | {"redis": check_redis()}


def run_database_check(check: Callable[[], ReadinessCheck], *, repeats: int = 2) -> ReadinessCheck:
    """Return the check's result within a time limit, on a new connection if Postgres ends this one meanwhile.

    Twice, since a pool may at once give another one that Postgres is just ending.
    """
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{_TIMEOUT_SECONDS}s"])
            return check()
    except (DatabaseError, InterfaceError) as error:
        if is_lost_connection(error) and repeats:
            connection.close()
            return run_database_check(check, repeats=repeats - 1)
        return ReadinessCheck(ok=False, detail=f"The database does not answer ({type(error).__name__}).")


def check_database() -> ReadinessCheck:
    """Check that the database answers and writes. A write that went well counts for _WRITE_COUNTS_SECONDS."""
    database_now()
    if time.monotonic() - _last_write[0] < _WRITE_COUNTS_SECONDS:
        return ReadinessCheck(ok=True, detail="It answers.")
    try:
        with transaction.atomic():
            write_something()
    except DatabaseError as error:
        if is_lost_connection(error):
            raise
        detail = f"It answers, but refuses to write ({type(error.__cause__ or error).__name__})."
        return ReadinessCheck(ok=False, detail=detail)
    _last_write[:] = [time.monotonic()]
    return ReadinessCheck(ok=True, detail="It answers.")


def write_something() -> None:
    """Write what leaves nothing behind and waits for no lock. Raises DatabaseError if Postgres refuses writes.

    A server that only reads refuses CREATE, even of a temporary table that exists; one whose disk is full the INSERT.
    """
    with connection.cursor() as cursor:
        # A full disk refuses to lengthen files. This one is empty again after the commit, so it grows each time.
        cursor.execute("CREATE TEMPORARY TABLE IF NOT EXISTS slipway_ready (filler text) ON COMMIT DELETE ROWS")
        cursor.execute("INSERT INTO slipway_ready VALUES ('x')")


def check_migrations() -> ReadinessCheck:
    """Check that every migration of this code is applied."""
    missing = known_migrations() - MigrationRecorder(connection).applied_migrations().keys()
    if missing:
        return ReadinessCheck(ok=False, detail=f"{len(missing)} migrations are not applied: run `manage.py migrate`.")
    return ReadinessCheck(ok=True, detail="All are applied.")


@cache
def known_migrations() -> frozenset[tuple[str, str]]:
    """Return the (app, name) of every migration on disk."""
    return frozenset(MigrationLoader(None).disk_migrations)


def check_enums() -> ReadinessCheck:
    """Check that the database's enums have every value of this code. Additional values, of newer code, are fine."""
    enums = live_enums()
    missing = [f"{enum.type_name} lacks {', '.join(enum.missing)}" for enum in enums if enum.missing]
    if missing:
        return ReadinessCheck(ok=False, detail=f"{'; '.join(missing)}: run `manage.py migrate`.")
    extra = [f"{enum.type_name} also has {', '.join(enum.extra)}" for enum in enums if enum.extra]
    return ReadinessCheck(ok=True, detail="; ".join(["The database knows every status", *extra]) + ".")


def check_relay() -> ReadinessCheck:
    """Check that no event has waited for its position for MAX_RELAY_LAG_SECONDS."""
    oldest = oldest_unpositioned_at()
    lag = (database_now() - oldest).total_seconds() if oldest else 0
    if lag >= MAX_RELAY_LAG_SECONDS:
        return ReadinessCheck(ok=False, detail=f"Events have waited for {lag:.0f} s: is `manage.py relay` running?")
    return ReadinessCheck(ok=True, detail=f"Events wait for {lag:.0f} s.")


def check_sweep() -> ReadinessCheck:
    """Check that a sweep ran within MISSED_SWEEPS intervals, or that nothing has been overdue for that long."""
    now, allowed = database_now(), timedelta(seconds=MISSED_SWEEPS * settings.SWEEP_INTERVAL_SECONDS)
    hint = ": are beat and the worker of the queue “sweep” running?"
    run = last_sweep_run()
    if run is None:
        is_missed = overdue_workspaces(now=now - allowed, policy=current_policy()).exists()
        return ReadinessCheck(ok=not is_missed, detail=f"No sweep has run yet{hint if is_missed else '.'}")
    age = (now - run.ran_at).total_seconds()
    if age > allowed.total_seconds():
        return ReadinessCheck(ok=False, detail=f"The last sweep ran {age:.0f} s ago{hint}")
    return ReadinessCheck(ok=True, detail=f"The last sweep ran {max(age, 0):.0f} s ago.")


def check_redis() -> ReadinessCheck:
    """Check that Redis answers a ping."""
    limits = {"socket_timeout": _TIMEOUT_SECONDS, "socket_connect_timeout": _TIMEOUT_SECONDS}
    try:
        with redis.Redis.from_url(settings.REDIS_URL, **limits) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        return ReadinessCheck(ok=False, detail=f"It does not answer ({type(error).__name__}): launches wait for it.")
    return ReadinessCheck(ok=True, detail="It answers.")
