"""The watcher's last look at a boot, and the crash marker in a log."""

import pytest

from events.models import Event
from tests.workspaces.factories import booting, config_for, later, running_on
from workspaces.access import secrets
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import FailureCode, FailureOwner, WorkspaceStatus
from workspaces.models import Launch
from workspaces.services.watching.evidence import crash_message
from workspaces.services.watching.last_look import take_last_looks
from workspaces.services.watching.sweep import sweep_stuck
from workspaces.services.watching.watch import watch_boots

pytestmark = pytest.mark.django_db


def look(workspace, *, minutes):
    return list(take_last_looks(clock=lambda: later(workspace, minutes=minutes), policy=Policy()))


def append_log(fake, workspace, log):
    fake.append_log(running_on(fake, workspace), log)


@pytest.mark.parametrize(("runtime", "minutes"), [("echo", 8), ("hermes", 25)])
def test_the_last_look_comes_once_at_the_watchers_limit_and_fails_nothing(fake, runtime, minutes):
    slow = booting(config=config_for(runtime), runtime="")
    append_log(fake, slow, "still installing\n")
    assert look(slow, minutes=minutes - 0.1) == []
    assert look(slow, minutes=minutes) == [slow.pk]
    assert look(slow, minutes=minutes + 0.1) == []
    slow.refresh_from_db()
    assert slow.status == WorkspaceStatus.PROVISIONING
    evidence = Launch.objects.get(pk=slow.launch_id).evidence
    assert (evidence["state"], evidence["log_tail"]) == ("running", "still installing\n")


def test_a_failure_by_the_sweep_shows_what_the_last_look_saw(fake):
    late = booting()
    secrets.put_secrets({"API_KEY": "hush-hush-hush"}, workspace_id=late.pk)
    append_log(fake, late, "key hush-hush-hush\nwaiting for a mirror\n")
    look(late, minutes=9)
    sweep_stuck(now=later(late, minutes=11), policy=Policy())
    late.refresh_from_db()
    assert (late.failure_code, late.failure_owner) == (FailureCode.TIMED_OUT, FailureOwner.UNKNOWN)
    assert late.failure_log_tail.endswith("waiting for a mirror\n")
    assert "hush" not in late.failure_log_tail
    payload = Event.objects.latest("id").payload
    assert payload["known"]["backend_state"] == "running"
    assert payload["known"]["backend_seen_at"] == later(late, minutes=9).isoformat()
    assert payload["log_tail"] == late.failure_log_tail


def test_an_unreachable_backend_is_stored_as_unknown(fake):
    slow = booting()
    running_on(fake, slow)
    fake.unreachable = True
    look(slow, minutes=9)
    assert Launch.objects.get(pk=slow.launch_id).evidence["state"] == "unknown"


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("all is well\n", None),
        ("SLIPWAY-BOOTSTRAP-FAILED: no space left\n", "no space left"),
        ("begun\nSLIPWAY-BOOTSTRAP-FAILED\nmore\n", ""),
        ("echo 'SLIPWAY-BOOTSTRAP-FAILED: quoted'\n", None),
    ],
)
def test_a_crash_marker_counts_only_at_the_start_of_a_line(log, message):
    assert crash_message(log) == message


def test_a_crash_marker_in_the_log_fails_a_boot_whose_process_lives_on(fake):
    hanging = booting()
    append_log(fake, hanging, "installing\nSLIPWAY-BOOTSTRAP-FAILED: no space left on device\n")
    assert watch_boots(clock=lambda: later(hanging, minutes=1)) == [hanging.pk]
    hanging.refresh_from_db()
    assert (hanging.failure_code, hanging.failure_source) == ("crashed", "bootstrap_watcher")
    assert hanging.failure_owner == FailureOwner.IMAGE
    assert "no space left on device" in hanging.failure_message
    assert "installing" in hanging.failure_log_tail
