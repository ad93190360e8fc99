"""Each failure has an owner, a phase, the known facts and advice. A deadline alone gives it no known owner."""

import pytest

from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.callers import AgentCaller, holder
from tests.workspaces.factories import booting, later, online, queued, running_on
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.failures import advice_for, owner_of
from workspaces.lifecycle.transitions import (
    DEADLINE_FAILURES,
    FailureCode,
    FailureOwner,
    FailureSource,
)
from workspaces.models import ApiScope
from workspaces.services.launching.progress import record_progress
from workspaces.services.watching.sweep import sweep_stuck
from workspaces.services.watching.watch import watch_boots, watch_online

S = FailureSource
O = FailureOwner  # noqa: E741 - a column of the table below
EXITED = {"state": "exited", "exit_code": 3}


@pytest.mark.parametrize(
    ("code", "source", "evidence", "owner"),
    [
        (FailureCode.MISSING_ENV, S.PREFLIGHT, {}, O.CONFIGURATION),
        (FailureCode.MISSING_ENV, S.AGENT, {"state": "running"}, O.CONFIGURATION),
        (FailureCode.BAD_CONFIG, S.PREFLIGHT, {}, O.CONFIGURATION),
        (FailureCode.SECRET_UNREADABLE, S.PREFLIGHT, {}, O.PLATFORM),
        (FailureCode.NEVER_LAUNCHED, S.PROVISION_TIMEOUT_SWEEP, {}, O.PLATFORM),
        (FailureCode.LAUNCH_ERROR, S.LAUNCHER, {}, O.BACKEND),
        (FailureCode.CRASHED, S.AGENT, {"state": "running"}, O.IMAGE),
        (FailureCode.CRASHED, S.BOOTSTRAP_WATCHER, EXITED, O.IMAGE),
        (FailureCode.CRASHED, S.BOOTSTRAP_WATCHER, {"state": "exited", "exit_code": -9}, O.UNKNOWN),
        (FailureCode.CRASHED, S.BOOTSTRAP_WATCHER, {"state": "exited", "exit_code": None}, O.UNKNOWN),
        (FailureCode.CRASHED, S.BOOTSTRAP_WATCHER, {"state": "missing"}, O.BACKEND),
        (FailureCode.CRASHED, S.BOOTSTRAP_WATCHER, {"state": "running"}, O.UNKNOWN),
        (FailureCode.CANCELLED, S.OPERATOR, {"state": "running"}, O.UNKNOWN),
    ],
)
def test_the_evidence_decides_who_owns_a_failure(code, source, evidence, owner):
    assert owner_of(code, source=source, evidence=evidence) == owner


@pytest.mark.parametrize("evidence", [{}, EXITED, {"state": "missing"}, {"state": "running"}, {"state": "unknown"}])
@pytest.mark.parametrize("code", sorted(DEADLINE_FAILURES - {FailureCode.NEVER_LAUNCHED}))
def test_a_deadline_failure_has_no_known_owner_whatever_the_evidence(code, evidence):
    assert owner_of(code, source=S.PROVISION_TIMEOUT_SWEEP, evidence=evidence) == O.UNKNOWN


@pytest.mark.parametrize("code", [code for code in FailureCode if code])
def test_each_failure_says_what_to_do(code):
    assert advice_for(code).endswith(".")


def failure_payload(workspace):
    return Event.objects.get(workspace_id=workspace.pk, event_type=EventType.WORKSPACE_PROVISION_FAILED).payload


@pytest.mark.django_db
def test_a_timeout_reports_its_limit_the_last_step_and_the_backends_state(fake):
    late = booting(provision_timeout_seconds=120)
    running_on(fake, late)
    watch_boots(clock=database_now)
    at = later(late, minutes=1)
    record_progress(workspace_id=late.pk, launch_id=late.launch_id, step="pip install", now=at)
    sweep_stuck(now=later(late, minutes=3), policy=Policy())
    payload = failure_payload(late)
    assert (payload["owner"], payload["phase"]) == ("unknown", "booting")
    assert payload["advice"]
    known = payload["known"]
    assert (known["limit_seconds"], known["limit_source"]) == (120, "workspace")
    assert (known["last_step"], known["last_step_at"]) == ("pip install", at.isoformat())
    assert (known["backend_state"], known["phase_entered_at"]) == ("running", late.phase_entered_at.isoformat())
    assert "exit_code" not in known


@pytest.mark.django_db
def test_the_api_shows_the_exit_code_of_a_crash(fake):
    dying = booting()
    fake.simulate_exit(running_on(fake, dying), exit_code=3, log_tail="no such module\n")
    watch_boots(clock=database_now)
    failure = holder(ApiScope.READ).get(f"/workspaces/{dying.pk}").json()["failure"]
    assert (failure["code"], failure["owner"], failure["phase"]) == ("crashed", "image", "booting")
    assert (failure["known"]["backend_state"], failure["known"]["exit_code"]) == ("exited", 3)
    assert failure["advice"]
    assert failure["log_tail"] == "no such module\n"


@pytest.mark.django_db
def test_the_platform_owns_the_failure_of_a_stalled_queue():
    late = queued()
    sweep_stuck(now=later(late, minutes=10.1), policy=Policy())
    assert (failure_payload(late)["owner"], failure_payload(late)["phase"]) == ("platform", "queued")


@pytest.mark.django_db
def test_the_image_owns_a_crash_after_online_which_has_no_phase(fake):
    up = online()
    fake.simulate_exit(running_on(fake, up), exit_code=1)
    watch_online(clock=database_now)
    up.refresh_from_db()
    assert (up.failure_owner, up.failure_phase, up.failure_known["exit_code"]) == ("image", "", 1)


@pytest.mark.django_db
def test_a_new_launch_clears_the_owner_of_the_last_failure():
    stuck = booting()
    AgentCaller(stuck).failed()
    stuck.refresh_from_db()
    assert stuck.failure_owner == FailureOwner.IMAGE
    holder(ApiScope.OPERATE).post(f"/workspaces/{stuck.pk}/restart")
    stuck.refresh_from_db()
    assert (stuck.failure_owner, stuck.failure_phase, stuck.failure_known) == ("", "", {})


@pytest.mark.django_db
def test_the_page_shows_the_owner_of_the_failure_and_what_to_do(admin_client):
    stuck = booting()
    AgentCaller(stuck).failed()
    page = admin_client.get(f"/admin/workspaces/workspace/{stuck.pk}/change/").content.decode()
    assert "<dt>Owner</dt>" in page
    assert advice_for(FailureCode.CRASHED) in page
