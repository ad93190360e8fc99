from django.db import migrations

import workspaces.lifecycle.trigger


class Migration(migrations.Migration):
    dependencies = [
        ("workspaces", "0004_verbs_and_policies"),
    ]

    operations = [
        workspaces.lifecycle.trigger.GuardMoves(
            moves={
                "awaiting_agent": ["online", "removed", "paused", "awaiting_agent"],
                "degraded": ["provisioning", "online", "offline", "removed", "paused", "hibernating", "awaiting_agent"],
                "failed": ["provisioning", "online", "removed", "paused", "awaiting_agent"],
                "hibernated": ["provisioning", "removed", "paused"],
                "hibernating": ["provisioning", "online", "offline", "removed", "paused", "hibernated"],
                "offline": ["provisioning", "online", "removed", "paused", "awaiting_agent"],
                "online": ["provisioning", "offline", "degraded", "removed", "paused", "hibernating", "awaiting_agent"],
                "paused": ["provisioning", "removed", "awaiting_agent"],
                "provisioning": ["provisioning", "online", "failed", "removed", "paused"],
                "removed": [],
            },
            first=["provisioning"],
            first_external=["awaiting_agent", "online"],
        ),
    ]
