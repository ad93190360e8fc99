-- Finds the agent that a token belongs to, by the token's SHA-256: one row, or none for an unknown token. `refusal` says
-- why its calls are refused; '' if they are not. `removed` is that status. workspaces/access/authentication.py calls
-- it, and workspaces_store_heartbeat. A function, because Postgres plans this join once for a session instead of for
-- each beat.
CREATE OR REPLACE FUNCTION workspaces_find_agent(token_digest text, removed workspace_status) RETURNS TABLE (
    refusal text, received_at timestamptz, workspace_id uuid, launch_id uuid, status workspace_status, backend text,
    name text, runtime text, parent_id uuid, version bigint, current_task text, active_tasks integer
)
    LANGUAGE plpgsql STABLE
    -- One cached plan: each row is looked up by its key, however many other rows there are.
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
BEGIN
    RETURN QUERY
    SELECT CASE
            WHEN workspace.status = removed THEN 'gone'
            WHEN token.launch_id <> workspace.launch_id THEN 'superseded'
            WHEN token.revoked_at IS NOT NULL THEN 'revoked'
            -- An external launch counts as torn down from its beginning, because Slipway runs nothing for it.
            WHEN launch.torn_down_at IS NOT NULL AND workspace.backend <> 'external' THEN 'stopped'
            ELSE ''
        END,
        statement_timestamp(), token.workspace_id, token.launch_id, workspace.status, workspace.backend::text,
        workspace.name::text, workspace.runtime::text, workspace.parent_id, workspace.version::bigint,
        -- A workspace that was inserted by hand has no heartbeat.
        coalesce(heartbeat.current_task, ''), coalesce(heartbeat.active_tasks, 0)
    FROM workspaces_agenttoken AS token
    JOIN workspaces_workspace AS workspace ON workspace.id = token.workspace_id
    JOIN workspaces_launch AS launch ON launch.id = token.launch_id
    LEFT JOIN workspaces_heartbeat AS heartbeat ON heartbeat.workspace_id = token.workspace_id
    WHERE token.digest = token_digest;
END
$$;
