"""System checks of settings that contradict each other or the database. `manage.py check` runs them."""

import os
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections
from psycopg import IsolationLevel

from workspaces.configuration import listed_templates
from workspaces.deadlines.policy import BOOT_LIMITS, DEFAULT_BOOT_LIMIT
from workspaces.models import BackendKind
from workspaces.provisioners.process import namespaces

# The network may lose one or two heartbeats of an agent that is alive.
MIN_HEARTBEATS_WITHIN_LIMIT = 3
MIN_POSTGRES_VERSION = 14


@register
def check_boot_limits(**_: Any) -> list[CheckMessage]:
    """Check that each runtime's watcher limit is shorter than its sweep limit, by a fifth at most (slipway.E001)."""
    limits = {**BOOT_LIMITS, "every other runtime": DEFAULT_BOOT_LIMIT}
    return [
        Error(
            f"The boot limit of {runtime} is {limit.watcher_seconds} s (watcher) and {limit.sweep_seconds} s (sweep).",
            hint="Set a slack above 0 and up to a fifth of the sweep's limit (workspaces/deadlines/policy.py).",
            id="slipway.E001",
        )
        for runtime, limit in limits.items()
        if not 0 < limit.slack_seconds <= limit.sweep_seconds / 5
    ]


@register
def check_heartbeats(**_: Any) -> list[CheckMessage]:
    """Check that an agent may lose a heartbeat without being taken for silent (slipway.E002)."""
    interval, limit = settings.HEARTBEAT_INTERVAL_SECONDS, settings.HEARTBEAT_LIMIT_SECONDS
    if limit >= MIN_HEARTBEATS_WITHIN_LIMIT * interval:
        return []
    return [
        Error(
            f"HEARTBEAT_LIMIT_SECONDS={limit} is less than {MIN_HEARTBEATS_WITHIN_LIMIT} times "
            f"HEARTBEAT_INTERVAL_SECONDS={interval}: healthy workspaces would count as silent.",
            hint=f"Set HEARTBEAT_LIMIT_SECONDS to at least {MIN_HEARTBEATS_WITHIN_LIMIT * interval}.",
            id="slipway.E002",
        )
    ]


@register
def check_isolation_option(**_: Any) -> list[CheckMessage]:
    """Check that the settings keep READ COMMITTED, which the guards rely on: lock, then ask again (slipway.E003)."""
    level = settings.DATABASES["default"].get("OPTIONS", {}).get("isolation_level")
    return [] if level in {None, IsolationLevel.READ_COMMITTED} else [_wrong_isolation(f"OPTIONS sets {level!r}")]


@register(Tags.database)
def check_isolation_in_force(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check the default of the server, database or role, which may differ from READ COMMITTED (slipway.E003)."""
    problems: list[CheckMessage] = []
    for alias in databases or ():
        with connections[alias].cursor() as cursor:
            cursor.execute("SHOW default_transaction_isolation")
            level = cursor.fetchone()[0]
        if level != "read committed":
            problems.append(_wrong_isolation(f"its default is {level}"))
    return problems


def _wrong_isolation(found: str) -> Error:
    return Error(
        f"Slipway needs the isolation level read committed, but for this database {found}.",
        hint="Remove the setting, or run: ALTER ROLE … SET default_transaction_isolation = 'read committed'.",
        id="slipway.E003",
    )


@register(Tags.database)
def check_postgres_version(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check that the server is new enough for our migrations and queries (slipway.E004)."""
    problems: list[CheckMessage] = []
    for alias in databases or ():
        connections[alias].ensure_connection()
        version = connections[alias].pg_version // 10_000  # type: ignore[attr-defined]
        if version < MIN_POSTGRES_VERSION:
            problems.append(
                Error(
                    f"Slipway needs PostgreSQL {MIN_POSTGRES_VERSION} or newer; the database {alias} is {version}.",
                    hint="Upgrade the server, or point DATABASE_URL at a newer one.",
                    id="slipway.E004",
                )
            )
    return problems


@register
def check_catalog(**_: Any) -> list[CheckMessage]:
    """Check that each catalog folder can be read (slipway.W001) and its templates be launched (slipway.W002)."""
    missing = [
        Warning(
            f"The catalog folder {folder} does not exist or can't be read.",
            hint="Correct CATALOG_DIRS, or create the folder and let Slipway read it.",
            id="slipway.W001",
        )
        for folder in settings.CATALOG_DIRS
        # `Path.is_dir` raises if it can't be read.
        if not (os.path.isdir(folder) and os.access(folder, os.R_OK | os.X_OK))
    ]
    unusable = [
        Warning(f"The template {template.id} can't be launched: {template.problem}", id="slipway.W002")
        for template in listed_templates.list_bad_templates()
    ]
    return [*missing, *unusable]


@register
def check_simulator(**_: Any) -> list[CheckMessage]:
    """Check that the simulated backend is used on purpose (slipway.E005)."""
    if settings.PROVISIONER != BackendKind.SIMULATED or settings.ALLOW_SIMULATOR:
        return []
    return [
        Error(
            "PROVISIONER=simulated launches nothing: workspaces only seem to run.",
            hint="Set PROVISIONER=process, or ALLOW_SIMULATOR=true if you want a simulated fleet.",
            id="slipway.E005",
        )
    ]


@register(deploy=True)
def check_isolating_backend(**_: Any) -> list[CheckMessage]:
    """Warn a deployment that workspaces of the process backend share a host and its user (slipway.W003)."""
    if settings.PROVISIONER != BackendKind.PROCESS:
        return []
    return [
        Warning(
            "PROVISIONER=process does not isolate workspaces: each can read what the launch worker's user can.",
            hint="In production, launch only what you would run yourself as that user.",
            id="slipway.W003",
        )
    ]


@register(deploy=True)
def check_containment(**_: Any) -> list[CheckMessage]:
    """Warn if this host allows no pid namespaces, so that a stop may miss processes (slipway.W004)."""
    if settings.PROVISIONER != BackendKind.PROCESS or (settings.AGENT_NAMESPACES and namespaces.allowed()):
        return []
    return [
        Warning(
            "Workspaces get no pid namespace: they can reach Slipway's records, and a stop may miss their processes.",
            hint="Set AGENT_NAMESPACES=true, and allow the launch worker user namespaces or CAP_SYS_ADMIN.",
            id="slipway.W004",
        )
    ]
