"""An agent replaces its card: stored and told once, masked, whatever its status, and not too often."""

import pytest

from events.models import Event
from events.names import EventType
from tests.callers import AgentCaller
from tests.workspaces.factories import booting, online
from workspaces.access.secrets import put_secrets
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.launching.mark_online import MOST_CARD_CHANGES_PER_HOUR

pytestmark = pytest.mark.django_db


def update(workspace, card):
    body = {"workspace_id": str(workspace.pk), "agent_card": card}
    return AgentCaller(workspace).post("/registry/update-card", body)


def events_of(workspace):
    return Event.objects.filter(workspace_id=workspace.pk, event_type=EventType.AGENT_CARD_UPDATED)


@pytest.mark.parametrize("make", [online, booting])
def test_a_card_is_replaced_and_told_and_the_status_stays(make):
    workspace = make()
    status, url = Workspace.objects.values_list("status", "url").get(pk=workspace.pk)
    answer = update(workspace, {"name": "Ada", "skills": [{"id": "sum"}]})
    assert (answer.status_code, answer.json()) == (200, {"status": "updated"})
    stored = Workspace.objects.get(pk=workspace.pk)
    assert stored.agent_card == {"name": "Ada", "skills": [{"id": "sum"}]}
    assert (stored.status, stored.url, stored.version) == (status, url, workspace.version)
    assert [event.payload["agent_card"] for event in events_of(workspace)] == [stored.agent_card]


def test_the_same_card_again_is_no_event():
    workspace = online()
    for _ in range(2):
        assert update(workspace, {"name": "Ada"}).status_code == 200
    assert events_of(workspace).count() == 1


def test_secrets_in_a_card_are_masked():
    workspace = online()
    put_secrets({"KEY": "hunter2-hunter2"}, workspace_id=workspace.pk)
    update(workspace, {"name": "Ada", "hunter2-hunter2": ["say hunter2-hunter2"]})
    assert "hunter2" not in str(Workspace.objects.get(pk=workspace.pk).agent_card)
    assert "hunter2" not in str(events_of(workspace).get().payload)


def test_a_card_that_changes_too_often_stays_and_the_answer_says_so():
    workspace = online()
    for number in range(MOST_CARD_CHANGES_PER_HOUR):
        assert "ignored" not in update(workspace, {"name": f"Ada {number}"}).json()
    answer = update(workspace, {"name": "one too many"})
    assert list(answer.json()["ignored"]) == ["agent_card"]
    assert Workspace.objects.get(pk=workspace.pk).agent_card == {"name": f"Ada {MOST_CARD_CHANGES_PER_HOUR - 1}"}


@pytest.mark.parametrize("card", [None, "text", 5, [], {"text": "x" * 65_536}])
def test_what_is_no_card_is_refused_by_field_and_changes_nothing(card):
    workspace = online()
    before = Workspace.objects.get(pk=workspace.pk).agent_card
    answer = update(workspace, card)
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["agent_card"])
    assert Workspace.objects.get(pk=workspace.pk).agent_card == before


def test_the_card_of_another_workspace_is_refused():
    mine, other = online(), online()
    answer = AgentCaller(mine).post("/registry/update-card", {"workspace_id": str(other.pk), "agent_card": {}})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_workspace_shows_no_card_until_an_agent_has_sent_one(admin_client):
    workspace = booting()
    assert workspace.agent_card == {}
    assert admin_client.get(f"/workspaces/{workspace.pk}").json()["agent_card"] is None
    assert workspace.status == WorkspaceStatus.PROVISIONING
    update(workspace, {"name": "Ada"})
    assert admin_client.get(f"/workspaces/{workspace.pk}").json()["agent_card"] == {"name": "Ada"}
