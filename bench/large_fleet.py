"""Insert a fleet of any size with SQL, for benchmarks of the sweep and of the API."""

import os

import redis
from django.db import connection, transaction

_WORKSPACES = """
INSERT INTO workspaces_workspace (
    id, name, role, tier, runtime, template, config, model, backend, labels, x, y, status, version, launch_id, phase,
    provisioning_started_at, phase_entered_at, progress_at, progress_step, deadline_at, url, agent_card,
    failure_code, failure_source, failure_message, failure_log_tail
)
SELECT gen_random_uuid(), 'workspace ' || n, '', 1, CASE WHEN n %% 4 = 0 THEN 'hermes' ELSE 'claude-code' END,
    '', '', '', 'process', '{}', 0, 0,
    (CASE WHEN n <= %(provisioning)s THEN 'provisioning' ELSE 'online' END)::workspace_status, 3, gen_random_uuid(),
    CASE WHEN n <= %(provisioning)s THEN 'booting' ELSE '' END, now(), now(), now(), 'install',
    CASE WHEN n <= %(provisioning)s THEN now() + interval '1 day' + n * interval '1 ms' END, '', '{}', '', '', '', ''
FROM generate_series(1, %(rows)s) AS n
"""
_LAUNCHES = """
INSERT INTO workspaces_launch (
    id, workspace_id, backend, runtime, outcome, queued_at, launching_at, booting_at, evidence, failure_code,
    teardown_reason, teardown_attempts, teardown_error
)
SELECT launch_id, id, backend, runtime,
    CASE WHEN status = 'provisioning' THEN 'in_flight' ELSE 'online' END, now(), now(), now(),
    '{"state": "running", "exit_code": null}', '', '', 0, ''
FROM workspaces_workspace
WHERE NOT EXISTS (SELECT FROM workspaces_launch AS present WHERE present.id = launch_id)
"""
_HEARTBEATS = """
INSERT INTO workspaces_heartbeat (
    workspace_id, launch_id, last_heartbeat_at, error_rate, sample_error, active_tasks, uptime_seconds, current_task,
    monthly_spend, runtime_state, runtime_metadata
)
SELECT id, launch_id, now(), 0, '', 0, 0, '', 0, '',
    -- As existing runtimes send it.
    '{"capabilities": {"heartbeat": false, "scheduler": false, "session": false, "status_mgmt": false, "retry": false,
        "activity_decoration": false, "channel_dispatch": false}, "idle_timeout_seconds": null}'
FROM workspaces_workspace
ON CONFLICT DO NOTHING
"""
# Failed workspaces boot again so that each round starts from the same fleet. The version stays, to match the log.
_BOOT_FAILED_AGAIN = """
UPDATE workspaces_workspace
SET status = 'provisioning', phase = 'booting', deadline_at = now() + interval '1 day', failure_code = '',
    failure_source = '', failure_message = '', failure_at = NULL, failure_owner = '', failure_phase = '',
    failure_known = '{}'
WHERE status = 'failed';
UPDATE workspaces_launch
SET outcome = 'in_flight', ended_at = NULL, failure_code = '', failure_message = '', teardown_at = NULL,
    teardown_reason = '', torn_down_at = NULL
WHERE outcome = 'failed';
"""
_BOOT_ONLINE_AGAIN = """
UPDATE workspaces_workspace
SET status = 'provisioning', phase = 'booting', deadline_at = now() + interval '1 day' WHERE status = 'online';
UPDATE workspaces_launch SET outcome = 'in_flight', ended_at = NULL WHERE outcome = 'online';
"""
# Pick rows from all over the table: real late launches aren't stored next to each other.
_MAKE_OVERDUE = """
UPDATE workspaces_workspace
SET deadline_at = now() - interval '1 minute', phase_entered_at = now() - interval '31 minutes'
WHERE id IN (
    SELECT id FROM workspaces_workspace WHERE status = 'provisioning' AND deadline_at > now()
    ORDER BY md5(id::text) LIMIT %s
)
"""


def insert_fleet(*, rows: int, provisioning: int) -> None:
    """Insert `rows` workspaces with launches and heartbeats: `provisioning` of them booting, the others online."""
    with transaction.atomic(), connection.cursor() as cursor:
        # Skip the transition trigger and the foreign keys, which run per row; these rows satisfy them.
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(_WORKSPACES, {"rows": rows, "provisioning": provisioning})
        cursor.execute(_LAUNCHES)
        cursor.execute(_HEARTBEATS)
    vacuum_and_checkpoint("workspaces_heartbeat")


def delete_fleet() -> None:
    """Delete all workspaces, their events and all messages to the workers."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE workspaces_workspace, events_event CASCADE")
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as broker:
        broker.flushdb()


def make_overdue(number: int) -> None:
    """Reset failed workspaces to booting, then move the deadline of `number` booting workspaces into the past."""
    with transaction.atomic(), connection.cursor() as cursor:
        # No transition leads from failed back to the same launch, so the trigger would refuse it.
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(_BOOT_FAILED_AGAIN)
        cursor.execute(_MAKE_OVERDUE, [number])
    vacuum_and_checkpoint()


def boot_again() -> None:
    """Let the workspaces that are online boot once more, by the same launches."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(_BOOT_ONLINE_AGAIN)
    vacuum_and_checkpoint()


def vacuum_and_checkpoint(*more: str) -> None:
    """Vacuum and checkpoint now so that neither happens during a measurement. `more` names further tables."""
    tables = ", ".join(("workspaces_workspace", "workspaces_launch", "events_event", *more))
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {tables}")
        cursor.execute("CHECKPOINT")
