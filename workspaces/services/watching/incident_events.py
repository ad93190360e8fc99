"""The events that tell of an incident."""

from events import outbox
from events.names import EventType
from workspaces.models.incidents import Incident


def record_incident_events(incident: Incident, *event_types: EventType) -> None:
    """Record INCIDENT_OPENED or INCIDENT_RESOLVED. Call it in the transaction that writes the incident."""
    payload = {
        "kind": incident.kind,
        "scope": incident.scope,
        "count": incident.count,
        "message": incident.message,
        "incident_id": incident.pk,
    }
    outbox.record([outbox.NewEvent(event_type=event_type, payload=payload) for event_type in event_types])
