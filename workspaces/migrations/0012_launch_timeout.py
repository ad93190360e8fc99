from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("workspaces", "0011_simulated_backend"),
    ]

    operations = [
        migrations.AddField(
            model_name="workspace",
            name="launch_timeout_seconds",
            field=models.PositiveIntegerField(editable=False, null=True),
        ),
    ]
