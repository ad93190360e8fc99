from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Index the workspaces whose failure is held, so that finding them does not read every booting one."""

    # Built concurrently, so that other sessions can write meanwhile.
    atomic = False
    dependencies = [("workspaces", "0012_launch_timeout")]

    operations = [
        # An interrupted attempt leaves an invalid index with this name.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS workspace_held", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="workspace",
            index=models.Index(condition=models.Q(("held_since__isnull", False)), fields=["id"], name="workspace_held"),
        ),
    ]
