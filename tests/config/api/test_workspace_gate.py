"""What a change to a workspace is answered while earlier ones wait for it, in the API and in the admin."""

from collections import Counter

import pytest
from django.urls import reverse

from config.api.workspace_gate import MOST_AT_ONCE, WorkspaceGate
from tests.callers import holder
from tests.workspaces.factories import online
from workspaces.models import ApiScope

pytestmark = pytest.mark.django_db
WAITING = "Earlier requests for this workspace are still waiting."


@pytest.fixture
def busy(monkeypatch):
    """Let the gate count as many changes to this ID as it lets in."""
    return lambda key: monkeypatch.setattr(WorkspaceGate, "_running", Counter({str(key): MOST_AT_ONCE}))


def test_the_api_answers_in_json_while_earlier_changes_wait(busy):
    workspace = online()
    busy(workspace.pk)
    answer = holder(ApiScope.OPERATE).post(f"/workspaces/{workspace.pk}/pause")
    assert (answer.status_code, answer["Retry-After"], answer.json()["code"]) == (503, "1", "unavailable")
    assert answer.json()["error"].startswith(WAITING)


def test_the_admin_answers_with_a_page_while_earlier_changes_wait(busy, admin_client):
    workspace = online()
    busy(workspace.pk)
    answer = admin_client.post(reverse("admin:workspaces_workspace_change", args=[workspace.pk]))
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    assert answer["Content-Type"].startswith("text/html")
    assert WAITING in answer.content.decode()


def test_other_objects_with_the_same_id_do_not_wait_for_each_other(busy, admin_client, admin_user):
    busy(admin_user.pk)
    assert admin_client.post(reverse("admin:auth_user_change", args=[admin_user.pk])).status_code == 200
