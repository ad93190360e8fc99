-- Refuses a change of the event log, which is append-only. Three triggers on events_event call it, for an UPDATE of
-- what an event says, a second UPDATE of its position, and a DELETE outside manage.py prune_events.
CREATE OR REPLACE FUNCTION events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'event %: the log is append-only, % is refused', OLD.id, lower(TG_OP)
        USING ERRCODE = 'check_violation', HINT = 'Old events are deleted by manage.py prune_events.';
END
$$;
