"""What must be true of workspaces, launches and the log between any two transactions, whatever happened."""

from workspaces.lifecycle.transitions import TeardownReason, WorkspaceStatus
from workspaces.log_verification import differences
from workspaces.models import BackendKind, Launch, Workspace

S = WorkspaceStatus
WAITING = frozenset({S.PROVISIONING, S.HIBERNATING})
# A process of the current launch should run.
RUNNING = frozenset({S.PROVISIONING, S.ONLINE, S.DEGRADED})
# No process may run.
STOPPED = frozenset({S.PAUSED, S.HIBERNATED, S.REMOVED, S.FAILED})


def assert_invariants():
    """Check that rows, launches and the log agree. The message names the workspace and what is wrong."""
    _, found = differences()
    assert [str(difference) for difference in found] == []
    rows = {row.pk: row for row in Workspace.objects.all()}
    launches = {launch.pk: launch for launch in Launch.objects.all()}
    for row in rows.values():
        wrong = [
            *_wrong_fields(row),
            *_wrong_launch(row, launches[row.launch_id]),
            *_wrong_ancestors(row, rows, launches),
        ]
        assert wrong == [], f"{row.name} is {row.status}: {', '.join(wrong)}"
    for launch in launches.values():
        is_left_alone = launch.torn_down_at is None and launch.teardown_at is None
        is_earlier = rows[launch.workspace_id].launch_id != launch.pk
        assert not (is_earlier and is_left_alone), f"an earlier launch of {launch.workspace} is never stopped"


def assert_at_most_one_launch_runs(backend):
    """Check that no workspace has two running launches at its backend."""
    held = [key.workspace_id for key in running_launches_of(backend)]
    assert len(held) == len(set(held)), "two processes of one workspace run"


def running_launches_of(backend):
    """Return the launches that the backend runs, even while it is unreachable."""
    was, backend.unreachable = backend.unreachable, False
    held, backend.unreachable = backend.running_launches(), was
    return held


def _wrong_fields(row):
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


def _wrong_launch(row, launch):
    """Yield what is wrong with a workspace's current launch."""
    if launch.workspace_id != row.pk:
        yield "its current launch is another workspace's"
    if row.backend == BackendKind.EXTERNAL:
        return
    has_teardown = launch.teardown_at is not None or launch.torn_down_at is not None
    if row.status in RUNNING and has_teardown:
        yield f"its launch has a teardown: {launch.teardown_reason}"
    if row.status in STOPPED | {S.HIBERNATING} and not has_teardown:
        yield "its launch has no teardown"
    if row.status == S.HIBERNATED and launch.torn_down_at is None and launch.teardown_reason != TeardownReason.REAPED:
        yield "hibernated before its process was confirmed gone"


def _wrong_ancestors(row, rows, launches):
    """Yield what contradicts the ancestors. A workspace that a shutdown paused does not pause its descendants."""
    ancestors = list(_ancestors(row, rows))
    paused = [one for one in ancestors if one.status == S.PAUSED]
    by_hand = [one for one in paused if launches[one.launch_id].teardown_reason != TeardownReason.SHUT_DOWN]
    if by_hand and row.status not in {S.PAUSED, S.REMOVED}:
        yield f"is below {by_hand[0].name}, which is paused"
    if row.paused_by is not None and row.paused_by not in {one.pk for one in paused}:
        yield "was paused with an ancestor that is not paused"
    if row.status != S.REMOVED and any(one.status == S.REMOVED for one in ancestors):
        yield "its ancestor is removed"


def _ancestors(row, rows):
    while row.parent_id is not None:
        row = rows[row.parent_id]
        yield row
