"""The limits that apply and where they come from: what `manage.py deadlines` explains."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from agent.texts import clean_name
from workspaces.access.errors import RequestRefused
from workspaces.api.edits import find
from workspaces.api.router import access
from workspaces.configuration import catalog
from workspaces.deadlines.explanation import (
    Limits,
    limits_of_runtime,
    limits_of_runtimes,
    limits_of_workspace,
)
from workspaces.deadlines.policy import LimitSource, current_policy
from workspaces.lifecycle.transitions import Phase
from workspaces.models import ApiScope

router = Router(tags=["settings"])

Runtime = Annotated[str, Field(min_length=1, max_length=63), AfterValidator(clean_name)]


class PhaseLimitOut(TypedDict):
    """The limit of a phase, `origin` in words. `other_seconds` is its other limit; `other` says of what."""

    phase: Phase
    seconds: int
    source: LimitSource
    origin: str
    other: str
    other_seconds: float


class CurrentDeadlineOut(TypedDict):
    """The deadline that counts now, null if none does. `is_stall`: it is the one of a boot step."""

    at: datetime | None
    is_stall: bool
    last_look_at: datetime | None


class LimitsOut(TypedDict):
    """The limits of a runtime, or of a workspace. `runtime` is null for every runtime without limits of its own.

    `warnings` name limits that don't count. `current` is null unless a workspace was asked for.
    """

    runtime: str | None
    workspace_id: UUID | None
    phases: list[PhaseLimitOut]
    stall_seconds: int | None
    warnings: list[str]
    current: CurrentDeadlineOut | None


@router.get("", auth=access("view", ApiScope.READ))
def list_deadlines(
    request: HttpRequest,
    runtime: Annotated[Runtime | None, Query()] = None,
    workspace: Annotated[UUID | None, Query(description="the ID of a workspace")] = None,
) -> list[LimitsOut]:
    """List the limits of all runtimes, of one, or of a workspace, each with where it comes from."""
    policy, templates = current_policy(), catalog.list_templates()
    if runtime and workspace:
        why = "Ask for a runtime or for a workspace, not for both."
        fields = {"workspace": why}
        raise RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, why, code="validation_error", fields=fields)
    if workspace:
        return [limits_json(limits_of_workspace(find(workspace), policy=policy))]
    if runtime:
        return [limits_json(limits_of_runtime(runtime, policy=policy, templates=templates))]
    return [limits_json(limits) for limits in limits_of_runtimes(policy=policy, templates=templates)]


def limits_json(limits: Limits) -> LimitsOut:
    """Return limits in the shape of LimitsOut."""
    phases: list[PhaseLimitOut] = [
        {
            "phase": each.phase,
            "seconds": each.limit.seconds,
            "source": each.limit.source,
            "origin": each.origin,
            "other": each.other_description,
            "other_seconds": each.other_seconds,
        }
        for each in limits.phases
    ]
    workspace, current = limits.workspace, limits.current
    shown: CurrentDeadlineOut | None = None
    if current:
        shown = {"at": current.at, "is_stall": current.is_stall, "last_look_at": current.last_look_at}
    return {
        "runtime": limits.runtime or None,
        "workspace_id": workspace.pk if workspace else None,
        "phases": phases,
        "stall_seconds": workspace.stall_timeout_seconds if workspace else None,
        "warnings": limits.warnings,
        "current": shown,
    }
