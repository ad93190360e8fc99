"""Discovery: which workspaces find each other, and how a hibernated one is woken."""

import uuid

import pytest

from tests.callers import AgentCaller, Caller
from tests.workspaces.factories import hibernated, online
from tests.workspaces.unguarded import set_status
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db
S = WorkspaceStatus


@pytest.fixture
def caller():
    return online(name="caller")


def found(caller, target, *, claims=None):
    agent = AgentCaller(caller)
    agent.headers["X-Workspace-ID"] = str(claims or caller.pk)
    return agent.get(f"/registry/discover/{getattr(target, 'pk', target)}")


def test_a_sibling_is_found_with_its_url(caller):
    target = online(name="target")
    answer = found(caller, target)
    assert (answer.status_code, answer.json()) == (200, {"id": str(target.pk), "url": target.url, "name": "target"})


def test_a_degraded_workspace_is_found(caller):
    target = online(name="target")
    set_status(target, S.DEGRADED)
    assert found(caller, target).status_code == 200


def test_only_itself_ancestors_descendants_and_siblings_are_found():
    top = online(name="top")
    left, right = online(name="left", parent_id=top.pk), online(name="right", parent_id=top.pk)
    below = online(name="below", parent_id=left.pk)
    other_top = online(name="other")
    for one, other in ((below, below), (below, left), (below, top), (left, right), (top, other_top)):
        assert found(one, other).status_code == found(other, one).status_code == 200
    for one, other in ((below, right), (below, other_top), (left, other_top)):
        for answer in (found(one, other), found(other, one)):
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_hibernated_workspace_is_woken_and_the_answer_says_when_to_retry(caller):
    asleep = hibernated(name="asleep")
    answer = found(caller, asleep)
    assert (answer.status_code, answer["Retry-After"]) == (503, "10")
    assert answer.json() == {"error": "asleep is provisioning.", "code": "unreachable", "status": "provisioning"}
    woken = Workspace.objects.get(pk=asleep.pk)
    assert (woken.status, woken.launch_id != asleep.launch_id) == (S.PROVISIONING, True)


def test_a_caller_that_may_not_find_a_workspace_does_not_wake_it():
    top = online(name="top")
    stranger = online(name="stranger", parent_id=top.pk)
    asleep = hibernated(name="asleep")
    assert found(stranger, asleep).status_code == 403
    assert Workspace.objects.get(pk=asleep.pk).status == S.HIBERNATED


@pytest.mark.parametrize(
    ("status", "retry_after"),
    [(S.PROVISIONING, "10"), (S.HIBERNATING, "10"), (S.OFFLINE, "30"), (S.PAUSED, None), (S.FAILED, None)],
)
def test_a_workspace_that_is_not_reachable_is_unavailable(caller, status, retry_after):
    target = online(name="target")
    set_status(target, status)
    answer = found(caller, target)
    assert (answer.status_code, answer.json()["status"]) == (503, status.value)
    assert answer.headers.get("Retry-After") == retry_after
    assert Workspace.objects.get(pk=target.pk).status == status


def test_an_unknown_or_removed_workspace_is_not_found(caller):
    gone = online(name="gone")
    set_status(gone, S.REMOVED)
    for target in (gone, uuid.uuid4(), "nonsense"):
        assert found(caller, target).status_code == 404


def test_the_caller_must_send_its_own_workspace_id(caller):
    target = online(name="target")
    agent = AgentCaller(caller)
    answer = agent.get(f"/registry/discover/{target.pk}")
    assert (answer.status_code, answer.json()["error"]) == (400, "X-Workspace-ID header is required")
    assert found(caller, target, claims="nonsense").status_code == 400
    assert found(caller, target, claims=target.pk).status_code == 403
    assert Caller().get(f"/registry/discover/{target.pk}").status_code == 401
