"""What workspaces used: this month, and day by day."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from django.conf import settings
from django.db.models import Sum
from django.http import HttpRequest
from ninja import Query
from typing_extensions import TypedDict

from postgres.clock import database_now
from workspaces.api.edits import find
from workspaces.api.router import access, router
from workspaces.models import ApiScope, Usage
from workspaces.services.watching.budgets import day_of, month_of, spent_in

_COUNTED = ("input_tokens", "output_tokens", "total_calls")
Days = Annotated[int, Query(ge=1, le=400, description="how many days, today included")]


class MetricsOut(TypedDict):
    """What a workspace used this month. The cost is what its agent reports as spent, in dollars."""

    input_tokens: int
    output_tokens: int
    total_calls: int
    estimated_cost_usd: str
    period_start: datetime
    period_end: datetime


class DayOut(TypedDict):
    """What a workspace used on a day of BUDGET_TIME_ZONE."""

    day: date
    input_tokens: int
    output_tokens: int
    total_calls: int


@router.get("/{workspace_id}/metrics", auth=access("view", ApiScope.READ, own_agent=True))
def get_metrics(request: HttpRequest, workspace_id: UUID) -> MetricsOut:
    """Show what a workspace has used this month; 0 if nothing ran."""
    workspace, month = find(workspace_id), month_of(database_now())
    used = Usage.objects.filter(workspace=workspace, day__gte=month.first_day)
    sums = used.aggregate(**{name: Sum(name) for name in _COUNTED})
    return {
        "input_tokens": int(sums["input_tokens"] or 0),
        "output_tokens": int(sums["output_tokens"] or 0),
        "total_calls": int(sums["total_calls"] or 0),
        "estimated_cost_usd": f"{Decimal(spent_in(month, workspace.pk)) / 100:.6f}",
        "period_start": month.start,
        "period_end": month.end,
    }


@router.get("/{workspace_id}/usage", auth=access("view", ApiScope.READ, own_agent=True))
def list_usage(request: HttpRequest, workspace_id: UUID, days: Days = 31) -> list[DayOut]:
    """List what a workspace used day by day, the oldest first; 0 where nothing ran.

    Days that are older than `RETENTION_USAGE_DAYS` are left out, since their rows were deleted.
    """
    now = database_now()
    today = day_of(now)
    since = today - timedelta(days=days - 1)
    if kept_days := settings.RETENTION_USAGE_DAYS:
        since = max(since, min(day_of(now - timedelta(days=kept_days)), today.replace(day=1)))
    rows = Usage.objects.filter(workspace=find(workspace_id), day__gte=since).values("day", *_COUNTED)
    used: dict[date, DayOut] = {row["day"]: row for row in rows}
    shown = [since + timedelta(days=number) for number in range((today - since).days + 1)]
    return [used.get(day) or {"day": day, "input_tokens": 0, "output_tokens": 0, "total_calls": 0} for day in shown]
