from django.db import migrations


class Migration(migrations.Migration):
    """Leave room on each page, so that a heartbeat's update stays on its page and touches no index."""

    dependencies = [("workspaces", "0002_tables")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE workspaces_heartbeat SET (fillfactor = 70)",
            "ALTER TABLE workspaces_heartbeat RESET (fillfactor)",
        )
    ]
