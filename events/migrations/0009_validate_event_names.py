from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    """Validate the names of the events in a transaction of its own, in which others can write."""

    dependencies = [("events", "0008_needs_restart")]

    operations = [ValidateConstraint(model_name="event", name="event_type_known")]
