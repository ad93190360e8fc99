"""A bare Django site with one view for each benchmark to be compared with: `granian bench.bare_site:application`.

No middleware, no serializer, no authentication: what remains is one statement of the ORM, committed as Slipway's.
"""

import os

import environ
from django.conf import settings
from django.http import HttpRequest, HttpResponse

_DATABASE = environ.Env.db_url_config(os.environ["DATABASE_URL"])
# As a heartbeat of Slipway, the UPDATE does not wait for the disk.
_DATABASE |= {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False, "OPTIONS": {"options": "-c synchronous_commit=off"}}
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": _DATABASE},
    MIDDLEWARE=[],
    ROOT_URLCONF="bench.bare_site",
    SECRET_KEY=os.environ["SECRET_KEY"],
    USE_TZ=True,
)

from django.core.wsgi import get_wsgi_application  # noqa: E402

application = get_wsgi_application()

from django.db import models  # noqa: E402
from django.db.models.functions import Now  # noqa: E402
from django.urls import path  # noqa: E402

_OK = b'{"status":"ok"}'


class Beat(models.Model):
    """Slipway's table of heartbeats."""

    workspace_id = models.UUIDField(primary_key=True)
    last_heartbeat_at = models.DateTimeField()

    class Meta:
        app_label = "bare_site"
        db_table = "workspaces_heartbeat"
        managed = False

    def __str__(self) -> str:
        return str(self.workspace_id)


def beat(request: HttpRequest, workspace_id: str) -> HttpResponse:
    """Store the time of a heartbeat."""
    Beat.objects.filter(workspace_id=workspace_id).update(last_heartbeat_at=Now())
    return HttpResponse(_OK, content_type="application/json", headers={"Content-Length": str(len(_OK))})


urlpatterns = [path("beat/<uuid:workspace_id>", beat), path("health", lambda request: HttpResponse())]
