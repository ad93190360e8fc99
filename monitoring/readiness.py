"""What has to work for this process to serve, each asked with a time limit."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

import redis
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from events.positions import oldest_unpositioned_at
from postgres.clock import database_now
from status_drift.live import live_enums
from workspaces.deadlines.policy import current_policy
from workspaces.services.watching.sweep import MISSED_SWEEPS, last_sweep_run, overdue_workspaces

MAX_RELAY_LAG_SECONDS = 10
_ANSWER_SECONDS = 2


@dataclass(frozen=True, kw_only=True)
class ReadinessCheck:
    """One answer; `detail` is for people and names no address and no secret."""

    ok: bool
    detail: str


# Without Redis nothing is lost and the API serves; launches wait for the next message or for beat. A sweep that does
# not run is for people to mend: were this process taken out of service, the agents that it fails to hear would be late.
OPTIONAL = frozenset({"redis", "sweep"})


def readiness() -> dict[str, ReadinessCheck]:
    """Ask everything, also after a failure: an operator wants to see all that is missing."""
    stored = {"database": _database, "migrations": _migrations, "enum": _enum, "relay": _relay, "sweep": _sweep}
    return {name: _asked_of_database(question) for name, question in stored.items()} | {"redis": _redis()}


def _asked_of_database(question: Callable[[], ReadinessCheck]) -> ReadinessCheck:
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{_ANSWER_SECONDS}s"])
            return question()
    except DatabaseError as error:
        return ReadinessCheck(ok=False, detail=f"The database does not answer ({type(error).__name__}).")


def _database() -> ReadinessCheck:
    database_now()
    return ReadinessCheck(ok=True, detail="It answers.")


def _migrations() -> ReadinessCheck:
    missing = _known_migrations() - MigrationRecorder(connection).applied_migrations().keys()
    if missing:
        return ReadinessCheck(ok=False, detail=f"{len(missing)} migrations are not applied: run `manage.py migrate`.")
    return ReadinessCheck(ok=True, detail="All are applied.")


@lru_cache(maxsize=1)
def _known_migrations() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).disk_migrations)


def _enum() -> ReadinessCheck:
    enums = live_enums()
    missing = [f"{enum.type_name} lacks {', '.join(enum.missing)}" for enum in enums if enum.missing]
    if missing:
        return ReadinessCheck(ok=False, detail=f"{'; '.join(missing)}: run `manage.py migrate`.")
    # Newer code's values are tolerated: this process reads them as plain text.
    extra = [f"{enum.type_name} also has {', '.join(enum.extra)}" for enum in enums if enum.extra]
    return ReadinessCheck(ok=True, detail=f"The database knows every status{''.join(f'; {one}' for one in extra)}.")


def _relay() -> ReadinessCheck:
    oldest = oldest_unpositioned_at()
    lag = (database_now() - oldest).total_seconds() if oldest else 0
    if lag >= MAX_RELAY_LAG_SECONDS:
        return ReadinessCheck(ok=False, detail=f"Events have waited for {lag:.0f} s: is `manage.py relay` running?")
    return ReadinessCheck(ok=True, detail=f"Events wait for {lag:.0f} s.")


def _sweep() -> ReadinessCheck:
    now, allowed = database_now(), timedelta(seconds=MISSED_SWEEPS * settings.SWEEP_INTERVAL_SECONDS)
    run = last_sweep_run()
    if run is None:
        is_missed = overdue_workspaces(now=now - allowed, policy=current_policy()).exists()
        return ReadinessCheck(ok=not is_missed, detail=f"No sweep has run yet{_BEAT if is_missed else '.'}")
    age = (now - run.ran_at).total_seconds()
    if age > allowed.total_seconds():
        return ReadinessCheck(ok=False, detail=f"The last sweep ran {age:.0f} s ago{_BEAT}")
    return ReadinessCheck(ok=True, detail=f"The last sweep ran {max(age, 0):.0f} s ago.")


_BEAT = ": are beat and the worker of the queue “sweep” running?"


def _redis() -> ReadinessCheck:
    limits = {"socket_timeout": _ANSWER_SECONDS, "socket_connect_timeout": _ANSWER_SECONDS}
    try:
        with redis.Redis.from_url(settings.REDIS_URL, **limits) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        return ReadinessCheck(ok=False, detail=f"It does not answer ({type(error).__name__}): launches wait for it.")
    return ReadinessCheck(ok=True, detail="It answers.")
