"""The baseline of the sweep: plain SQL that fails overdue workspaces in batches.

It writes the same rows, columns, texts and events as workspaces/services/watching/sweep.py does for boots that time
out, with one transaction and one NOTIFY per batch. The difference is that no row passes through Python.
"""

from datetime import datetime

from django.db import connection, transaction

BATCH = 1000
_BATCH = """
WITH due AS MATERIALIZED (
    SELECT id, launch_id, runtime, progress_step, progress_at, phase_entered_at,
        CASE runtime WHEN 'hermes' THEN 1800 ELSE 600 END AS seconds,
        CASE runtime WHEN 'hermes' THEN 'runtime' ELSE 'default' END AS source,
        (SELECT evidence FROM workspaces_launch AS launch WHERE launch.id = launch_id) AS evidence
    FROM workspaces_workspace
    WHERE status = 'provisioning' AND deadline_at <= %(now)s
    ORDER BY deadline_at, id LIMIT %(batch)s FOR NO KEY UPDATE SKIP LOCKED
), failed AS (
    UPDATE workspaces_workspace AS present
    SET status = 'failed', version = version + 1, phase = '', deadline_at = NULL, paused_by = NULL,
        restart_due_at = NULL, failure_code = 'timed_out', failure_source = 'provision_timeout_sweep',
        failure_at = %(now)s, failure_log_tail = '', failure_owner = 'unknown', failure_phase = 'booting',
        failure_message = format(
            'Its agent did not register within %%s minutes of its start (%%s limit). The last boot step it reported '
            'was “%%s”, at %%s UTC. Look at its log, then restart; raise provision_timeout_seconds if its boot is '
            'known to take longer.',
            seconds / 60, source, due.progress_step, to_char(due.progress_at, 'HH24:MI:SS')
        ),
        failure_known = jsonb_strip_nulls(jsonb_build_object(
            'last_step', due.progress_step, 'last_step_at', due.progress_at, 'phase_entered_at', due.phase_entered_at,
            'backend_state', evidence -> 'state', 'exit_code', evidence -> 'exit_code',
            'limit_seconds', seconds, 'limit_source', source
        ))
    FROM due WHERE present.id = due.id
    RETURNING present.id, version, name, present.runtime, parent_id, present.launch_id, failure_message,
        failure_known, seconds
), ended AS (
    UPDATE workspaces_launch AS launch
    SET outcome = 'failed', ended_at = %(now)s, failure_code = 'timed_out', teardown_at = %(now)s + interval '10 min',
        teardown_reason = 'failed', teardown_is_forced = false, teardown_attempts = 0, teardown_error = '',
        torn_down_at = CASE WHEN launching_at IS NULL THEN %(now)s END, failure_message = failed.failure_message
    FROM failed WHERE launch.id = failed.launch_id
)
INSERT INTO events_event (event_type, workspace_id, version, is_move, payload, subject)
SELECT 'WORKSPACE_PROVISION_FAILED', id, version, true,
    jsonb_build_object(
        'error', failure_message, 'code', 'timed_out', 'source', 'provision_timeout_sweep', 'runtime', runtime,
        'launch_id', launch_id, 'owner', 'unknown', 'phase', 'booting', 'known', failure_known, 'timeout_secs', seconds,
        'version', version,
        'advice', 'Check its last boot step and its log. If that step is slow but healthy, raise the limit.'
    ),
    jsonb_build_object('name', name, 'runtime', runtime, 'ancestors', '[]'::jsonb)
FROM failed
"""


def sweep_in_sql(*, now: datetime) -> int:
    """Fail all overdue workspaces and return how many."""
    total = 0
    while done := _batch(now):
        total += done
        if done < BATCH:
            break
    return total


@transaction.atomic
def _batch(now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_BATCH, {"now": now, "batch": BATCH})
        done = cursor.rowcount
        cursor.execute("SELECT pg_notify('slipway_event_recorded', '')")
    return done
