"""Who may listen to the live stream; `events` itself knows neither sessions nor API keys."""

from django.http import HttpRequest

from workspaces.authentication import Access
from workspaces.models import ApiScope
from workspaces.refusals import Refusal

READ_EVENTS = Access(scopes=(ApiScope.READ,), permission="events.view_event")


def may_read_events(request: HttpRequest) -> bool:
    """Tell whether the request comes from a signed-in operator who may, or with an API key that may."""
    try:
        READ_EVENTS(request)
    except Refusal:
        return False
    return True
