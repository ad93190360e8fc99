from django.db import migrations, models


class Migration(migrations.Migration):
    """Find whom the brake holds without a look at everything that is booting."""

    dependencies = [("workspaces", "0012_launch_timeout")]

    operations = [
        migrations.AddIndex(
            model_name="workspace",
            index=models.Index(condition=models.Q(("held_since__isnull", False)), fields=["id"], name="workspace_held"),
        ),
    ]
