from django.db import migrations

from postgres.enum_operations import CreateEnum


class Migration(migrations.Migration):
    initial = True

    operations = [
        CreateEnum(
            name="workspace_status",
            values=[
                "provisioning",
                "online",
                "offline",
                "degraded",
                "failed",
                "removed",
                "paused",
                "hibernated",
                "hibernating",
                "awaiting_agent",
            ],
        )
    ]
