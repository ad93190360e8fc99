from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Count who is booting and late without a look at their rows."""

    # Beside everybody's writes, not instead of them.
    atomic = False
    dependencies = [("workspaces", "0013_index_of_the_held")]

    operations = [
        # What an interrupted attempt left has the name and is no good.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS workspace_booting", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="workspace",
            index=models.Index(
                condition=models.Q(("phase", "booting"), ("status", "provisioning")),
                fields=["runtime", "backend", "deadline_at"],
                name="workspace_booting",
            ),
        ),
    ]
