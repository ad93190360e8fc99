"""Makes deliveries: one for each event that just got its position and each channel that wants it."""

from django.db import connection

# `manage.py deliver` listens here.
DELIVERIES_CHANNEL = "slipway_deliveries_due"

# Every filter that is not empty must match. The subject is the event's own snapshot: what holds is what was true then.
_CREATE = """
INSERT INTO events_delivery (channel_id, event_id, position, workspace_id, next_attempt_at)
SELECT channel.id, event.id, event.position, event.workspace_id, clock_timestamp()
FROM events_event AS event JOIN events_channel AS channel
    ON channel.is_enabled
    AND (channel.event_types = '{}' OR event.event_type = ANY (channel.event_types))
    AND (channel.runtimes = '{}' OR event.subject->>'runtime' = ANY (channel.runtimes))
    AND (channel.failure_codes = '{}' OR event.payload->>'code' = ANY (channel.failure_codes))
    AND (channel.workspace_id IS NULL OR event.workspace_id = channel.workspace_id
        OR (channel.with_descendants AND event.subject->'ancestors' ? channel.workspace_id::text))
WHERE event.position > %s AND event.position <= %s
"""


def create_deliveries(*, after: int, until: int) -> int:
    """Queue the events between these positions for all enabled channels that want them; for the relay's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_CREATE, [after, until])
        created: int = cursor.rowcount
    if created:
        announce_due()
    return created


def announce_due() -> None:
    """Wake those who deliver, on commit."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [DELIVERIES_CHANNEL])
