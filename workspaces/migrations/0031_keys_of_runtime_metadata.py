"""Let a heartbeat keep the part of `runtime_metadata` that it leaves out."""

from pathlib import Path

from django.db import migrations

from postgres.run_sql_file import RunSQLFile

_SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [("workspaces", "0030_secret_values")]
    operations = [
        RunSQLFile(_SQL / "workspaces_store_heartbeat.sql", reverse_sql=migrations.RunSQL.noop),
    ]
