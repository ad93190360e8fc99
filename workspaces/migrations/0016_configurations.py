from django.db import migrations, models
from django.db.models.deletion import PROTECT


class Migration(migrations.Migration):
    """The columns get their indexes in 0021: building one here would stop other sessions from writing."""

    dependencies = [("workspaces", "0015_incident_scope_columns")]

    operations = [
        migrations.CreateModel(
            name="Configuration",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("text", models.TextField()),
                ("files", models.JSONField(default=dict)),
            ],
        ),
        migrations.AddField(
            model_name="launch",
            name="configuration",
            field=models.ForeignKey(
                db_index=False, null=True, on_delete=PROTECT, related_name="+", to="workspaces.configuration"
            ),
        ),
        migrations.AddField(
            model_name="workspace",
            name="kept_configuration",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                editable=False,
                null=True,
                on_delete=PROTECT,
                related_name="+",
                to="workspaces.configuration",
            ),
        ),
    ]
