"""Rows for every list of the API, and calls of them."""

from datetime import date, timedelta

from events.models import Channel
from postgres.clock import database_now
from tests.callers import AgentCaller, holder
from tests.described import CALLS
from tests.events.conftest import online as event
from tests.events.conftest import publish
from tests.workspaces.factories import online, queue_up
from workspaces.models import AgentToken, ApiKey, ApiScope, Incident, Launch, Secret, SecretSet, Usage, Workspace
from workspaces.models.incidents import IncidentKind

LISTS = {
    name: call
    for name, call in CALLS.items()
    if name.startswith("GET ")
    and call["responses"]["200"]["content"].get("application/json", {}).get("schema", {}).get("type") == "array"
}


def owner():
    """Return the workspace that the lists of one workspace are about, known again by its name."""
    return Workspace.objects.filter(name="owner").first() or online(name="owner")


def fill(number):
    """Add so many rows to each list, most with an order of their own, some at the same time or with the same name."""
    now, workspace = database_now(), owner()
    # They are siblings of the owner.
    queue_up(number)
    publish(*[event(workspace.pk, version=100 + place) for place in range(number)])
    first = Incident.objects.count()
    for place in range(first, first + number):
        at, name = now - timedelta(minutes=place // 2), f"row {place:03}"
        launch = Launch.objects.create(workspace=workspace, backend="process", runtime="echo", queued_at=at)
        AgentToken.objects.create(workspace=workspace, launch=launch, digest=name, created_at=at)
        ApiKey.objects.create(name=f"row {place // 2:03}", prefix="p", digest=name, scopes=["read"], created_at=at)
        Channel.objects.create(name=name, kind="log", created_at=at)
        Incident.objects.create(
            kind=IncidentKind.OWN_OUTAGE, scope=name, opened_at=at, resolved_at=now, count=1, message="It was away."
        )
        shared = SecretSet.objects.create(name=f"set-{place:03}", created_at=at)
        for scope in ({"workspace": workspace}, {"secret_set": shared}, {}):
            Secret.objects.create(name=f"NAME_{place:03}_{len(scope)}", ciphertext="x", updated_at=at, **scope)
        day = date(2026, 11, 29) - timedelta(days=place)
        Usage.objects.create(workspace=workspace, day=day, input_tokens=1, output_tokens=1, total_calls=1)


class Reader:
    """Reads a list: of one workspace, the owner's. It adds no further row, such as another API key."""

    def __init__(self, call):
        self.path = call.removeprefix("GET ").format(workspace_id=owner().pk)
        self.caller = AgentCaller(owner()) if " /registry/" in call else holder(ApiScope.ADMIN)

    def read(self, **query):
        return self.caller.get(self.path, **query)

    def rows(self, **query):
        """Return the rows of one answer."""
        answer = self.read(**query)
        assert answer.status_code == 200, answer.content
        return answer.json()


def schema_of(call, parameter):
    """Return the schema of a parameter of a list, None if it doesn't have it."""
    return next((each["schema"] for each in LISTS[call]["parameters"] if each["name"] == parameter), None)
