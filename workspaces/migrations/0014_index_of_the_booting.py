from django.db import migrations, models


class Migration(migrations.Migration):
    """Count who is booting and late without a look at their rows."""

    dependencies = [("workspaces", "0013_index_of_the_held")]

    operations = [
        migrations.AddIndex(
            model_name="workspace",
            index=models.Index(
                condition=models.Q(("phase", "booting"), ("status", "provisioning")),
                fields=["runtime", "backend", "deadline_at"],
                name="workspace_booting",
            ),
        ),
    ]
