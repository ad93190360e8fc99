"""What a change to a workspace is answered while earlier ones are worked on, in the API and in the admin."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import reverse

from config.api import workspace_gate
from config.api.workspace_gate import MOST_AT_ONCE, Turns, WorkspaceGate
from tests.callers import holder
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import online
from workspaces.models import ApiScope

pytestmark = pytest.mark.django_db
WAITING = "Earlier requests for this workspace are still waiting."


@pytest.fixture
def busy(monkeypatch):
    """Let the gate count as many changes to this ID as it lets in, which are stuck."""
    return lambda key: monkeypatch.setitem(WorkspaceGate._turns, str(key), Turns([0.0] * MOST_AT_ONCE))


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


class Changes:
    """A view behind the gate that keeps its thread until it is told to end."""

    def __init__(self):
        self.at_once, self.most_at_once = 0, 0
        self.end = threading.Event()
        self.gate = WorkspaceGate(lambda request: self.gate.process_view(request, None, (), {}) or self.work())
        self.lock = threading.Lock()

    def work(self):
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        self.end.wait()
        with self.lock:
            self.at_once -= 1
        return HttpResponse()

    def request(self, agent="1"):
        """Return the status of an agent's report."""
        report = RequestFactory().post("/registry/failed", headers={"Authorization": f"Bearer slwt_{agent}"})
        return self.gate(report).status_code

    def waiting(self, agent="1"):
        return WorkspaceGate._turns[f"slwt_{agent}"].waiting


@pytest.fixture
def changes(monkeypatch):
    monkeypatch.setattr(workspace_gate, "STUCK_AFTER_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(workspace_gate, "WAIT_SECONDS", PATIENCE_SECONDS)
    return Changes()


@pytest.fixture
def worked_on(changes):
    """Two requests that are worked on. Gives what starts another one in a thread of its own."""
    with ThreadPoolExecutor(8) as pool:
        try:
            working = [pool.submit(changes.request) for _ in range(MOST_AT_ONCE)]
            assert wait_until(lambda: changes.at_once == MOST_AT_ONCE)
            yield lambda *agent: pool.submit(changes.request, *agent)
        finally:
            changes.end.set()
        assert [answer.result() for answer in working] == [200] * MOST_AT_ONCE
    assert not WorkspaceGate._turns


def test_a_third_request_waits_for_its_turn(changes, worked_on):
    third = worked_on()
    assert wait_until(lambda: changes.waiting() == 1)
    changes.end.set()
    assert third.result() == 200
    assert changes.most_at_once == MOST_AT_ONCE


def test_a_request_is_refused_while_another_one_waits(changes, worked_on):
    third = worked_on()
    assert wait_until(lambda: changes.waiting() == 1)
    assert changes.request() == 503
    changes.end.set()
    assert third.result() == 200


def test_a_request_is_refused_while_an_earlier_one_is_stuck(changes, worked_on, monkeypatch):
    monkeypatch.setattr(workspace_gate, "STUCK_AFTER_SECONDS", 0)
    assert changes.request() == 503


def test_a_request_waits_for_its_turn_only_so_long(changes, worked_on, monkeypatch):
    monkeypatch.setattr(workspace_gate, "WAIT_SECONDS", 0.01)
    assert changes.request() == 503


def test_a_client_that_leaves_while_it_waits_under_asgi_keeps_no_place(changes, worked_on):
    async def answer(request):
        return HttpResponse()

    gate = WorkspaceGate(answer)
    report = RequestFactory().post("/registry/failed", headers={"Authorization": "Bearer slwt_1"})
    with ThreadPoolExecutor(1) as pool:
        third = pool.submit(gate.process_view, report, None, (), {})
        assert wait_until(lambda: changes.waiting() == 1)
        # As in `__acall__`, whose task Django cancels, while the thread waits on.
        gate.leave(report)
        changes.end.set()
        assert third.result().status_code == 503


def test_the_requests_for_other_workspaces_do_not_wait(changes, worked_on):
    other = worked_on("2")
    assert wait_until(lambda: changes.at_once == MOST_AT_ONCE + 1)
    changes.end.set()
    assert other.result() == 200


def test_other_objects_with_the_same_id_do_not_wait_for_each_other(busy, admin_client, admin_user):
    busy(admin_user.pk)
    assert admin_client.post(reverse("admin:auth_user_change", args=[admin_user.pk])).status_code == 200
