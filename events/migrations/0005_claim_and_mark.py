"""Claims deliveries, marks what came of them: see events/delivery/claims.py. In the database for the reason that 0004 has."""

from django.db import migrations

_CLAIM = """
CREATE FUNCTION events_claim(receiver bigint, batch integer, present timestamptz, lease timestamptz) RETURNS json
    LANGUAGE plpgsql
    -- One plan for good: a batch is looked up by its keys, whatever number there is of others.
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
$$
"""

_MARK = """
CREATE FUNCTION events_mark(marks jsonb, lease timestamptz, kept integer) RETURNS integer
    LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
DECLARE
    marked integer;
BEGIN
    -- Only what is still this claim's: whoever took over knows better.
    UPDATE events_delivery AS delivery
    SET state = new.state, attempts = new.attempts, leased_until = NULL, settled_at = new.settled_at,
        next_attempt_at = coalesce(new.next_attempt_at, delivery.next_attempt_at),
        history = CASE WHEN jsonb_array_length(delivery.history) < kept THEN delivery.history
            ELSE delivery.history - 0 END || new.entry
    FROM jsonb_to_recordset(marks) AS new (
        id bigint, state text, attempts smallint, settled_at timestamptz, next_attempt_at timestamptz, entry jsonb)
    WHERE delivery.id = new.id AND delivery.state = 'sending' AND delivery.leased_until = lease;
    GET DIAGNOSTICS marked = ROW_COUNT;
    RETURN marked;
END
$$
"""


class Migration(migrations.Migration):
    dependencies = [("events", "0004_number_committed")]
    operations = [
        migrations.RunSQL(_CLAIM, "DROP FUNCTION events_claim(bigint, integer, timestamptz, timestamptz)"),
        migrations.RunSQL(_MARK, "DROP FUNCTION events_mark(jsonb, timestamptz, integer)"),
        migrations.RunSQL(
            "ALTER FUNCTION events_number_committed(integer) SET plan_cache_mode = force_generic_plan",
            "ALTER FUNCTION events_number_committed(integer) RESET plan_cache_mode",
        ),
    ]
