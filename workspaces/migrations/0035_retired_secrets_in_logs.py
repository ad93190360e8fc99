"""Keep what tells which launch can have a retired secret, and leave out of most masking what only logs can hold."""

from pathlib import Path

from django.db import migrations, models

from postgres.run_sql_file import RunSQLFile

_SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [("workspaces", "0034_boot_log_bytes")]
    operations = [
        migrations.AddField(
            model_name="secret", name="value_since", field=models.DateTimeField(editable=False, null=True)
        ),
        migrations.AddField(
            model_name="retiredsecret",
            name="name",
            field=models.CharField(db_default="", default="", max_length=255),
        ),
        migrations.AddField(model_name="retiredsecret", name="value_since", field=models.DateTimeField(null=True)),
        migrations.AddField(
            model_name="retiredsecret",
            name="only_in_logs",
            field=models.BooleanField(db_default=False, default=False),
        ),
        RunSQLFile(
            _SQL / "workspaces_secret_values.sql",
            reverse_sql=(_SQL / "earlier/workspaces_secret_values_before_0035.sql").read_text(),
        ),
    ]
