"""All event names. Plain data: imports no model."""

from django.db.models import TextChoices


class EventType(TextChoices):
    """The events that are stored. The wire contract fixes their names."""

    WORKSPACE_PROVISIONING = "WORKSPACE_PROVISIONING", "Provisioning"
    WORKSPACE_ONLINE = "WORKSPACE_ONLINE", "Online"
    # The only failure event. `source` in its payload says who failed the launch.
    WORKSPACE_PROVISION_FAILED = "WORKSPACE_PROVISION_FAILED", "Provisioning failed"
    WORKSPACE_OFFLINE = "WORKSPACE_OFFLINE", "Offline"
    WORKSPACE_DEGRADED = "WORKSPACE_DEGRADED", "Degraded"
    WORKSPACE_PAUSED = "WORKSPACE_PAUSED", "Paused"
    WORKSPACE_HIBERNATING = "WORKSPACE_HIBERNATING", "Hibernating"
    WORKSPACE_HIBERNATED = "WORKSPACE_HIBERNATED", "Hibernated"
    WORKSPACE_AWAITING_AGENT = "WORKSPACE_AWAITING_AGENT", "Awaiting its agent"
    WORKSPACE_REMOVED = "WORKSPACE_REMOVED", "Removed"
    AGENT_CARD_UPDATED = "AGENT_CARD_UPDATED", "Agent card updated"
    WORKSPACE_OVER_BUDGET = "WORKSPACE_OVER_BUDGET", "Over budget"
    WORKSPACE_NEEDS_RESTART = "WORKSPACE_NEEDS_RESTART", "Needs a restart"
    # Incidents are about the fleet: their workspace and version are null.
    INCIDENT_OPENED = "INCIDENT_OPENED", "Incident opened"
    INCIDENT_RESOLVED = "INCIDENT_RESOLVED", "Incident resolved"


class EphemeralEventType(TextChoices):
    """The events that are only published, best effort: not stored, and without a position."""

    WORKSPACE_PROGRESS = "WORKSPACE_PROGRESS", "Progress"
    WORKSPACE_HEARTBEAT = "WORKSPACE_HEARTBEAT", "Heartbeat"
    TASK_UPDATED = "TASK_UPDATED", "Task updated"


# What an operator sends to try a channel. It is not in the log.
TEST_EVENT = "TEST_MESSAGE"
