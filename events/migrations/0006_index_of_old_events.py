from django.contrib.postgres.indexes import BrinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    """Index the events by time, so that retention finds the old ones without reading the log."""

    # Built concurrently, so that other sessions can write meanwhile.
    atomic = False
    dependencies = [("events", "0005_claim_and_mark")]

    operations = [
        # An interrupted attempt leaves an invalid index with this name.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS event_by_time", migrations.RunSQL.noop),
        AddIndexConcurrently(model_name="event", index=BrinIndex(fields=["created_at"], name="event_by_time")),
    ]
