"""Let events_mark count attempts and read when they were from the entries, so that marks don't repeat it."""

from pathlib import Path

from django.db import migrations

from postgres.run_sql_file import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("events", "0010_index_of_event_names")]
    operations = [
        RunSQLFile(
            Path(__file__).parents[1] / "sql/events_mark.sql",
            # What this function ignores, the code of both releases may send.
            reverse_sql=migrations.RunSQL.noop,
        ),
    ]
