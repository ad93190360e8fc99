"""POST /registry/heartbeat, from the request to the answer. Nothing is called as often, so nothing stands in its way.

A plain view outside of Ninja; the usual heartbeat is one statement (workspaces/sql/workspaces_store_heartbeat.sql), and
one more to mask a text. `python -m bench.heartbeat` compares it with a bare view.
"""

import json
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST
from pydantic import ValidationError

from events import ephemeral
from events.masking.masker import WINDOW_CHARACTERS
from registry import services
from registry.authentication import check_claim, required_token
from registry.live_updates import publish_heartbeat
from registry.report_body import read_report
from registry.schemas import HeardOut, HeartbeatIn, ignored_json
from workspaces import operations
from workspaces.access.authentication import AgentRow, agent_of, find_agent
from workspaces.access.errors import RequestRefused, invalid_body
from workspaces.access.masking import masker_for_token, masker_of
from workspaces.access.tokens import digest
from workspaces.lifecycle.transitions import RuntimeState, WorkspaceStatus
from workspaces.services.core.degradation import StoredHeartbeat
from workspaces.services.watching import budgets

MAX_TEXT_CHARACTERS = 4000
# What it means that one of these is left out: existing runtimes say so that they are fine or idle. Other fields that
# are left out, and those that can't be used, keep their last values.
_LEFT_OUT = {"current_task": "", "runtime_state": RuntimeState.FINE}
_TEXTS = ("current_task", "sample_error")
_STORE = "SELECT * FROM workspaces_store_heartbeat(%s, %s, %s, %s, %s, %s, %s)"
# The uptime before the heartbeat is the one that stands if the heartbeat leaves it out.
_STORE_AND_READ_UPTIME = """
    SELECT stored.*, (SELECT uptime_seconds FROM workspaces_heartbeat WHERE workspace_id = %s)
    FROM workspaces_store_heartbeat(%s, %s, %s, %s, %s, %s, %s) AS stored
"""


@require_POST
def heartbeat(request: HttpRequest) -> HttpResponse:
    """Store that the agent is alive, and what it reports. The first heartbeat of a launch completes its boot."""
    token = required_token(request)
    try:
        report = HeartbeatIn.model_validate(read_report(request.body))
    except RequestRefused:
        find_agent(token)
        raise
    except ValidationError as error:
        find_agent(token)
        raise invalid_body(error) from error
    store(token, report)
    answer: HeardOut = {"status": "ok", **ignored_json(report)}
    return HttpResponse(json.dumps(answer, separators=(",", ":")), content_type="application/json; charset=utf-8")


def store(token: str, report: HeartbeatIn) -> None:
    """Store a heartbeat, change the status if it calls for that, and publish it. Raises RequestRefused."""
    columns = columns_of(report, token)
    # In a longer transaction everything else would be lost as easily.
    may_lose, is_heard = not connection.in_atomic_block, ephemeral.is_heard()
    about: list[Any] = [digest(token), WorkspaceStatus.REMOVED, report.workspace_id]
    arguments = [*about, json.dumps(columns), may_lose, is_heard, settings.BUDGET_TIME_ZONE]
    with connection.cursor() as cursor:
        if is_heard and "uptime_seconds" not in columns:
            cursor.execute(_STORE_AND_READ_UPTIME, [report.workspace_id, *arguments])
            *record, columns["uptime_seconds"] = cursor.fetchone() or [None]
        else:
            cursor.execute(_STORE, arguments)
            record = cursor.fetchone()
    agent = agent_of(AgentRow(*record[:-8]) if record else None)
    check_claim(agent, claimed=report.workspace_id)
    *stored, spent, limit, told, ancestors = record[-8:]
    services.follow_heartbeat(agent, StoredHeartbeat(*stored), has_tasks=bool(report.active_tasks))
    if spent and budgets.reached_level(limit=limit, spent=spent) > told:
        operations.enforce_budget(agent.workspace_id)
    if is_heard:
        publish_heartbeat(agent, columns, ancestors=ancestors)


def columns_of(report: HeartbeatIn, token: str) -> dict[str, Any]:
    """Return the columns that the report changes, texts masked and cut. A spend of 0 says nothing (wire contract).

    Raises RequestRefused for the token of nobody before it masks anything, since that takes long.
    """
    told = report.model_dump(exclude={"workspace_id"}, exclude_none=True)
    columns = {name: value for name, value in _LEFT_OUT.items() if name not in report.ignored} | told
    if not report.monthly_spend:
        columns.pop("monthly_spend", None)
    metadata = columns.get("runtime_metadata", {})
    if report.runtime_metadata and "runtime_metadata.idle_timeout_seconds" not in report.ignored:
        # Existing runtimes leave it out if they have none; one that can't be used was not left out.
        metadata.setdefault("idle_timeout_seconds", None)
    capabilities = metadata.get("capabilities")
    texts = [columns.get(name, "")[:WINDOW_CHARACTERS] for name in _TEXTS]
    if capabilities or any(texts):
        masker = masker_for_token(token, workspace_id=report.workspace_id)
        if masker is None:
            check_claim(find_agent(token), claimed=report.workspace_id)
            # The token was minted between the two.
            masker = masker_of(report.workspace_id)
        # All at once, since reading the secrets is a query.
        *masked, capabilities = masker.mask_strings([*texts, capabilities])
        for name, text in zip(_TEXTS, masked, strict=True):
            if name in columns:
                columns[name] = text.strip()[:MAX_TEXT_CHARACTERS]
        if capabilities:
            metadata["capabilities"] = capabilities
    return columns
