from django.db import migrations, models


class Migration(migrations.Migration):
    """Keep what an agent says of its boot step, and the last one of each launch for its history."""

    dependencies = [("workspaces", "0031_keys_of_runtime_metadata")]
    operations = [
        migrations.AddField(
            model_name="workspace",
            name="progress_detail",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=1000),
        ),
        migrations.AddField(
            model_name="launch",
            name="last_step",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        migrations.AddField(
            model_name="launch",
            name="last_step_detail",
            field=models.CharField(blank=True, db_default="", default="", max_length=1000),
        ),
        migrations.AddField(
            model_name="launch",
            name="last_step_at",
            field=models.DateTimeField(null=True),
        ),
    ]
