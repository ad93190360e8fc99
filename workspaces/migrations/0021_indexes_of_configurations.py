from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Index what has a configuration, so that deleting unused ones does not read every launch for each of them."""

    # Built concurrently, so that other sessions can write meanwhile.
    atomic = False
    dependencies = [("workspaces", "0020_crash_loop")]

    operations = [
        # An interrupted attempt leaves an invalid index with this name.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS launch_configuration", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="launch",
            index=models.Index(
                condition=models.Q(("configuration__isnull", False)),
                fields=["configuration"],
                name="launch_configuration",
            ),
        ),
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS workspace_configuration", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="workspace",
            index=models.Index(
                condition=models.Q(("kept_configuration__isnull", False)),
                fields=["kept_configuration"],
                name="workspace_configuration",
            ),
        ),
    ]
