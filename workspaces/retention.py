"""Deletes what is old: events, launches, removed workspaces and so on, each after the days that its setting gives.

Beat runs `prune` often and briefly, `manage.py prune` without a limit. Everything goes in batches of one transaction
each, so that nothing else waits for long.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.db.models import Exists, F, Model, OuterRef, QuerySet

from events.retention import deletable_events, delete_events, finished_deliveries
from postgres.clock import database_now
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import AgentToken, Configuration, Incident, Launch, StoredAnswer, Usage, Workspace
from workspaces.services.watching.budgets import day_of, month_of

logger = logging.getLogger(__name__)

BATCH_SIZE = 1_000


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One kind of row that gets old."""

    # What is deleted, as in "12 launches".
    name: str
    # The setting with its age in days, where 0 keeps it for ever; empty: what `rows` returns is of no use any more.
    setting: str = ""
    # The rows that were finished before a time.
    rows: Callable[[datetime], QuerySet[Model]]
    # Deletes one batch of them and returns how many.
    delete: Callable[[datetime], int]

    @property
    def days(self) -> int | None:
        """Return the age in days, 0 if there is none to wait for, or None if nothing is deleted."""
        return (getattr(settings, self.setting) or None) if self.setting else 0


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What one rule did. `error` says why it stopped early, if it did."""

    rule: Rule
    number: int
    error: str = ""


def prune(*, now: datetime, seconds: float | None = None) -> Iterator[Pruned]:
    """Delete by each rule until nothing old is left, or until the seconds are over, of which each rule gets its share.

    A rule that raises an exception stops no other.
    """
    active = [rule for rule in RULES if rule.days is not None]
    for rule in active:
        end = time.monotonic() + seconds / len(active) if seconds else float("inf")
        number, error = 0, ""
        try:
            while time.monotonic() < end and (deleted := rule.delete(now - timedelta(days=rule.days or 0))):
                number += deleted
        except Exception as problem:
            logger.exception("Old rows could not be deleted", extra={"rows": rule.name})
            error = f"{type(problem).__name__}: {problem}"
        yield Pruned(rule=rule, number=number, error=error)


def old_rows(*, now: datetime) -> Iterator[Pruned]:
    """Yield what `prune` would delete, and delete nothing."""
    for rule in RULES:
        if rule.days is not None:
            yield Pruned(rule=rule, number=rule.rows(now - timedelta(days=rule.days)).count())


def of_rows(rows: Callable[[datetime], QuerySet[Model]]) -> Callable[[datetime], int]:
    """Return a function that deletes one batch of such rows."""

    def delete(before: datetime) -> int:
        keys = list(rows(before).values_list("pk", flat=True)[:BATCH_SIZE])
        # Asked again: one of them may be in use since.
        return rows(before).filter(pk__in=keys).order_by().delete()[1].get(rows(before).model._meta.label, 0)

    return delete


def ended_launches(before: datetime) -> QuerySet[Launch]:
    """Return launches that are confirmed stopped since before this time, but not a workspace's current one."""
    return Launch.objects.filter(torn_down_at__lt=before).exclude(workspace__launch_id=F("pk")).order_by("torn_down_at")


def removed_workspaces(before: datetime) -> QuerySet[Workspace]:
    """Return removed workspaces without children whose files were deleted before this time."""
    removed = Workspace.objects.filter(status=WorkspaceStatus.REMOVED, files_deleted_at__lt=before)
    return removed.filter(~Exists(Workspace.objects.filter(parent=OuterRef("pk")))).order_by("files_deleted_at")


@transaction.atomic
def delete_launches(before: datetime) -> int:
    """Delete one batch of ended launches and their tokens. Return how many launches."""
    return _delete_launches(ended_launches(before))


@transaction.atomic
def delete_workspaces(before: datetime) -> int:
    """Delete one batch of removed workspaces with all that belongs to them, except events. Return how many."""
    rows = Workspace.objects.filter(pk__in=list(removed_workspaces(before).values_list("pk", flat=True)[:BATCH_SIZE]))
    while _delete_launches(Launch.objects.filter(workspace__in=rows)):
        pass
    return rows.delete()[1].get(Workspace._meta.label, 0)


