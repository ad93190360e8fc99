"""A launch that raises fails at once, whatever it raises and where; only an outage of the database is repeated."""

import logging
import re

import pytest
from django.db import DataError, InterfaceError, OperationalError

from postgres.clock import database_now
from tests.callers import holder
from tests.workspaces.factories import queued
from workspaces import tasks
from workspaces.lifecycle.transitions import FailureCode, FailureOwner, FailureSource, Phase, WorkspaceStatus
from workspaces.models import ApiScope, Launch, Workspace
from workspaces.services.launching import launch as launch_service
from workspaces.services.stopping.teardown import claim_due_teardowns

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "sk-very-secret"
UNEXPECTED = [ValueError(SECRET), KeyError(SECRET), RecursionError(SECRET), MemoryError(), DataError(SECRET)]
STEPS = ["preflight", "launch_spec", "_stop_earlier_launches", "get_provisioner", "enter_booting"]


def run(workspace):
    tasks.launch(workspace_id=str(workspace.pk), launch_id=str(workspace.launch_id))
    workspace.refresh_from_db()
    return workspace


def raise_at(step, error, monkeypatch):
    def fail(*_arguments, **_named):
        raise error

    monkeypatch.setattr(launch_service, step, fail)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", UNEXPECTED, ids=lambda error: type(error).__name__)
def test_any_exception_at_any_step_fails_the_launch_at_once(fake, monkeypatch, caplog, step, error):
    workspace = queued()
    raise_at(step, error, monkeypatch)
    failed = run(workspace)
    assert (failed.status, failed.failure_code) == (WorkspaceStatus.FAILED, FailureCode.LAUNCH_ERROR)
    assert (failed.failure_source, failed.failure_owner) == (FailureSource.LAUNCHER, FailureOwner.PLATFORM)
    assert type(error).__name__ in failed.failure_message
    assert SECRET not in failed.failure_message
    reference = re.search(r"reference ([0-9a-f]{8}) in the log", failed.failure_message)[1]
    (logged,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (logged.reference, logged.launch_id, logged.exc_info[1]) == (reference, failed.launch_id, error)


def test_what_the_backend_started_before_the_exception_is_torn_down(fake, monkeypatch):
    raise_at("enter_booting", ValueError(), monkeypatch)
    failed = run(queued())
    assert [call for call, _ in fake.calls] == ["start"]
    assert claim_due_teardowns(now=database_now()) == [failed.launch_id]


def test_a_backend_that_raises_what_it_may_not_fails_the_launch(fake):
    def refuse(call, key):
        raise RuntimeError(SECRET)

    fake.before_call = refuse
    failed = run(queued())
    assert (failed.failure_code, SECRET in failed.failure_message) == (FailureCode.LAUNCH_ERROR, False)


def test_the_launch_that_raises_does_not_keep_another_waiting(fake, monkeypatch):
    bad, good = queued(name="bad"), queued(name="good")
    preflight = launch_service.preflight

    def preflight_or_raise(workspace):
        if workspace.name == "bad":
            raise ValueError
        return preflight(workspace)

    monkeypatch.setattr(launch_service, "preflight", preflight_or_raise)
    assert run(bad).status == WorkspaceStatus.FAILED
    assert run(good).phase == Phase.BOOTING


@pytest.mark.parametrize("error", [OperationalError(), InterfaceError()], ids=lambda error: type(error).__name__)
def test_a_launch_during_an_outage_of_the_database_keeps_waiting_and_is_repeated(fake, monkeypatch, error):
    workspace = queued()
    with monkeypatch.context() as patch:
        raise_at("preflight", error, patch)
        with pytest.raises(type(error)):
            run(workspace)
    workspace.refresh_from_db()
    assert workspace.phase == Phase.QUEUED
    assert run(workspace).phase == Phase.BOOTING


@pytest.mark.parametrize("value", ["!!timestamp soon", "!!bool maybe", "!!int ''"])
def test_a_stored_config_that_no_parser_can_read_fails_its_first_launch(fake, value):
    workspace = queued()
    # As a release stored it whose parser accepted it.
    Workspace.objects.filter(pk=workspace.pk).update(config=f"runtime: echo\ntier: {value}\n")
    failed = run(workspace)
    assert failed.status == WorkspaceStatus.FAILED
    assert failed.failure_code in {FailureCode.BAD_CONFIG, FailureCode.LAUNCH_ERROR}
    assert Launch.objects.get(pk=failed.launch_id).launching_at is None
    shown = holder(ApiScope.READ).get(f"/workspaces/{failed.pk}").json()
    assert shown["failure"]["message"] == failed.failure_message
