"""The admin's side bar: what this user may see, in the order of a working day."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

_SECTIONS = (
    (
        "Fleet",
        (
            ("Workspaces", "deployed_code", "workspaces", "workspace"),
            ("Launches", "rocket_launch", "workspaces", "launch"),
            ("Incidents", "warning", "workspaces", "incident"),
            ("Events", "history", "events", "event"),
        ),
    ),
    (
        "Notifications",
        (
            ("Channels", "campaign", "events", "channel"),
            ("Deliveries", "outbox", "events", "delivery"),
        ),
    ),
    (
        "Access",
        (
            ("Secrets", "key", "workspaces", "secret"),
            ("API keys", "vpn_key", "workspaces", "apikey"),
            ("Accounts", "person", "auth", "user"),
            ("Groups", "group", "auth", "group"),
        ),
    ),
)


def sections(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sections that have an item for this user, in django-unfold's shape."""
    found = [{"title": title, "items": _items(request, items)} for title, items in _SECTIONS]
    return [section for section in found if section["items"]]


def _items(request: HttpRequest, items: tuple[tuple[str, str, str, str], ...]) -> list[dict[str, Any]]:
    return [
        {"title": title, "icon": icon, "link": reverse(f"admin:{app}_{model}_changelist")}
        for title, icon, app, model in items
        if request.user.has_perm(f"{app}.view_{model}") or request.user.has_perm(f"{app}.change_{model}")
    ]
