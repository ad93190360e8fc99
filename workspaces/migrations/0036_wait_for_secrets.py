"""Let no workspace be inserted while secrets change: see services/core/secret_changes.py."""

from pathlib import Path

from django.db import migrations

from postgres.run_sql_file import RunSQLFile

_SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [("workspaces", "0035_retired_secrets_in_logs")]
    operations = [
        RunSQLFile(_SQL / "workspaces_wait_for_secrets.sql", reverse_sql="DROP FUNCTION workspaces_wait_for_secrets()"),
        migrations.RunSQL(
            """
            SET LOCAL lock_timeout = '5s';
            CREATE TRIGGER workspace_waits_for_secrets BEFORE INSERT ON workspaces_workspace
                FOR EACH STATEMENT EXECUTE FUNCTION workspaces_wait_for_secrets();
            """,
            "DROP TRIGGER workspace_waits_for_secrets ON workspaces_workspace;",
        ),
    ]
