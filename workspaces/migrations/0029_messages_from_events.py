from django.db import migrations

from events.names import EventType

TAKE_FROM_EVENTS = """
UPDATE workspaces_launch AS launch SET failure_message = coalesce(event.payload ->> 'error', '')
FROM events_event AS event
WHERE launch.failure_code <> '' AND launch.failure_message = '' AND event.event_type = %s
    AND event.workspace_id = launch.workspace_id AND event.payload ->> 'launch_id' = launch.id::text
"""


class Migration(migrations.Migration):
    """Give launches that failed before 0024 their message, as far as the event log still reaches back.

    It reads the whole event log, so it does not run in the transaction that adds the column: others can read and write
    both tables meanwhile.
    """

    dependencies = [("workspaces", "0028_expiry_and_networks_of_api_keys"), ("events", "0007_sent_forms")]
    operations = [
        migrations.RunSQL(  # dynamic-sql: the constant above, with the event's name as its parameter
            [(TAKE_FROM_EVENTS, [EventType.WORKSPACE_PROVISION_FAILED])], migrations.RunSQL.noop
        ),
    ]
