from django.db import migrations, models


class Migration(migrations.Migration):
    """Keep what the preflight of a launch found that is probably not meant."""

    dependencies = [("workspaces", "0032_boot_step_details")]
    operations = [
        migrations.AddField(model_name="launch", name="warnings", field=models.JSONField(db_default=[], default=list)),
    ]
