"""Around the deadline, in every order: one winner, one event a move, and the log agrees with the row."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import permutations

import pytest

from events.models import Event
from registry.services import fail_by_watcher
from tests.workspaces.factories import arrive, booting
from workspaces.deadlines import Policy
from workspaces.lifecycle import WorkspaceStatus
from workspaces.models import Workspace
from workspaces.replay import differences
from workspaces.services.moving import TransitionRefused
from workspaces.services.progressing import progress
from workspaces.services.restarting import restart
from workspaces.services.sweeping import sweep_stuck

pytestmark = pytest.mark.django_db
Act = Callable[[Workspace, datetime], object]
# Every act is done by the launch that the test began with.
ACTS: dict[str, Act] = {
    "register": lambda row, now: arrive(row, now=now),
    "sweep": lambda row, now: sweep_stuck(now=now, policy=Policy()),
    "restart": lambda row, now: restart(workspace_id=row.pk, now=now),
    "progress": lambda row, now: progress(workspace_id=row.pk, launch_id=row.launch_id, step="install", now=now),
    "bootstrap-failed": lambda row, now: fail_by_watcher(
        workspace_id=row.pk, launch_id=row.launch_id, error="It broke.", log_tail="", now=now
    ),
}
MOMENTS = {
    "1 ms before": timedelta(milliseconds=-1),
    "1 ms after": timedelta(milliseconds=1),
    "within the grace": timedelta(minutes=9),
    "after the teardown": timedelta(minutes=11),
}


def done(act: str, row: Workspace, now: datetime) -> bool:
    """Do it; tell whether it moved the workspace."""
    before = Workspace.objects.values_list("version", flat=True).get(pk=row.pk)
    with suppress(TransitionRefused):
        ACTS[act](row, now)
    after = Workspace.objects.values_list("version", flat=True).get(pk=row.pk)
    assert after - before in (0, 1)
    return after > before


def settled(row: Workspace) -> Workspace:
    """Check that log and row agree, and return the row as it is now."""
    now = Workspace.objects.get(pk=row.pk)
    assert differences(row.pk)[1] == []
    assert Event.objects.filter(workspace_id=row.pk, is_move=True).count() == now.version
    return now


@pytest.mark.parametrize("moment", sorted(MOMENTS))
@pytest.mark.parametrize("order", list(permutations(ACTS, 3)), ids=" then ".join)
def test_any_three_in_any_order_around_the_deadline_leave_one_truth(order: tuple[str, ...], moment: str) -> None:
    row = booting()
    assert row.deadline_at is not None
    now = row.deadline_at + MOMENTS[moment]
    moved = [act for act in order if done(act, row, now)]
    end = settled(row)
    # An act of the superseded launch never touches the new one.
    if "restart" in order:
        assert moved[-1] == "restart"
        assert (end.status, end.launch_id != row.launch_id) == (WorkspaceStatus.PROVISIONING, True)


@pytest.mark.parametrize(
    ("flip_after", "arrives_after", "status"),
    [(-0.001, 0, "online"), (0, 0.001, "online"), (0.001, 540, "online"), (0, 599.999, "online"), (0, 600, "failed")],
)
def test_the_deadline_and_the_end_of_the_grace_are_exact(
    flip_after: float, arrives_after: float, status: WorkspaceStatus
) -> None:
    row = booting()
    assert row.deadline_at is not None
    flips = done("sweep", row, row.deadline_at + timedelta(seconds=flip_after))
    assert flips == (flip_after >= 0)
    at = row.deadline_at + timedelta(seconds=flip_after + arrives_after)
    assert done("register", row, at) == (status == "online")
    assert settled(row).status == status


def test_evidence_leaves_no_grace_and_a_repeated_report_changes_nothing() -> None:
    row = booting()
    assert row.deadline_at is not None
    assert done("bootstrap-failed", row, row.deadline_at)
    assert not done("bootstrap-failed", row, row.deadline_at)
    assert not done("register", row, row.deadline_at)
    assert settled(row).failure_code == "crashed"
