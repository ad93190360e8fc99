-- Stores the outcomes of the deliveries in `marks`, each {id, state, next_attempt_at, entry}: counts one more attempt and
-- appends `entry`, which says when it was (`at`), to the delivery's history, of which it keeps the last `kept`. Skips
-- deliveries whose claim is no longer the one of `lease`, and returns how many it stored. events/delivery/claims.py
-- calls it.
CREATE OR REPLACE FUNCTION events_mark(marks jsonb, lease timestamptz, kept integer) RETURNS integer
    LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
DECLARE
    marked integer;
BEGIN
    -- Only what is still this claim's: whoever took over knows better.
    UPDATE events_delivery AS delivery
    SET state = new.state, attempts = delivery.attempts + 1, leased_until = NULL,
        settled_at = CASE WHEN new.state <> 'waiting' THEN (new.entry ->> 'at')::timestamptz END,
        next_attempt_at = coalesce(new.next_attempt_at, delivery.next_attempt_at),
        history = CASE WHEN jsonb_array_length(delivery.history) < kept THEN delivery.history
            ELSE delivery.history - 0 END || new.entry
    FROM jsonb_to_recordset(marks) AS new (id bigint, state text, next_attempt_at timestamptz, entry jsonb)
    WHERE delivery.id = new.id AND delivery.state = 'sending' AND delivery.leased_until = lease;
    GET DIAGNOSTICS marked = ROW_COUNT;
    RETURN marked;
END
$$;
