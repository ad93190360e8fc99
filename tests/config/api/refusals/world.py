"""Something for every call to work on, a valid request of each, and a digest of all that is stored."""

import json
import re
from functools import partial

import pytest
from django.apps import apps
from django.db import connection
from psycopg.sql import SQL, Identifier, Literal

from config.api.openapi_examples import REQUESTS
from events.channel_settings import saving
from events.delivery import channel_operations
from events.models import Channel, Delivery, DeliveryState, Event
from postgres.clock import database_now
from tests.callers import AgentCaller, holder
from tests.described import CALLS
from tests.workspaces import factories
from workspaces import operations
from workspaces.models import AgentToken, ApiScope, Incident
from workspaces.models.incidents import IncidentKind

# A use is noted outside of what a call does.
NOT_COUNTED = {"workspaces_apikey": ["last_used_at"]}
DIGEST = SQL(
    "SELECT {name}, md5(string_agg(row::text, '' ORDER BY row::text))"
    " FROM (SELECT to_jsonb(each) - {left_out}::text[] AS row FROM {table} AS each) AS rows"
)
# The status of the workspace that a call is about, if it isn't online.
STATUSES = {"resume_workspace": "paused", "wake_workspace": "hibernated"}
STATUSES |= dict.fromkeys(("cancel_workspace", "register", "report_progress", "failed", "bootstrap_failed"), "booting")
CHANNELS = {"resume_channel": "paused", "enable_channel": "disabled"}
BODIES = {
    **REQUESTS,
    "create_workspace": {"name": "new", "template": "echo", "secrets": {"KEY": "clear-weather"}, "labels": {"a": "b"}},
    "preflight_request": {"template": "echo"},
}
CHANGING = sorted(name for name in CALLS if not name.startswith("GET "))
OF_AGENTS = "/registry/"
OF_REPORTS = re.compile(r" /registry/|/bootstrap-failed$")


class World:
    """Workspaces and other objects, each named as the parameters of paths name it."""

    def __init__(self):
        self.operator = holder(ApiScope.ADMIN, ApiScope.WATCH)
        for path in ("/settings/secrets", "/settings/secret-sets/shared", "/settings/secret-sets/spare"):
            self.put(path, {"key": "KEY", "value": "clear-weather"})
        self.workspaces = {
            "online": factories.online(name="online", secret_sets=["shared"]),
            "booting": factories.booting(name="booting"),
            "hibernated": factories.hibernated(name="hibernated"),
            "paused": operations.pause(factories.online(name="paused").pk).workspace,
            "other": factories.online(name="other"),
        }
        for name in ("online", "other"):
            self.put(f"/workspaces/{self.workspaces[name].pk}/secrets", {"key": f"OF_{name.upper()}", "value": "mild"})
        self.agents = {name: AgentCaller(row) for name, row in self.workspaces.items()}
        # More than the budget that is set.
        self.agents["online"].beat(monthly_spend=10**6)
        self.channels = {name: webhook(name) for name in ("sending", "paused", "disabled")}
        channel_operations.pause(Channel.objects.filter(name="paused"), now=database_now())
        channel_operations.disable(self.channels["disabled"], reason="It is gone.")
        Delivery.objects.create(
            channel=self.channels["sending"], event=Event.objects.earliest("pk"), position=1, state=DeliveryState.DEAD
        )
        self.incident = Incident.objects.create(
            kind=IncidentKind.MASS_LATENESS, scope="runtime:echo", opened_at=database_now(), count=5, message="Late."
        )
        self.key = holder(ApiScope.READ)
        self.key_id = self.operator.get("/api-keys?limit=1").json()[0]["id"]

    def put(self, path, body):
        answer = self.operator.client.put(path, body, content_type="application/json", headers=self.operator.headers)
        assert answer.status_code == 200, answer.content

    def target(self, call):
        """Return the workspace that a call is about."""
        return self.workspaces[STATUSES.get(CALLS[call]["operationId"], "online")]

    def parameters(self, call):
        """Return a value for each parameter in the path of a call, with which it works."""
        target = self.target(call)
        secret = "OF_ONLINE" if "/workspaces/" in call else "KEY"
        # Only a set that no workspace has can be deleted.
        name = {"delete_secret_set": "spare"}.get(CALLS[call]["operationId"], "shared")
        return {
            "workspace_id": str(target.pk),
            "launch_id": str(target.launch_id),
            "token_id": AgentToken.objects.filter(workspace=target).latest("pk").pk,
            "channel_id": self.channels[CHANNELS.get(CALLS[call]["operationId"], "sending")].pk,
            "incident_id": self.incident.pk,
            "key_id": self.key_id,
            "name": name if "secret-sets" in call else secret,
            "secret": "KEY",
        }

    def path(self, call, **other):
        """Return the path of a call, with other values for some of its parameters, which are quoted already."""
        values = self.parameters(call) | other
        return re.sub(r"\{(\w+)\}", lambda found: str(values[found[1]]), call.partition(" ")[2])

    def body(self, call):
        """Return a body with which a call works, or None if it takes none."""
        example = BODIES.get(CALLS[call]["operationId"])
        if example is None or "requestBody" not in CALLS[call]:
            return None
        ids = dict.fromkeys(("id", "workspace_id", "caller_id", "target_id"), str(self.target(call).pk))
        return {name: ids.get(name, value) for name, value in example.items()}

    def send(self, call, **changes):
        """Make a call; see `prepared`."""
        return self.prepared(call, **changes)()

    def prepared(self, call, *, body=None, query="", headers=None, **parameters):
        """Return what makes a call. `body` is bytes, or a value for JSON; by default one with which the call works."""
        caller = self.agents[self.target(call).name] if OF_AGENTS in call else self.operator
        given = self.body(call) if body is None else body
        raw = given if isinstance(given, bytes) else b"" if given is None else json.dumps(given).encode()
        headers = {**caller.headers, "X-Workspace-ID": str(self.target(call).pk), **(headers or {})}
        method, path = call.partition(" ")[0], self.path(call, **parameters)
        return partial(
            caller.client.generic, method, path + query, raw, content_type="application/json", headers=headers
        )


def webhook(name):
    return saving.create("webhook", {"name": name, "options": {"url": "https://hooks.example/slipway"}}).channel


@pytest.fixture
def world(monkeypatch):
    """Something for every call to work on, on a machine that resolves no names."""

    def refuse(*_, **__):
        raise OSError("no resolver here")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    return World()


def stored():
    """Return a digest of every row of every table, by the name of the table."""
    tables = [model._meta.db_table for model in apps.get_models(include_auto_created=True)]
    digests = [
        DIGEST.format(name=Literal(table), left_out=Literal(NOT_COUNTED.get(table, [])), table=Identifier(table))
        for table in sorted(tables)
        if not table.startswith(("django_", "auth_", "axes_"))
    ]
    with connection.cursor() as cursor:
        cursor.execute(SQL(" UNION ALL ").join(digests))
        return dict(cursor.fetchall())
