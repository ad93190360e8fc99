"""Preflight by the API: whether something could be launched, with every problem at once. Nothing is stored."""

from http import HTTPStatus
from typing import Self
from uuid import UUID

from django.http import HttpRequest
from ninja import Router
from pydantic import model_validator
from typing_extensions import TypedDict

from workspaces.access.errors import RequestRefused
from workspaces.api.edits import find
from workspaces.api.router import access, router
from workspaces.api.schemas import OperatorIn
from workspaces.api.secrets import secret_access
from workspaces.configuration import reports
from workspaces.configuration.diagnostics import DiagnosticOut
from workspaces.configuration.preflight import Report
from workspaces.configuration.variables import VariableSource
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import ApiScope

of_requests = Router(tags=["workspaces"])


class PreflightIn(OperatorIn):
    """What would be launched: a template's name or the text of a config.yaml, as for the creation of a workspace.

    `env_file` is the text of an env file with more secrets; those in `secrets` win.
    """

    template: str | None = None
    config: str | None = None
    model: str | None = None
    runtime: str | None = None
    secrets: dict[str, str] | None = None
    env_file: str | None = None
    secret_sets: list[str] | None = None

    @model_validator(mode="after")
    def check_one_source(self) -> Self:
        """Return the body. Raises ValueError unless it has exactly one of the two sources."""
        if (self.template is None) == (self.config is None):
            raise ValueError("send `template`, the name of a template, or `config`, the text of a config.yaml")
        return self


class ReportOut(TypedDict):
    """`ok` if there are no problems; warnings keep nothing from starting."""

    ok: bool
    problems: list[DiagnosticOut]
    warnings: list[DiagnosticOut]


class VariableOut(TypedDict):
    """A variable, never its value: whether it is set, and where its value comes from.

    `required_by` is the place in config.yaml that asks for it. Of the names in `any_of` one suffices.
    """

    name: str
    required: bool
    set: bool
    source: VariableSource | None
    secret_set: str | None
    required_by: str | None
    any_of: list[str]


class WorkspaceReportOut(ReportOut):
    """What keeps a workspace's next launch from starting, and its variables."""

    variables: list[VariableOut]


@of_requests.post("", auth=access("add", ApiScope.OPERATE))
def preflight_request(request: HttpRequest, body: PreflightIn) -> ReportOut:
    """Say whether a workspace could be launched like this, with the global secrets, sets and secrets; create nothing.

    It checks the configuration, the variables that it needs, its runtime, the backend and the launch workers. The
    values of the secrets are neither stored nor repeated.
    """
    report = reports.report_on_request(
        template=body.template or "",
        config=body.config,
        secrets=body.secrets or {},
        env_file=body.env_file or "",
        sets=body.secret_sets or (),
        model=body.model or "",
        runtime=body.runtime or "",
    )
    return report_json(report)


@router.get("/{workspace_id}/preflight", auth=secret_access("view", ApiScope.READ))
def preflight_workspace(request: HttpRequest, workspace_id: UUID) -> WorkspaceReportOut:
    """Say whether a workspace's next launch could start, and of each variable whether it is set and from where."""
    workspace = find(workspace_id)
    if workspace.status == WorkspaceStatus.REMOVED:
        raise RequestRefused(HTTPStatus.GONE, f"{workspace.name} was removed.", code="removed")
    found = reports.report_on_workspace(workspace)
    shown: list[VariableOut] = [
        {
            "name": each.name,
            "required": each.is_required,
            "set": each.is_set,
            "source": each.source,
            "secret_set": each.secret_set or None,
            "required_by": each.required_by or None,
            "any_of": list(each.any_of),
        }
        for each in found.variables
    ]
    return {**report_json(found.report), "variables": shown}


def report_json(report: Report) -> ReportOut:
    """Return a report as JSON."""
    return {
        "ok": report.ok,
        "problems": [each.as_json() for each in report.problems],
        "warnings": [each.as_json() for each in report.warnings],
    }
