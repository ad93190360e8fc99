"""Let the database find agents by their tokens, and store heartbeats: see registry/heartbeat.py."""

from pathlib import Path

from django.db import migrations

from postgres.run_sql_file import RunSQLFile

_SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [("workspaces", "0021_indexes_of_configurations")]
    operations = [
        RunSQLFile(
            _SQL / "workspaces_find_agent.sql",
            reverse_sql="DROP FUNCTION workspaces_find_agent(text, workspace_status)",
        ),
        RunSQLFile(
            _SQL / "workspaces_store_heartbeat.sql",
            reverse_sql="DROP FUNCTION workspaces_store_heartbeat(text, workspace_status, uuid, jsonb, boolean, boolean)",
        ),
    ]
