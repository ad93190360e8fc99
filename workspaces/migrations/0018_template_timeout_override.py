from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("workspaces", "0017_index_of_queued_at"),
    ]

    operations = [
        migrations.AddField(
            model_name="workspace",
            name="template_timeout_override",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
    ]
