import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("workspaces", "0009_incidents")]

    operations = [
        migrations.AddField(
            model_name="heartbeat",
            name="launch_id",
            field=models.UUIDField(null=True),
        ),
        migrations.RunSQL(
            "UPDATE workspaces_heartbeat AS beat SET launch_id = owner.launch_id"
            " FROM workspaces_workspace AS owner WHERE owner.id = beat.workspace_id",
            migrations.RunSQL.noop,
        ),
        migrations.CreateModel(
            name="RetiredSecret",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ciphertext", models.TextField()),
                ("retired_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "workspace",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="retired_secrets",
                        to="workspaces.workspace",
                    ),
                ),
            ],
        ),
    ]
