"""GET /workspaces/{id}/console: the end of the log, plain and masked, whatever the backend does."""

import pytest

from tests.callers import AgentCaller, holder
from tests.workspaces.factories import booting, external, failed
from workspaces.access.secrets import put_secrets
from workspaces.models import ApiScope
from workspaces.provisioners import guarded_calls
from workspaces.provisioners.base import BackendState, Observation

pytestmark = pytest.mark.django_db


def console(workspace, caller=None):
    answer = (caller or holder(ApiScope.READ)).get(f"/workspaces/{workspace.pk}/console")
    assert answer.status_code == 200
    return answer.json()


def says(monkeypatch, log, *, state=BackendState.RUNNING):
    monkeypatch.setattr(guarded_calls, "look", lambda kind, key: Observation(state=state, log_tail=log))


def test_the_log_of_a_running_process_is_shown_as_a_terminal_shows_it(monkeypatch):
    says(monkeypatch, "begun\n 1 %\r100 %\n\x1b[31mready\x1b[0m\n")
    assert console(booting()) == {"output": "begun\n100 %\nready\n"}


def test_secrets_in_it_are_masked(monkeypatch):
    workspace = booting()
    put_secrets({"KEY": "hunter2-hunter2"}, workspace_id=workspace.pk)
    says(monkeypatch, "log in with hunter2-hunter2\n")
    assert "hunter2" not in console(workspace)["output"]


def test_what_a_failure_kept_is_shown_when_nothing_runs(monkeypatch):
    says(monkeypatch, "", state=BackendState.MISSING)
    assert console(failed()) == {"output": "last words"}


def test_a_backend_that_can_not_be_asked_has_no_log(monkeypatch):
    says(monkeypatch, "", state=BackendState.UNKNOWN)
    assert console(booting()) == console(external()) == {"output": ""}


def test_an_agent_reads_its_own(monkeypatch):
    says(monkeypatch, "mine\n")
    workspace = booting()
    assert console(workspace, AgentCaller(workspace)) == {"output": "mine\n"}
    assert AgentCaller(booting()).get(f"/workspaces/{workspace.pk}/console").status_code == 403
