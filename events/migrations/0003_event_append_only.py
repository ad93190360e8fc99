"""Make the log append-only: an event changes once, when it gets its position, and only retention deletes it."""

from pathlib import Path

from django.db import migrations

from postgres.run_sql_file import RunSQLFile

# The triggers name their columns, so that the relay's UPDATE of `position` costs one short condition and no function
# call. Add each new column of Event to this list; tests/events/test_retention.py compares it with the model.
_PROTECTED = "id, event_type, workspace_id, version, is_move, payload, subject, created_at"

_CREATE_TRIGGERS = f"""
CREATE TRIGGER event_keeps_what_it_says BEFORE UPDATE OF {_PROTECTED} ON events_event
    FOR EACH ROW EXECUTE FUNCTION events_refuse_change();
CREATE TRIGGER event_gets_one_position BEFORE UPDATE OF position ON events_event
    FOR EACH ROW WHEN (OLD.position IS NOT NULL OR NEW.position IS NULL) EXECUTE FUNCTION events_refuse_change();
CREATE TRIGGER event_goes_by_retention BEFORE DELETE ON events_event
    FOR EACH ROW WHEN (current_setting('slipway.pruning', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION events_refuse_change();
"""

_DROP_TRIGGERS = """
DROP TRIGGER event_keeps_what_it_says ON events_event;
DROP TRIGGER event_gets_one_position ON events_event;
DROP TRIGGER event_goes_by_retention ON events_event;
"""


class Migration(migrations.Migration):
    dependencies = [("events", "0002_channels_and_deliveries")]
    operations = [
        RunSQLFile(
            Path(__file__).parents[1] / "sql/events_refuse_change.sql",
            reverse_sql="DROP FUNCTION events_refuse_change()",
        ),
        migrations.RunSQL(_CREATE_TRIGGERS, _DROP_TRIGGERS),
    ]
