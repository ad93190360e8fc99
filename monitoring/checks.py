"""System checks: what the settings contradict in each other, or in the database. `manage.py check` runs them."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections
from psycopg import IsolationLevel

from workspaces.configuration import catalog
from workspaces.deadlines.policy import BOOT_LIMITS, DEFAULT_BOOT_LIMIT
from workspaces.models import BackendKind

# A beat or two may be lost on the way without the agent being gone.
BEATS_WITHIN_LIMIT = 3
OLDEST_POSTGRES = 14


@register
def check_boot_limits(**_: Any) -> list[CheckMessage]:
    """A runtime's watcher limit is the inner one, and close to the outer."""
    limits = {**BOOT_LIMITS, "every other runtime": DEFAULT_BOOT_LIMIT}
    return [
        Error(
            f"The watcher's boot limit of {runtime} is {limit.watcher_seconds} s, the sweep's {limit.sweep_seconds} s.",
            hint="Make the slack more than 0, at most a fifth of the sweep's limit (workspaces/deadlines/policy.py).",
            id="slipway.E001",
        )
        for runtime, limit in limits.items()
        if not 0 < limit.slack_seconds <= limit.sweep_seconds / 5
    ]


@register
def check_heartbeats(**_: Any) -> list[CheckMessage]:
    """An agent may lose a beat without being lost itself."""
    interval, limit = settings.HEARTBEAT_INTERVAL_SECONDS, settings.HEARTBEAT_LIMIT_SECONDS
    if limit >= BEATS_WITHIN_LIMIT * interval:
        return []
    return [
        Error(
            f"HEARTBEAT_LIMIT_SECONDS={limit} is less than {BEATS_WITHIN_LIMIT} times "
            f"HEARTBEAT_INTERVAL_SECONDS={interval}: healthy workspaces would be taken for silent.",
            hint=f"Set HEARTBEAT_LIMIT_SECONDS to at least {BEATS_WITHIN_LIMIT * interval}.",
            id="slipway.E002",
        )
    ]


@register
def check_isolation_option(**_: Any) -> list[CheckMessage]:
    """The guards rely on READ COMMITTED: lock first, then see what is true now."""
    level = settings.DATABASES["default"].get("OPTIONS", {}).get("isolation_level")
    return [] if level in {None, IsolationLevel.READ_COMMITTED} else [_wrong_isolation(f"OPTIONS says {level!r}")]


@register(Tags.database)
def check_isolation_in_force(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """The server's, the database's or the role's default may be another one."""
    return [_wrong_isolation(f"its default is {level}") for level in _levels(databases or ()) if level != _WANTED]


_WANTED = "read committed"


def _levels(databases: Sequence[str]) -> Iterator[str]:
    for alias in databases:
        with connections[alias].cursor() as cursor:
            cursor.execute("SHOW default_transaction_isolation")
            yield cursor.fetchone()[0]


@register(Tags.database)
def check_postgres_version(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Older servers lack what our migrations and queries use."""
    return [
        Error(
            f"Slipway needs PostgreSQL {OLDEST_POSTGRES} or newer; the database {alias} is {version}.",
            hint="Upgrade the server, or point DATABASE_URL at a newer one.",
            id="slipway.E004",
        )
        for alias in databases or ()
        if (version := _major_version(alias)) < OLDEST_POSTGRES
    ]


def _major_version(alias: str) -> int:
    connections[alias].ensure_connection()
    return connections[alias].pg_version // 10_000  # type: ignore[attr-defined]


def _wrong_isolation(found: str) -> Error:
    return Error(
        f"Slipway needs the database's transactions to be {_WANTED}, and {found}.",
        hint="Remove the setting, or: ALTER ROLE … SET default_transaction_isolation = 'read committed'.",
        id="slipway.E003",
    )


@register
def check_catalog(**_: Any) -> list[CheckMessage]:
    """Each catalog folder exists, and each of its templates can be launched."""
    missing = [
        Warning(
            f"The catalog folder {folder} does not exist.",
            hint="Correct CATALOG_DIRS, or make the folder.",
            id="slipway.W001",
        )
        for folder in settings.CATALOG_DIRS
        if not folder.is_dir()
    ]
    unusable = [
        Warning(f"The template {template.id} can't be launched: {template.problem}", id="slipway.W002")
        for template in catalog.list_templates()
        if template.problem
    ]
    return [*missing, *unusable]


@register
def check_simulator(**_: Any) -> list[CheckMessage]:
    """Nobody takes a simulated fleet for a real one by mistake."""
    if settings.PROVISIONER != BackendKind.SIMULATED or settings.ALLOW_SIMULATOR:
        return []
    return [
        Error(
            "PROVISIONER=simulated launches nothing: workspaces would only seem to run.",
            hint="Set PROVISIONER=process, or ALLOW_SIMULATOR=true where a simulated fleet is wanted.",
            id="slipway.E005",
        )
    ]


@register(deploy=True)
def check_isolating_backend(**_: Any) -> list[CheckMessage]:
    """Processes of one host share it."""
    if settings.PROVISIONER != BackendKind.PROCESS:
        return []
    return [
        Warning(
            "PROVISIONER=process isolates nothing: every workspace can read what the launch worker's user can.",
            hint="In production launch only what you would run yourself under that user.",
            id="slipway.W003",
        )
    ]
