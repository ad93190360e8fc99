-- The secrets that workspaces get. This is the one place that says which wins of those with the same name: the one in the
-- highest layer. Global secrets are in layer 0, those of the workspace's sets in 1, 2, … in their order, its own are in
-- the last. workspaces/access/secrets.py calls it.
CREATE OR REPLACE FUNCTION workspaces_effective_secrets(wanted uuid[]) RETURNS TABLE (
    workspace_id uuid, name varchar, secret_id bigint, ciphertext text
)
    LANGUAGE sql STABLE
AS $$
    WITH layered AS (
        SELECT workspace.id AS workspace_id, 0 AS layer, secret.name, secret.id, secret.ciphertext
        FROM unnest(wanted) AS workspace (id)
        JOIN workspaces_secret AS secret ON secret.workspace_id IS NULL AND secret.secret_set_id IS NULL
        UNION ALL
        SELECT workspace.id, chosen.layer, secret.name, secret.id, secret.ciphertext
        FROM workspaces_workspace AS workspace
        CROSS JOIN unnest(workspace.secret_sets) WITH ORDINALITY AS chosen (name, layer)
        JOIN workspaces_secret AS secret ON secret.secret_set_id = chosen.name
        WHERE workspace.id = ANY (wanted)
        UNION ALL
        SELECT secret.workspace_id, 2147483647, secret.name, secret.id, secret.ciphertext
        FROM workspaces_secret AS secret
        WHERE secret.workspace_id = ANY (wanted)
    )
    SELECT DISTINCT ON (layered.workspace_id, layered.name)
        layered.workspace_id, layered.name, layered.id, layered.ciphertext
    FROM layered
    ORDER BY layered.workspace_id, layered.name, layered.layer DESC
$$;
