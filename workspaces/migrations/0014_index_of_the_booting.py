from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Index booting workspaces, so that counting them and the late ones does not read their rows."""

    # Built concurrently, so that other sessions can write meanwhile.
    atomic = False
    dependencies = [("workspaces", "0013_index_of_the_held")]

    operations = [
        # An interrupted attempt leaves an invalid index with this name.
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
