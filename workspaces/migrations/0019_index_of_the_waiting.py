from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Index the launches that are queued or starting, so that asking whose turn it is does not read all of them."""

    # Built concurrently, so that other sessions can write meanwhile.
    atomic = False
    dependencies = [("workspaces", "0018_template_timeout_override")]

    operations = [
        # An interrupted attempt leaves an invalid index with this name.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS workspace_waiting", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="workspace",
            index=models.Index(
                condition=models.Q(("phase__in", ["queued", "launching"]), ("status", "provisioning")),
                fields=["backend", "phase", "provisioning_started_at", "id"],
                name="workspace_waiting",
            ),
        ),
    ]
