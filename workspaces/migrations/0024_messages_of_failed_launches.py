from django.db import migrations, models


class Migration(migrations.Migration):
    """Keep what a failed launch said, so that its history tells why. 0029 fills it for those that failed before."""

    dependencies = [("workspaces", "0023_store_heartbeat")]
    operations = [
        migrations.AddField(
            model_name="launch",
            name="failure_message",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
    ]
