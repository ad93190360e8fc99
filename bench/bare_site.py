"""A bare Django site with one view for each benchmark to be compared with: `granian bench.bare_site:application`.

Slipway's models, but no middleware, no router and no authentication: what remains are the ORM's statements,
committed as Slipway's.
"""

import json

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from config import settings as slipway

_DATABASE = slipway.DATABASES["default"] | {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False}
# As a heartbeat of Slipway, its UPDATE does not wait for the disk.
_HEARTBEATS = _DATABASE | {"OPTIONS": _DATABASE["OPTIONS"] | {"options": "-c synchronous_commit=off"}}
_BARE = {
    "DATABASES": {"default": _DATABASE, "heartbeats": _HEARTBEATS},
    "MIDDLEWARE": [],
    "ROOT_URLCONF": "bench.bare_site",
}
settings.configure(**{name: value for name, value in vars(slipway).items() if name.isupper()} | _BARE)

from django.core.wsgi import get_wsgi_application  # noqa: E402

application = get_wsgi_application()

from django.db import transaction  # noqa: E402
from django.db.models import F  # noqa: E402
from django.db.models.functions import Now  # noqa: E402
from django.urls import path  # noqa: E402

from events.models import Event  # noqa: E402
from events.names import EventType  # noqa: E402
from registry.schemas import RegisterIn  # noqa: E402
from workspaces.api.schemas import CreateIn  # noqa: E402
from workspaces.lifecycle.transitions import Phase, WorkspaceStatus  # noqa: E402
from workspaces.models import BackendKind, Heartbeat, Workspace  # noqa: E402


def beat(request: HttpRequest, workspace_id: str) -> HttpResponse:
    """Store the time of a heartbeat."""
    Heartbeat.objects.using("heartbeats").filter(workspace_id=workspace_id).update(last_heartbeat_at=Now())
    return _answer(status="ok")


@transaction.atomic
def register(request: HttpRequest, workspace_id: str) -> HttpResponse:
    """Store what an agent registers with, that its workspace is online, and the event of that."""
    body = RegisterIn.model_validate_json(request.body)
    Workspace.objects.filter(pk=workspace_id).update(
        status=WorkspaceStatus.ONLINE,
        phase=Phase.NONE,
        deadline_at=None,
        url=body.url or "",
        agent_card=body.agent_card or {},
        version=F("version") + 1,
    )
    payload = {"url": body.url, "agent_card": body.agent_card}
    Event.objects.create(event_type=EventType.WORKSPACE_ONLINE, workspace_id=workspace_id, version=1, payload=payload)
    return _answer(status="registered")


def create(request: HttpRequest) -> HttpResponse:
    """Insert a workspace that awaits its agent."""
    body = CreateIn.model_validate_json(request.body)
    row = Workspace.objects.create(
        name=body.name, config=body.config or "", backend=BackendKind.EXTERNAL, status=WorkspaceStatus.AWAITING_AGENT
    )
    return _answer(id=str(row.pk), status=row.status)


def _answer(**fields: str) -> HttpResponse:
    body = json.dumps(fields, separators=(",", ":"))
    return HttpResponse(body, content_type="application/json", headers={"Content-Length": str(len(body))})


urlpatterns = [
    path("beat/<uuid:workspace_id>", beat),
    path("register/<uuid:workspace_id>", register),
    path("workspaces", create),
    path("health", lambda request: HttpResponse()),
]
