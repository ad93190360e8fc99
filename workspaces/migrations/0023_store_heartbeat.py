"""Let the database find agents by their tokens, and store heartbeats: see registry/heartbeat.py."""

from pathlib import Path

from django.db import migrations

from postgres.run_sql_file import RunSQLFile

_SQL = Path(__file__).parents[1] / "sql"
_STORE_ARGUMENTS = "text, workspace_status, uuid, jsonb, boolean, boolean, text"


class Migration(migrations.Migration):
    dependencies = [("workspaces", "0022_usage_budgets_and_stored_answers")]
    operations = [
        RunSQLFile(
            _SQL / "workspaces_find_agent.sql",
            reverse_sql="DROP FUNCTION workspaces_find_agent(text, workspace_status)",
        ),
        RunSQLFile(
            _SQL / "workspaces_count_usage.sql",
            reverse_sql="DROP FUNCTION workspaces_count_usage(uuid, uuid, jsonb, date)",
        ),
        RunSQLFile(
            _SQL / "workspaces_store_heartbeat.sql",
            reverse_sql=f"DROP FUNCTION workspaces_store_heartbeat({_STORE_ARGUMENTS})",
        ),
    ]
