-- Claims at most `batch` first attempts and `batch` repeated ones of the channel `receiver` that are due at `present`,
-- and those whose lease has expired. Marks them as sending until `lease`, and returns them with their events as a JSON
-- array in the log's order, or null. Claims nothing while another process holds a claim of this channel.
-- events/delivery/claims.py calls it. It runs in the database for the reason that events_number_committed gives.
CREATE OR REPLACE FUNCTION events_claim(receiver bigint, batch integer, present timestamptz, lease timestamptz) RETURNS json
    LANGUAGE plpgsql
    -- One cached plan: a batch is looked up by its keys, however many other rows there are.
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    claimed json;
BEGIN
    -- The second statement sees what was true when this one got the lock.
    PERFORM FROM events_channel WHERE id = receiver FOR NO KEY UPDATE;

    -- Nothing while another holds a claim of the channel. First attempts in the log's order, later ones when they are
    -- due, and what a dead process left: each part reads a partial index of its own and stops.
    WITH due AS (
        (SELECT id FROM events_delivery
         WHERE channel_id = receiver AND state = 'waiting' AND attempts = 0 AND next_attempt_at <= present
         ORDER BY position LIMIT batch)
        UNION ALL
        (SELECT id FROM events_delivery
         WHERE channel_id = receiver AND state = 'waiting' AND attempts > 0 AND next_attempt_at <= present
         ORDER BY next_attempt_at LIMIT batch)
        UNION ALL
        SELECT id FROM events_delivery
        WHERE channel_id = receiver AND state = 'sending' AND leased_until <= present
    ), taken AS (
        UPDATE events_delivery AS delivery SET state = 'sending', leased_until = lease
        FROM due
        WHERE delivery.id = due.id AND EXISTS (
            SELECT FROM events_channel AS channel
            WHERE channel.id = receiver AND channel.is_enabled AND channel.paused_at IS NULL
                AND (channel.held_until IS NULL OR channel.held_until <= present)
        ) AND NOT EXISTS (
            SELECT FROM events_delivery AS held
            WHERE held.channel_id = receiver AND held.state = 'sending' AND held.leased_until > present
        )
        RETURNING delivery.id, delivery.attempts, delivery.event_id, delivery.position
    )
    -- One document for all: decoding each row's own takes as long as the statement.
    SELECT json_agg(json_build_array(taken.id, taken.attempts, event.id, event.position, event.event_type,
        event.workspace_id, event.version, event.payload, event.created_at, event.subject) ORDER BY taken.position)
    INTO claimed
    FROM taken JOIN events_event AS event ON event.id = taken.event_id;
    RETURN claimed;
END
$$;
