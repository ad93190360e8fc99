"""A status that only newer code knows is shown as the database has it, and breaks nothing."""

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.urls import reverse

from tests.workspaces.factories import online
from tests.workspaces.unguarded import set_status
from workspaces.access.tokens import mint_agent_token
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.core.transition import TransitionRefused
from workspaces.services.launching.restart import restart

pytestmark = pytest.mark.django_db


@pytest.fixture
def newer():
    """A workspace in an unknown status. The value is renamed, because an added one can't be used before a commit."""
    workspace = online(name="newer")
    set_status(workspace, WorkspaceStatus.HIBERNATED)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TYPE workspace_status RENAME VALUE 'hibernated' TO 'quarantined'")
    return Workspace.objects.get(pk=workspace.pk)


def test_it_reads_back_as_plain_text(newer):
    assert newer.status == "quarantined"
    assert type(newer.status) is str


def test_admin_list_and_page_show_it(admin_client, newer):
    listed = admin_client.get(reverse("admin:workspaces_workspace_changelist")).content.decode()
    page = admin_client.get(reverse("admin:workspaces_workspace_change", args=[newer.pk])).content.decode()
    assert "quarantined" in listed
    assert "quarantined" in page


def test_command_lists_it(newer):
    out = StringIO()
    call_command("workspaces", "--format", "json", stdout=out)
    assert json.loads(out.getvalue())[0]["status"] == "quarantined"


def test_api_returns_it_and_refuses_a_restart_with_a_message(admin_client, newer):
    assert admin_client.get("/workspaces").json()[0]["status"] == "quarantined"
    with pytest.raises(TransitionRefused, match="newer is quarantined"):
        restart(workspace_id=newer.pk, now=newer.created_at)


def test_heartbeat_of_its_agent_changes_no_status(client, newer):
    token = mint_agent_token(newer)
    headers = {"Authorization": f"Bearer {token}"}
    answer = client.post(
        "/registry/heartbeat", {"workspace_id": str(newer.pk)}, content_type="application/json", headers=headers
    )
    assert answer.status_code == 200
    assert Workspace.objects.get(pk=newer.pk).status == "quarantined"
