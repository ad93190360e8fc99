"""Let the database number committed events and queue their deliveries in one call: see events/relay.py."""

from pathlib import Path

from django.db import migrations

from postgres.run_sql_file import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("events", "0003_event_append_only")]
    operations = [
        RunSQLFile(
            Path(__file__).parents[1] / "sql/events_number_committed.sql",
            reverse_sql="DROP FUNCTION events_number_committed(integer)",
        )
    ]
