"""What must be true of workspaces, launches and the log between any two transactions, whatever happened."""

from workspaces.lifecycle.transitions import TeardownReason, WorkspaceStatus
from workspaces.log_verification import differences
from workspaces.models import BackendKind, Launch, Workspace

S = WorkspaceStatus
WAITING = frozenset({S.PROVISIONING, S.HIBERNATING})
# A process of its present launch is to run.
RUNNING = frozenset({S.PROVISIONING, S.ONLINE, S.DEGRADED})
# No process is to run.
STOPPED = frozenset({S.PAUSED, S.HIBERNATED, S.REMOVED, S.FAILED})


def assert_invariants():
    """Hold rows, launches and log to each other. The message says what is untrue of whom."""
    _, found = differences()
    assert [str(difference) for difference in found] == []
    rows = {row.pk: row for row in Workspace.objects.all()}
    launches = {launch.pk: launch for launch in Launch.objects.all()}
    for row in rows.values():
        untrue = [*_untrue_of_row(row), *_untrue_of_present(row, launches[row.launch_id])]
        untrue += _untrue_of_line(row, rows, launches)
        assert untrue == [], f"{row.name} is {row.status}: {', '.join(untrue)}"
    for launch in launches.values():
        is_left_alone = launch.torn_down_at is None and launch.teardown_at is None
        is_earlier = rows[launch.workspace_id].launch_id != launch.pk
        assert not (is_earlier and is_left_alone), f"an earlier launch of {launch.workspace} is never stopped"


def assert_one_object_each(backend):
    """No workspace has two objects alive at its backend."""
    held = [key.workspace_id for key in objects_of(backend)]
    assert len(held) == len(set(held)), "two processes of one workspace run"


def objects_of(backend):
    """Return what is alive there, asked or not."""
    was, backend.unreachable = backend.unreachable, False
    held, backend.unreachable = backend.running_launches(), was
    return held


def _untrue_of_row(row):
    if (row.status in WAITING) != (row.deadline_at is not None):
        yield f"deadline {row.deadline_at}"
    if (row.status == S.PROVISIONING) != bool(row.phase):
        yield f"phase {row.phase!r}"
    if row.status == S.FAILED and not (row.failure_code and row.failure_source and row.failure_message.strip()):
        yield "failed without a reason"
    if row.status in {S.PROVISIONING, S.ONLINE, S.AWAITING_AGENT} and row.failure_code:
        yield f"still has the failure {row.failure_code}"
    if row.restart_due_at and row.status != S.OFFLINE:
        yield "its restart is still planned"


def _untrue_of_present(row, launch):
    """Yield what is untrue of the present launch of a workspace of ours."""
    if launch.workspace_id != row.pk:
        yield "its present launch is another workspace's"
    if row.backend == BackendKind.EXTERNAL:
        return
    is_meant_to_stop = launch.teardown_at is not None or launch.torn_down_at is not None
    if row.status in RUNNING and is_meant_to_stop:
        yield f"its launch is to stop: {launch.teardown_reason}"
    if row.status in STOPPED | {S.HIBERNATING} and not is_meant_to_stop:
        yield "nobody means to stop its launch"
    if row.status == S.HIBERNATED and launch.torn_down_at is None and launch.teardown_reason != TeardownReason.REAPED:
        yield "hibernated before its process was confirmed gone"


def _untrue_of_line(row, rows, launches):
    """Yield what is untrue of it under those above it. What Slipway's own stop paused takes nothing along."""
    line = list(_above(row, rows))
    paused = [one for one in line if one.status == S.PAUSED]
    by_hand = [one for one in paused if launches[one.launch_id].teardown_reason != TeardownReason.SHUT_DOWN]
    if by_hand and row.status not in {S.PAUSED, S.REMOVED}:
        yield f"stands under {by_hand[0].name}, which is paused"
    if row.paused_by is not None and row.paused_by not in {one.pk for one in paused}:
        yield "was taken along by a pause that is over"
    if row.status != S.REMOVED and any(one.status == S.REMOVED for one in line):
        yield "outlived the one above it"


def _above(row, rows):
    while row.parent_id is not None:
        row = rows[row.parent_id]
        yield row