def _delete_launches(launches: QuerySet[Launch]) -> int:
    keys = list(launches.values_list("pk", flat=True)[:BATCH_SIZE])
    AgentToken.objects.filter(launch__in=keys).delete()
    return Launch.objects.filter(pk__in=keys).delete()[0]


def unused_configurations(before: datetime) -> QuerySet[Configuration]:
    """Return the configurations that no launch and no workspace has, whatever the time."""
    launches = Launch.objects.filter(configuration=OuterRef("pk"))
    kept = Workspace.objects.filter(kept_configuration=OuterRef("pk"))
    return Configuration.objects.filter(~Exists(launches), ~Exists(kept)).order_by("pk")


def delete_configurations(before: datetime) -> int:
    """Delete one batch of unused configurations. Return how many.

    A launch that stores one at the moment goes first, and launches that want to store one wait, but only if there is
    something to delete.
    """
    keys = list(unused_configurations(before).values_list("pk", flat=True)[:BATCH_SIZE])
    if not keys:
        return 0
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE workspaces_configuration IN SHARE ROW EXCLUSIVE MODE")
        # Asked again: one of them may be in use since.
        return unused_configurations(before).filter(pk__in=keys).order_by().delete()[0]


def closed_incidents(before: datetime) -> QuerySet[Incident]:
    """Return the incidents that were resolved before this time."""
    return Incident.objects.filter(resolved_at__lt=before).order_by("resolved_at")


def revoked_tokens(before: datetime) -> QuerySet[AgentToken]:
    """Return the agent tokens that were revoked before this time."""
    return AgentToken.objects.filter(revoked_at__lt=before).order_by("revoked_at")


def old_usage(before: datetime) -> QuerySet[Usage]:
    """Return what was used on days before this time, except for the present month, of which operators see the sum."""
    this_month = month_of(database_now()).first_day
    return Usage.objects.filter(day__lt=min(day_of(before), this_month)).order_by("day")


def old_admin_log(before: datetime) -> QuerySet[LogEntry]:
    """Return the entries of the admin's log from before this time."""
    return LogEntry.objects.filter(action_time__lt=before).order_by("action_time")


def ended_sessions(before: datetime) -> QuerySet[Session]:
    """Return the sessions that expired before this time."""
    return Session.objects.filter(expire_date__lt=before).order_by("expire_date")


def old_answers(before: datetime) -> QuerySet[StoredAnswer]:
    """Return the answers that are kept no longer for callers that repeat a request."""
    return StoredAnswer.objects.filter(created_at__lt=before - timedelta(hours=24)).order_by("created_at")


RULES = (
    Rule(
        name="events",
        setting="RETENTION_EVENTS_DAYS",
        rows=lambda before: deletable_events(before=before),
        delete=lambda before: delete_events(before=before),
    ),
    Rule(
        name="deliveries",
        setting="RETENTION_DELIVERIES_DAYS",
        rows=lambda before: finished_deliveries(before=before),
        delete=of_rows(lambda before: finished_deliveries(before=before)),
    ),
    Rule(name="launches", setting="RETENTION_LAUNCHES_DAYS", rows=ended_launches, delete=delete_launches),
    Rule(name="agent tokens", setting="RETENTION_LAUNCHES_DAYS", rows=revoked_tokens, delete=of_rows(revoked_tokens)),
    Rule(
        name="removed workspaces",
        setting="RETENTION_REMOVED_DAYS",
        rows=removed_workspaces,
        delete=delete_workspaces,
    ),
    Rule(name="configurations", rows=unused_configurations, delete=delete_configurations),
    Rule(
        name="incidents",
        setting="RETENTION_INCIDENTS_DAYS",
        rows=closed_incidents,
        delete=of_rows(closed_incidents),
    ),
    Rule(name="days of usage", setting="RETENTION_USAGE_DAYS", rows=old_usage, delete=of_rows(old_usage)),
    Rule(
        name="entries of the admin's log",
        setting="RETENTION_ADMIN_LOG_DAYS",
        rows=old_admin_log,
        delete=of_rows(old_admin_log),
    ),
    Rule(name="answers to repeated requests", rows=old_answers, delete=of_rows(old_answers)),
    Rule(name="sessions", rows=ended_sessions, delete=of_rows(ended_sessions)),
)
