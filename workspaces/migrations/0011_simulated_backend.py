from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("workspaces", "0010_heartbeat_fence_and_retired_secrets"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="launch",
            name="launch_backend_known",
        ),
        migrations.RemoveConstraint(
            model_name="workspace",
            name="workspace_backend_known",
        ),
        migrations.AlterField(
            model_name="launch",
            name="backend",
            field=models.CharField(
                choices=[("process", "Process"), ("external", "External"), ("simulated", "Simulated")], max_length=20
            ),
        ),
        migrations.AlterField(
            model_name="workspace",
            name="backend",
            field=models.CharField(
                choices=[("process", "Process"), ("external", "External"), ("simulated", "Simulated")],
                default="process",
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="launch",
            constraint=models.CheckConstraint(
                condition=models.Q(("backend__in", ["process", "external", "simulated"])), name="launch_backend_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="workspace",
            constraint=models.CheckConstraint(
                condition=models.Q(("backend__in", ["process", "external", "simulated"])),
                name="workspace_backend_known",
            ),
        ),
    ]
