"""Who may call what: the one table of it. Each route has one line; test_credentials.py tries every credential there.

    operator("operate", "workspaces.change_workspace")  keys whose scopes include that one, users with that permission
    operator("read", "")                                any user who may sign in to the admin, instead of a permission
    operator(…, own_agent=True)                         and the agent of the workspace in the path
    operator(…, is_stream=True)                         a live stream, which only the ASGI server has; a query in its
                                                        path makes a stream of a route that has a line of its own
    agents()                                            the agent of the workspace that the request names as its own
    staff()                                             users who may sign in to the admin
    anybody()                                           no credential is looked at

The pages of the admin need no line. OPEN_PAGES needs no credential, ANY_STAFF no permission.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """Who may call a route. `scopes` are those of which a key needs one."""

    kind: str
    scopes: tuple[str, ...] = ()
    permission: str = ""
    own_agent: bool = False
    is_stream: bool = False


def operator(scopes, permission, **more):
    return Row(kind="operator", scopes=tuple(scopes.split(" or ")), permission=permission, **more)


def agents():
    return Row(kind="agents")


def staff():
    return Row(kind="staff")


def anybody():
    return Row(kind="anybody")


VIEW, ADD, CHANGE, DELETE = (f"workspaces.{action}_workspace" for action in ("view", "add", "change", "delete"))
VIEW_EVENTS = "events.view_event"

ROUTES = {
    "GET /": anybody(),
    "GET /login": anybody(),
    "GET /health": anybody(),
    "GET /ready": anybody(),
    "GET /metrics": anybody(),
    "GET /admin/theme.css": anybody(),
    "GET /api/openapi.json": operator("read or operate or admin or watch", ""),
    "GET /api/docs": staff(),
    "GET /events/stream": operator("read", VIEW_EVENTS, is_stream=True),
    "GET /workspaces/{workspace_id}/events/stream": operator("read", VIEW_EVENTS, own_agent=True, is_stream=True),
    "GET /ws": operator("read", VIEW_EVENTS, is_stream=True),
    "GET /events": operator("read", VIEW_EVENTS),
    "GET /events/{workspace_id}": operator("read", VIEW_EVENTS, own_agent=True),
    "GET /workspaces": operator("read", VIEW),
    "POST /workspaces": operator("operate", ADD),
    "POST /workspaces/preflight": operator("operate", ADD),
    "GET /workspaces/{workspace_id}/preflight": operator("read", "workspaces.view_secret"),
    "GET /workspaces/{workspace_id}": operator("read", VIEW, own_agent=True),
    "PATCH /workspaces/{workspace_id}": operator("operate", CHANGE),
    "DELETE /workspaces/{workspace_id}": operator("operate", DELETE),
    "GET /workspaces/{workspace_id}/state": operator("read", VIEW, own_agent=True),
    "GET /workspaces/{workspace_id}/budget": operator("read", VIEW, own_agent=True),
    "PATCH /workspaces/{workspace_id}/budget": operator("operate", CHANGE),
    "GET /workspaces/{workspace_id}/metrics": operator("read", VIEW, own_agent=True),
    "GET /workspaces/{workspace_id}/usage": operator("read", VIEW, own_agent=True),
    "GET /workspaces/{workspace_id}/console": operator("read", VIEW, own_agent=True),
    "GET /workspaces/{workspace_id}/logs": operator("read", VIEW, own_agent=True),
    # Outside of Django's middleware, as the live streams are.
    "GET /workspaces/{workspace_id}/logs?follow=true": operator("read", VIEW, own_agent=True, is_stream=True),
    "POST /workspaces/{workspace_id}/restart": operator("operate", CHANGE),
    "POST /workspaces/{workspace_id}/pause": operator("operate", CHANGE),
    "POST /workspaces/{workspace_id}/resume": operator("operate", CHANGE),
    "POST /workspaces/{workspace_id}/hibernate": operator("operate", CHANGE),
    "POST /workspaces/{workspace_id}/wake": operator("operate", CHANGE),
    "POST /workspaces/{workspace_id}/cancel": operator("operate", CHANGE),
    "GET /workspaces/{workspace_id}/tokens": operator("read", VIEW),
    "POST /workspaces/{workspace_id}/tokens": operator("operate", CHANGE),
    "DELETE /workspaces/{workspace_id}/tokens/{token_id}": operator("operate", CHANGE),
    "GET /workspaces/{workspace_id}/secrets": operator("read", "workspaces.view_secret"),
    "PUT /workspaces/{workspace_id}/secrets": operator("operate", "workspaces.change_secret"),
    "DELETE /workspaces/{workspace_id}/secrets/{name}": operator("operate", "workspaces.delete_secret"),
    "GET /settings/secrets": operator("read", "workspaces.view_secret"),
    "PUT /settings/secrets": operator("admin", "workspaces.change_secret"),
    "DELETE /settings/secrets/{name}": operator("admin", "workspaces.delete_secret"),
    "GET /settings/secret-sets": operator("read", "workspaces.view_secret"),
    "GET /settings/secret-sets/{name}": operator("read", "workspaces.view_secret"),
    "PUT /settings/secret-sets/{name}": operator("admin", "workspaces.change_secret"),
    "DELETE /settings/secret-sets/{name}": operator("admin", "workspaces.delete_secret"),
    "DELETE /settings/secret-sets/{name}/{secret}": operator("admin", "workspaces.delete_secret"),
    "GET /api-keys": operator("admin", "workspaces.view_apikey"),
    "POST /api-keys": operator("admin", "workspaces.add_apikey"),
    "PATCH /api-keys/{key_id}": operator("admin", "workspaces.change_apikey"),
    "DELETE /api-keys/{key_id}": operator("admin", "workspaces.change_apikey"),
    "GET /channels": operator("read", "events.view_channel"),
    "POST /channels": operator("admin", "events.add_channel"),
    "GET /channels/{channel_id}": operator("read", "events.view_channel"),
    "PATCH /channels/{channel_id}": operator("admin", "events.change_channel"),
    "DELETE /channels/{channel_id}": operator("admin", "events.delete_channel"),
    "POST /channels/{channel_id}/test": operator("admin", "events.change_channel"),
    "POST /channels/{channel_id}/pause": operator("admin", "events.change_channel"),
    "POST /channels/{channel_id}/resume": operator("admin", "events.change_channel"),
    "POST /channels/{channel_id}/enable": operator("admin", "events.change_channel"),
    "POST /channels/{channel_id}/redrive": operator("admin", "events.change_channel"),
    "POST /channels/{channel_id}/rotate": operator("admin", "events.change_channel"),
    "GET /launches": operator("read", "workspaces.view_launch"),
    "GET /launches/{launch_id}": operator("read", "workspaces.view_launch"),
    "GET /workspaces/{workspace_id}/launches": operator("read", "workspaces.view_launch", own_agent=True),
    "GET /incidents": operator("read", "workspaces.view_incident"),
    "GET /incidents/{incident_id}": operator("read", "workspaces.view_incident"),
    "POST /incidents/{incident_id}/release": operator("operate", "workspaces.change_incident"),
    "GET /settings/deadlines": operator("read", VIEW),
    "GET /templates": operator("read", VIEW),
    "POST /admin/workspaces/{workspace_id}/bootstrap-failed": operator("watch or operate", CHANGE),
    "POST /registry/register": agents(),
    "POST /registry/heartbeat": agents(),
    "POST /registry/progress": agents(),
    "POST /registry/failed": agents(),
    "POST /registry/update-card": agents(),
    "GET /registry/discover/{workspace_id}": agents(),
    "GET /registry/{workspace_id}/peers": agents(),
    "POST /registry/check-access": agents(),
}

# By the names of their URLs; "" are the redirects from old addresses of objects.
ANY_STAFF = {"", "index", "logout", "password_change", "password_change_done", "jsi18n", "search", "view_on_site"}
OPEN_PAGES = {"login", "logout"}

ALLOWED, SIGN_IN = "allowed", "sign in"
KEYS = {
    "read key": {"read"},
    "operate key": {"read", "operate"},
    "admin key": {"read", "operate", "admin"},
    "watch key": {"watch"},
}
# No call accepts these, and each says the same.
REFUSED_TOKENS = {
    "garbage": "401 unauthorized",
    "garbage in a session": "401 unauthorized",
    "revoked key": "401 unauthorized",
    "revoked agent": "401 unauthorized",
    "superseded agent": "401 superseded",
    "stopped agent": "401 superseded",
    "agent of a removed workspace": "410 removed",
}
REFUSED_KEYS = {"expired key": "401 expired", "key elsewhere": "403 forbidden_address"}
SESSIONS = ("session", "session without CSRF", "session without permission", "session without staff")
CREDENTIALS = ("nothing", *REFUSED_TOKENS, *KEYS, *REFUSED_KEYS, "agent", "another agent", *SESSIONS)


def outcome(row, credential, *, is_change):
    """Return what a credential gets from a route."""
    return _OUTCOMES[row.kind](row, credential, is_change)


def outcome_of_operator(row, credential, is_change):
    if credential in KEYS:
        return ALLOWED if KEYS[credential] & set(row.scopes) else "403 forbidden"
    return {
        **REFUSED_TOKENS,
        **REFUSED_KEYS,
        "nothing": "401 unauthorized",
        "agent": ALLOWED if row.own_agent else "403 forbidden",
        "another agent": "403 forbidden",
        "session": ALLOWED,
        "session without CSRF": "403 csrf" if is_change else ALLOWED,
        "session without permission": "403 forbidden" if row.permission else ALLOWED,
        "session without staff": "403 forbidden",
    }[credential]


def outcome_of_agents(_row, credential, _is_change):
    # Agents' calls know neither keys nor sessions.
    known = {**REFUSED_TOKENS, "agent": ALLOWED, "another agent": "403 forbidden"}
    return known.get(credential, "401 unauthorized")


def outcome_of_staff(_row, credential, _is_change):
    is_staff = credential in SESSIONS and credential != "session without staff"
    return ALLOWED if is_staff or credential == "garbage in a session" else SIGN_IN


_OUTCOMES = {
    "operator": outcome_of_operator,
    "agents": outcome_of_agents,
    "staff": outcome_of_staff,
    "anybody": lambda *_: ALLOWED,
}
