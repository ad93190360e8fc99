"""Keep how long a launch's log was when it came online, which divides it into boot output and agent's output."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("workspaces", "0033_warnings_of_launches")]
    operations = [
        migrations.AddField(model_name="launch", name="boot_log_bytes", field=models.BigIntegerField(null=True))
    ]
