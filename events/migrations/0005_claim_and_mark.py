"""Let the database claim deliveries and store their outcomes: see events/delivery/claims.py."""

from pathlib import Path

from django.db import migrations

from postgres.run_sql_file import RunSQLFile

_SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [("events", "0004_number_committed")]
    operations = [
        RunSQLFile(
            _SQL / "events_claim.sql",
            reverse_sql="DROP FUNCTION events_claim(bigint, integer, timestamptz, timestamptz)",
        ),
        RunSQLFile(_SQL / "events_mark.sql", reverse_sql="DROP FUNCTION events_mark(jsonb, timestamptz, integer)"),
        # Databases that ran 0004 before its file held this setting.
        migrations.RunSQL(
            "ALTER FUNCTION events_number_committed(integer) SET plan_cache_mode = force_generic_plan",
            "ALTER FUNCTION events_number_committed(integer) RESET plan_cache_mode",
        ),
    ]
