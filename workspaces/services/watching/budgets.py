"""Budgets: what a workspace has spent this month, and what happens at 80 % and at all of its limit.

Days and months are those of BUDGET_TIME_ZONE. No task resets anything: what was spent in an earlier month counts as 0.
"""

from datetime import date, datetime, time, timedelta
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction

from events import outbox
from events.names import EventType
from workspaces.lifecycle.transitions import BudgetAction, WorkspaceStatus
from workspaces.models import Heartbeat, Workspace
from workspaces.services.core.lineage import event_subjects
from workspaces.services.core.trees import lock_in_tree
from workspaces.services.stopping.pause import PAUSE, pause

# In percent of the limit, each told once a month. The largest is the limit itself.
LEVELS = (100, 80)


class Month(NamedTuple):
    """A month: its first day, and from when to when it lasts."""

    first_day: date
    start: datetime
    end: datetime


def day_of(now: datetime) -> date:
    """Return the day of a moment."""
    return now.astimezone(ZoneInfo(settings.BUDGET_TIME_ZONE)).date()


def month_of(now: datetime) -> Month:
    """Return the month of a moment."""
    zone = ZoneInfo(settings.BUDGET_TIME_ZONE)
    first_day = day_of(now).replace(day=1)
    next_first_day = (first_day + timedelta(days=31)).replace(day=1)
    start, end = (datetime.combine(day, time(), tzinfo=zone) for day in (first_day, next_first_day))
    return Month(first_day, start, end)


def spent_in(month: Month, workspace_id: UUID) -> int:
    """Return what a workspace's agent has reported as spent in this month, in cents; 0 if it has reported nothing."""
    rows = Heartbeat.objects.filter(pk=workspace_id, spend_month=month.first_day)
    return rows.values_list("monthly_spend", flat=True).first() or 0


def reached_level(*, limit: int | None, spent: int) -> int:
    """Return the highest of LEVELS that was reached, or 0."""
    if limit is None or not spent:
        return 0
    return next((level for level in LEVELS if spent * 100 >= limit * level), 0)


@transaction.atomic
def enforce(workspace_id: UUID, *, now: datetime) -> list[Workspace]:
    """Tell that a workspace has reached a level of its budget, once a month each; pause it at its limit if it says so.

    Return the workspaces that were paused. Raises UnknownWorkspace.
    """
    workspace, month = lock_in_tree(workspace_id), month_of(now)
    spent = spent_in(month, workspace_id)
    level = reached_level(limit=workspace.budget_limit, spent=spent)
    told = workspace.budget_told_percent if workspace.budget_told_month == month.first_day else 0
    if level <= told or workspace.status == WorkspaceStatus.REMOVED:
        return []
    is_pausing = level == LEVELS[0] and workspace.budget_action == BudgetAction.PAUSE
    if is_pausing and workspace.status not in PAUSE.sources:
        # It is paused already, for example: it is told of and paused with the first heartbeat after it was resumed.
        return []
    Workspace.objects.filter(pk=workspace_id).update(budget_told_percent=level, budget_told_month=month.first_day)
    payload = {"budget_limit": workspace.budget_limit, "monthly_spend": spent, "percent": level}
    (subject,) = event_subjects([workspace])
    outbox.record(
        [
            outbox.NewEvent(
                event_type=EventType.WORKSPACE_OVER_BUDGET,
                workspace_id=workspace.pk,
                version=workspace.version,
                payload={**payload, "budget_action": workspace.budget_action},
                subject=subject,
            )
        ]
    )
    return pause(workspace_id=workspace_id, now=now).changed if is_pausing else []
