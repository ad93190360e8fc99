from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Index the events by name, so that `GET /events?event=NAME` doesn't read the whole log."""

    # Built concurrently, so that other sessions can write meanwhile.
    atomic = False
    dependencies = [("events", "0009_validate_event_names")]

    operations = [
        # An interrupted attempt leaves an invalid index with this name.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS event_by_name", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="event", index=models.Index(fields=["event_type", "position"], name="event_by_name")
        ),
    ]
