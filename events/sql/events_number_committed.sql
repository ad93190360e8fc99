-- Gives at least `batch` committed events their position, or all if there are fewer. Queues a delivery for every enabled
-- channel that wants one of them, notifies the live streams and manage.py deliver, and returns how many events it
-- numbered. events/relay.py calls it.
--
-- It runs in the database because the plans of its statements are cached there: planning them anew for each event
-- takes several times as long as running them, and every listener waits for it (ADR 13). Under READ COMMITTED each
-- statement takes its own snapshot: events committed while the first one waited for the lock are visible to the second.
CREATE OR REPLACE FUNCTION events_number_committed(batch integer) RETURNS integer LANGUAGE plpgsql
    -- Fail if another session holds the counter for longer: it is stuck, and waiting would hide that.
    SET lock_timeout = '5s'
    -- One cached plan serves a short and a long log, so plan for the long one.
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    last bigint;
    numbered integer;
    queued integer;
BEGIN
    SELECT last_position INTO last FROM events_positioncounter WHERE id = 1 FOR UPDATE;
    IF NOT FOUND THEN
        -- Created on need, not by a migration: a flushed database has none.
        INSERT INTO events_positioncounter (id, last_position) VALUES (1, 0) ON CONFLICT DO NOTHING;
        SELECT last_position INTO STRICT last FROM events_positioncounter WHERE id = 1 FOR UPDATE;
    END IF;

    -- Events are placed by id, but none before one of the same workspace with a lower version, wherever its id is:
    -- `reached` fetches those that the batch left out, `turn` is the place in the queue that all up to there reached.
    WITH next AS (
        SELECT id, workspace_id, version FROM events_event WHERE position IS NULL ORDER BY id LIMIT batch
    ), reached AS (
        SELECT workspace_id, max(version) AS version FROM next GROUP BY workspace_id
    ), due AS (
        SELECT id, workspace_id, version FROM next
        UNION
        SELECT event.id, event.workspace_id, event.version
        FROM events_event AS event JOIN reached USING (workspace_id)
        WHERE event.position IS NULL AND event.version < reached.version
    ), queue AS (
        SELECT id, version, max(id) OVER (PARTITION BY workspace_id ORDER BY version, id) AS turn FROM due
    ), placed AS (
        SELECT id, row_number() OVER (ORDER BY turn, version, id) AS place FROM queue
    )
    UPDATE events_event SET position = last + placed.place FROM placed WHERE events_event.id = placed.id;
    GET DIAGNOSTICS numbered = ROW_COUNT;
    IF numbered = 0 THEN
        RETURN 0;
    END IF;

    -- Every filter that is not empty must match. The subject is the event's own snapshot: what holds is what was true.
    INSERT INTO events_delivery (channel_id, event_id, position, workspace_id, next_attempt_at)
    SELECT channel.id, event.id, event.position, event.workspace_id, clock_timestamp()
    FROM events_event AS event JOIN events_channel AS channel
        ON channel.is_enabled
        AND (channel.event_types = '{}' OR event.event_type = ANY (channel.event_types))
        AND (channel.runtimes = '{}' OR event.subject->>'runtime' = ANY (channel.runtimes))
        AND (channel.failure_codes = '{}' OR event.payload->>'code' = ANY (channel.failure_codes))
        AND (channel.workspace_id IS NULL OR event.workspace_id = channel.workspace_id
            OR (channel.with_descendants AND event.subject->'ancestors' ? channel.workspace_id::text))
    WHERE event.position > last AND event.position <= last + numbered;
    GET DIAGNOSTICS queued = ROW_COUNT;

    UPDATE events_positioncounter SET last_position = last + numbered WHERE id = 1;
    -- Both are heard on commit. Live streams listen to the first, those who deliver to the second.
    PERFORM pg_notify('slipway_event_positioned', (last + numbered)::text);
    IF queued > 0 THEN
        PERFORM pg_notify('slipway_deliveries_due', '');
    END IF;
    RETURN numbered;
END
$$;
