-- Adds what a heartbeat says of its agent's usage (`input_tokens`, `output_tokens`, `total_calls` since the last one) to
-- the workspace's day. With a `counter`, which the agent raises with each report, a repeated one is counted once.
-- workspaces_store_heartbeat calls it. Returns whether it was counted.
CREATE OR REPLACE FUNCTION workspaces_count_usage(counted_workspace uuid, counted_launch uuid, usage jsonb, today date) RETURNS boolean
    LANGUAGE plpgsql
AS $$
DECLARE
    is_new boolean := true;
BEGIN
    IF usage ? 'counter' THEN
        INSERT INTO workspaces_usagecounter AS last (workspace_id, launch_id, counter)
        VALUES (counted_workspace, counted_launch, (usage ->> 'counter')::bigint)
        ON CONFLICT (workspace_id) DO UPDATE SET launch_id = excluded.launch_id, counter = excluded.counter
        WHERE last.launch_id <> excluded.launch_id OR last.counter < excluded.counter;
        is_new := FOUND;
    END IF;
    IF is_new THEN
        INSERT INTO workspaces_usage AS day (workspace_id, day, input_tokens, output_tokens, total_calls)
        VALUES (counted_workspace, today, coalesce((usage ->> 'input_tokens')::bigint, 0),
            coalesce((usage ->> 'output_tokens')::bigint, 0), coalesce((usage ->> 'total_calls')::bigint, 0))
        -- At most 2^62, so that no sum overflows.
        ON CONFLICT (workspace_id, day) DO UPDATE
        SET input_tokens = least(day.input_tokens + excluded.input_tokens, 1::bigint << 62),
            output_tokens = least(day.output_tokens + excluded.output_tokens, 1::bigint << 62),
            total_calls = least(day.total_calls + excluded.total_calls, 1::bigint << 62);
    END IF;
    RETURN is_new;
END
$$;
