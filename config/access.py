"""Who may listen to the live stream; `events` itself knows neither sessions nor API keys."""

from django.http import HttpRequest


def may_read_events(request: HttpRequest) -> bool:
    """Tell whether the request comes from a signed-in operator."""
    return bool(request.user.is_active and request.user.is_staff)
