"""The links in the admin's side bar."""

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
            ("Secret sets", "folder_special", "workspaces", "secretset"),
            ("API keys", "vpn_key", "workspaces", "apikey"),
            ("Accounts", "person", "auth", "user"),
            ("Groups", "group", "auth", "group"),
        ),
    ),
)


def sections(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sections with at least one link for this user, as django-unfold expects them."""
    found = []
    for title, links in _SECTIONS:
        items = [
            {"title": label, "icon": icon, "link": reverse(f"admin:{app}_{model}_changelist")}
            for label, icon, app, model in links
            if request.user.has_perm(f"{app}.view_{model}") or request.user.has_perm(f"{app}.change_{model}")
        ]
        if items:
            found.append({"title": title, "items": items})
    return found
