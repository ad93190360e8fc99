from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Find whom the brake holds without a look at everything that is booting."""

    # Beside everybody's writes, not instead of them.
    atomic = False
    dependencies = [("workspaces", "0012_launch_timeout")]

    operations = [
        # What an interrupted attempt left has the name and is no good.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS workspace_held", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="workspace",
            index=models.Index(condition=models.Q(("held_since__isnull", False)), fields=["id"], name="workspace_held"),
        ),
    ]
