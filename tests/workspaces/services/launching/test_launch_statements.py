"""How many statements a launch takes, from create to online, by way of the API and the launch task."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.callers import Caller, holder
from tests.workspaces.factories import CARD
from workspaces import tasks
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import ApiScope, Workspace

pytestmark = pytest.mark.django_db(transaction=True)

CREATE = 7
LAUNCH = 15
REGISTER = 6
# Statements that begin or end a transaction are not counted.
CONTROL = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK")


@pytest.mark.parametrize(("secrets", "more"), [({}, 0), ({"ONE_KEY": "first", "OTHER_KEY": "second"}, 1)])
def test_a_launch_costs_28_statements_and_its_secrets_one_more(fake, secrets, more):
    script = holder(ApiScope.OPERATE)
    with CaptureQueriesContext(connection) as created:
        answer = script.post("/workspaces", {"name": "one", "config": "runtime: echo", "secrets": secrets})
    workspace = Workspace.objects.get(pk=answer.json()["id"])
    with CaptureQueriesContext(connection) as launched:
        tasks.launch(workspace_id=str(workspace.pk), launch_id=str(workspace.launch_id))
    (spec,) = fake.specs.values()
    report = {"id": str(workspace.pk), "url": "http://localhost:9", "agent_card": CARD}
    with CaptureQueriesContext(connection) as registered:
        Caller(spec.token).post("/registry/register", report)
    workspace.refresh_from_db()
    assert workspace.status == WorkspaceStatus.ONLINE
    captured = [statements(part) for part in (created, launched, registered)]
    listed = "\n\n".join("\n".join(part) for part in captured)
    assert [len(part) for part in captured] == [CREATE + more, LAUNCH, REGISTER], listed


def statements(captured):
    """Return the captured statements, without those that control transactions."""
    return [query["sql"] for query in captured.captured_queries if not query["sql"].startswith(CONTROL)]
