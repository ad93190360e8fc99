"""The closed set of event names. Plain data: imports no model."""

from django.db.models import TextChoices


class EventType(TextChoices):
    """Every event that is stored. The names are the wire contract's and fixed."""

    WORKSPACE_PROVISIONING = "WORKSPACE_PROVISIONING", "Provisioning"
    WORKSPACE_ONLINE = "WORKSPACE_ONLINE", "Online"
    # The one failure event, whoever failed the launch: `source` in its payload tells.
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
    # Incidents concern the fleet: their workspace and version are null.
    INCIDENT_OPENED = "INCIDENT_OPENED", "Incident opened"
    INCIDENT_RESOLVED = "INCIDENT_RESOLVED", "Incident resolved"


class EphemeralEventType(TextChoices):
    """Chatter that is never stored: best effort, without position."""

    WORKSPACE_PROGRESS = "WORKSPACE_PROGRESS", "Progress"
    WORKSPACE_HEARTBEAT = "WORKSPACE_HEARTBEAT", "Heartbeat"
    TASK_UPDATED = "TASK_UPDATED", "Task updated"


# What an operator sends to try a channel: no event, and in no log.
TEST_EVENT = "TEST_MESSAGE"
