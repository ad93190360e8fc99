from django.db import migrations, models

from events.names import EventType

# Launches that failed before have theirs in the event log, as far as it still reaches back.
TAKE_FROM_EVENTS = """
UPDATE workspaces_launch AS launch SET failure_message = coalesce(event.payload ->> 'error', '')
FROM events_event AS event
WHERE launch.failure_code <> '' AND event.event_type = %s
    AND event.workspace_id = launch.workspace_id AND event.payload ->> 'launch_id' = launch.id::text
"""


class Migration(migrations.Migration):
    """Keep what a failed launch said, so that its history tells why."""

    dependencies = [("workspaces", "0023_store_heartbeat"), ("events", "0007_sent_forms")]
    operations = [
        migrations.AddField(
            model_name="launch",
            name="failure_message",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
        migrations.RunSQL(  # dynamic-sql: the constant above, with the event's name as its parameter
            [(TAKE_FROM_EVENTS, [EventType.WORKSPACE_PROVISION_FAILED])], migrations.RunSQL.noop
        ),
    ]
