-- Stores the heartbeat `report` of the agent that a token belongs to, in one round trip. Returns its row of
-- workspaces_find_agent, as it was before the beat, with what is stored now. Stores nothing if the agent is refused, or
-- if its workspace is not `claimed`. registry/heartbeat.py calls it.
--
-- `report` holds the columns that the beat changes, of `runtime_metadata` the keys, and `usage` (workspaces_count_usage).
-- Its days are those of `zone`.
-- `budget_limit` is null unless the beat says what was spent; `budget_told_percent` is this month's. If `is_heard`, the row
-- has the workspace's ancestors for the live events, the parent first. If `may_lose`, the beat is committed without
-- waiting for the disk (ADR 19), except for the first one of a task, which keeps its workspace from hibernating.
CREATE OR REPLACE FUNCTION workspaces_store_heartbeat(
    token_digest text, removed workspace_status, claimed uuid, report jsonb, may_lose boolean, is_heard boolean,
    zone text)
    RETURNS TABLE (
        refusal text, received_at timestamptz, workspace_id uuid, launch_id uuid, status workspace_status, backend text,
        name text, runtime text, parent_id uuid, version bigint, current_task text, active_tasks integer,
        error_rate double precision, sample_error text, runtime_state text, manages_status boolean, monthly_spend bigint,
        budget_limit bigint, budget_told_percent integer, ancestors uuid[]
    )
    LANGUAGE plpgsql
    -- One cached plan: each row is looked up by its key, however many other rows there are.
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
-- One statement with all of these parts would take as long to start as the usual beat takes.
DECLARE
    agent record;
    today date := (statement_timestamp() AT TIME ZONE zone)::date;
    month date := date_trunc('month', today)::date;
    new_tasks integer := (report ->> 'active_tasks')::integer;
BEGIN
    SELECT * INTO agent FROM workspaces_find_agent(token_digest, removed);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF agent.refusal = '' AND agent.workspace_id = claimed THEN
        IF may_lose AND (agent.active_tasks > 0 OR coalesce(new_tasks, 0) = 0) THEN
            SET LOCAL synchronous_commit = off;
        END IF;
        UPDATE workspaces_heartbeat AS beat
        SET last_heartbeat_at = agent.received_at,
            error_rate = coalesce((report ->> 'error_rate')::double precision, beat.error_rate),
            sample_error = coalesce(report ->> 'sample_error', beat.sample_error),
            active_tasks = coalesce(new_tasks, beat.active_tasks),
            idle_since = CASE WHEN coalesce(new_tasks, beat.active_tasks) = 0
                THEN coalesce(beat.idle_since, agent.received_at) END,
            uptime_seconds = coalesce((report ->> 'uptime_seconds')::bigint, beat.uptime_seconds),
            current_task = coalesce(report ->> 'current_task', beat.current_task),
            monthly_spend = coalesce((report ->> 'monthly_spend')::bigint,
                CASE WHEN beat.spend_month = month THEN beat.monthly_spend ELSE 0 END),
            spend_month = month,
            runtime_state = coalesce(report ->> 'runtime_state', beat.runtime_state),
            runtime_metadata = coalesce(beat.runtime_metadata || (report -> 'runtime_metadata'), beat.runtime_metadata)
        -- The launch is part of the condition, since the workspace may have restarted since the look-up.
        WHERE beat.workspace_id = claimed AND beat.launch_id = agent.launch_id
        RETURNING beat.error_rate, beat.sample_error, beat.runtime_state::text,
            coalesce(beat.runtime_metadata -> 'capabilities' ->> 'status_mgmt' = 'true', false), beat.monthly_spend
        INTO error_rate, sample_error, runtime_state, manages_status, monthly_spend;
        IF FOUND AND report ? 'usage' THEN
            PERFORM workspaces_count_usage(claimed, agent.launch_id, report -> 'usage', today);
        END IF;
    END IF;
    budget_told_percent := 0;
    IF report ? 'monthly_spend' THEN
        SELECT own.budget_limit, CASE WHEN own.budget_told_month = month THEN own.budget_told_percent ELSE 0 END
        INTO budget_limit, budget_told_percent
        FROM workspaces_workspace AS own WHERE own.id = agent.workspace_id;
    END IF;
    ancestors := '{}';
    IF is_heard AND agent.parent_id IS NOT NULL THEN
        WITH RECURSIVE walk (id, parent_id, depth) AS (
            SELECT near.id, near.parent_id, 1 FROM workspaces_workspace AS near
            WHERE near.id = agent.parent_id
            UNION ALL
            SELECT next.id, next.parent_id, walk.depth + 1
            FROM walk JOIN workspaces_workspace AS next ON next.id = walk.parent_id
            WHERE walk.depth < 1000
        )
        SELECT coalesce(array_agg(walk.id ORDER BY walk.depth), '{}') INTO ancestors FROM walk;
    END IF;
    refusal := agent.refusal;
    received_at := agent.received_at;
    workspace_id := agent.workspace_id;
    launch_id := agent.launch_id;
    status := agent.status;
    backend := agent.backend;
    name := agent.name;
    runtime := agent.runtime;
    parent_id := agent.parent_id;
    version := agent.version;
    current_task := agent.current_task;
    active_tasks := agent.active_tasks;
    RETURN NEXT;
END
$$;
