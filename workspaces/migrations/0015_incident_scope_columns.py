from django.db import migrations, models


class Migration(migrations.Migration):
    """Generated columns: code of the previous release keeps writing `scope` alone, and Postgres fills both."""

    dependencies = [
        ("workspaces", "0014_index_of_the_booting"),
    ]

    operations = [
        migrations.AddField(
            model_name="incident",
            name="scope_kind",
            field=models.GeneratedField(
                db_persist=True,
                expression=models.Func(models.F("scope"), models.Value(":"), models.Value(1), function="split_part"),
                output_field=models.CharField(max_length=100),
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="scope_name",
            field=models.GeneratedField(
                db_persist=True,
                expression=models.Func(
                    models.F("scope"), models.Value("^[^:]*:?"), models.Value(""), function="regexp_replace"
                ),
                output_field=models.CharField(max_length=100),
            ),
        ),
    ]
