from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Index launches by when they were queued, so that recent ones are found without reading all."""

    # Built concurrently, so that other sessions can write meanwhile.
    atomic = False
    dependencies = [("workspaces", "0016_configurations")]

    operations = [
        # An interrupted attempt leaves an invalid index with this name.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS launch_queued", migrations.RunSQL.noop),
        AddIndexConcurrently(model_name="launch", index=models.Index(fields=["queued_at"], name="launch_queued")),
    ]
