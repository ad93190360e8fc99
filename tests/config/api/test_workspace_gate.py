"""What a change to a workspace is answered while earlier ones are worked on, in the API and in the admin."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import reverse

from config.api import workspace_gate
from config.api.workspace_gate import MOST_AT_ONCE, STUCK_AFTER_SECONDS, WAIT_SECONDS, WorkspaceGate
from tests.callers import holder
from tests.workspaces.factories import online
from workspaces.models import ApiScope

pytestmark = pytest.mark.django_db
WAITING = "Earlier requests for this workspace are still waiting."


@pytest.fixture
def busy(monkeypatch):
    """Let the gate count as many changes to this ID as it lets in, which are stuck."""
    return lambda key: monkeypatch.setitem(WorkspaceGate._began, str(key), [0.0] * MOST_AT_ONCE)


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
    """A view that keeps a thread until it is told to end, behind the gate."""

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
        """Return the status of an agent's report, and how long it took to answer."""
        began = time.monotonic()
        report = RequestFactory().post("/registry/failed", headers={"Authorization": f"Bearer slwt_{agent}"})
        return self.gate(report).status_code, time.monotonic() - began


@pytest.fixture
def changes():
    working = Changes()
    yield working
    working.end.set()


def test_requests_that_come_at_once_take_turns(changes):
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(changes.request) for _ in range(8)]
        time.sleep(STUCK_AFTER_SECONDS / 5)
        changes.end.set()
        assert [answer.result()[0] for answer in answers] == [200] * 8
    assert changes.most_at_once == MOST_AT_ONCE
    assert not WorkspaceGate._began


def test_requests_are_refused_once_the_earlier_ones_are_stuck(changes):
    with ThreadPoolExecutor(8) as pool:
        stuck = [pool.submit(changes.request) for _ in range(MOST_AT_ONCE)]
        time.sleep(0.1)
        status, took = changes.request()
        assert (status, took < STUCK_AFTER_SECONDS + 0.3) == (503, True)
        status, took = changes.request()
        assert (status, took < 0.2) == (503, True)
        # Those of others are let in.
        other = pool.submit(changes.request, "2")
        changes.end.set()
        assert [answer.result()[0] for answer in [*stuck, other]] == [200] * (MOST_AT_ONCE + 1)


def test_a_request_waits_for_its_turn_only_so_long(changes, monkeypatch):
    monkeypatch.setattr(workspace_gate, "STUCK_AFTER_SECONDS", 60)
    with ThreadPoolExecutor(8) as pool:
        working = [pool.submit(changes.request) for _ in range(MOST_AT_ONCE)]
        time.sleep(0.1)
        status, took = changes.request()
        assert (status, WAIT_SECONDS <= took < WAIT_SECONDS + 1) == (503, True)
        changes.end.set()
        assert [answer.result()[0] for answer in working] == [200] * MOST_AT_ONCE


def test_other_objects_with_the_same_id_do_not_wait_for_each_other(busy, admin_client, admin_user):
    busy(admin_user.pk)
    assert admin_client.post(reverse("admin:auth_user_change", args=[admin_user.pk])).status_code == 200
