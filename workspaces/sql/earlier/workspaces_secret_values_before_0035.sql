-- What migration 0035 puts back when it is reversed, since it takes away a column that the later function reads.
-- Every value that is secret for the `wanted` workspaces, as it is stored, retired ones included: their own, those of their
-- sets, the global ones, and those of the named `sets`. Global ones, and those of named sets, have no workspace.
-- workspaces/access/secrets.py calls it. A function, because Postgres plans these queries once for a session instead of for
-- each text that is masked.
CREATE OR REPLACE FUNCTION workspaces_secret_values(wanted uuid[], sets text[]) RETURNS TABLE (
    workspace_id uuid, ciphertext text
)
    LANGUAGE plpgsql STABLE
    -- One cached plan: rows are looked up by their keys, however many others there are.
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
BEGIN
    RETURN QUERY
    SELECT secret.workspace_id, secret.ciphertext FROM workspaces_secret AS secret
    WHERE secret.workspace_id = ANY (wanted)
    UNION ALL
    SELECT NULL, secret.ciphertext FROM workspaces_secret AS secret
    WHERE secret.workspace_id IS NULL AND secret.secret_set_id IS NULL
    UNION ALL
    SELECT workspace.id, secret.ciphertext FROM workspaces_workspace AS workspace
    JOIN workspaces_secret AS secret ON secret.secret_set_id = ANY (workspace.secret_sets)
    WHERE workspace.id = ANY (wanted)
    UNION ALL
    SELECT NULL, secret.ciphertext FROM workspaces_secret AS secret WHERE secret.secret_set_id = ANY (sets)
    UNION ALL
    SELECT retired.workspace_id, retired.ciphertext FROM workspaces_retiredsecret AS retired
    WHERE retired.workspace_id = ANY (wanted)
    UNION ALL
    SELECT NULL, retired.ciphertext FROM workspaces_retiredsecret AS retired WHERE retired.workspace_id IS NULL;
END
$$;
