"""Let the database find the values that are secret for a workspace, and store a heartbeat in less time."""

from pathlib import Path

from django.db import migrations

from postgres.run_sql_file import RunSQLFile

_SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [("workspaces", "0029_messages_from_events")]
    operations = [
        RunSQLFile(
            _SQL / "workspaces_secret_values.sql", reverse_sql="DROP FUNCTION workspaces_secret_values(uuid[], text[])"
        ),
        RunSQLFile(_SQL / "workspaces_store_heartbeat.sql", reverse_sql=migrations.RunSQL.noop),
    ]
