-- Makes a new workspace wait while secrets change (AdvisoryLock.SECRETS), and a change wait for it to be committed. A
-- trigger, because a create would need one more statement for it. Whoever locks other workspaces first takes the lock
-- before them.
CREATE OR REPLACE FUNCTION workspaces_wait_for_secrets() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7301004);
    RETURN NULL;
END
$$;
