"""What each credential permits, at every call."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from tests.callers import AgentCaller, Caller, holder
from tests.workspaces.factories import booting, config_for
from workspaces.models import ApiKey, ApiScope, Workspace

pytestmark = pytest.mark.django_db

CALLS = {
    "list": ("get", "/workspaces"),
    "get": ("get", "/workspaces/{id}"),
    "templates": ("get", "/templates"),
    "launches": ("get", "/launches"),
    "its launches": ("get", "/workspaces/{id}/launches"),
    "launch": ("get", "/launches/{launch}"),
    "deadlines": ("get", "/settings/deadlines"),
    "incidents": ("get", "/incidents"),
    "channels": ("get", "/channels"),
    "events": ("get", "/events"),
    "its events": ("get", "/events/{id}"),
    "create": ("post", "/workspaces"),
    "restart": ("post", "/workspaces/{id}/restart"),
    "cancel": ("post", "/workspaces/{id}/cancel"),
    "remove": ("delete", "/workspaces/{id}"),
    "bootstrap-failed": ("post", "/admin/workspaces/{id}/bootstrap-failed"),
    "heartbeat": ("post", "/registry/heartbeat"),
}
READS = {call for call, (method, _) in CALLS.items() if method == "get"}
CHANGES = {"create", "restart", "cancel", "remove", "bootstrap-failed"}
ALLOWED = {
    "read key": READS,
    "operate key": READS | CHANGES,
    "admin key": READS | CHANGES,
    "watch key": {"bootstrap-failed"},
    "agent": {"get", "heartbeat"},
    "another agent": set(),
    "superuser": READS | CHANGES,
    "viewer": READS,
    "user who is not staff": set(),
}
# These get 401, because the call accepts no credential of that kind. Others get 403.
UNKNOWN_THERE = {(who, "heartbeat") for who in ALLOWED if "agent" not in who}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("who", ALLOWED)
def test_each_credential_permits_what_it_is_for(who, call):
    target = booting()
    answer = _send(_caller(who, target), call, target)
    if call in ALLOWED[who]:
        assert answer.status_code in {200, 201}
    else:
        assert answer.status_code == (401 if (who, call) in UNKNOWN_THERE else 403)
        assert answer.json()["error"]
        assert Workspace.objects.get(pk=target.pk).version == target.version


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("credential", ["", "no-such-credential", "é" * 5])
def test_unknown_and_missing_credentials_are_refused(credential, call):
    answer = _send(Caller(credential), call, booting())
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")


def test_a_revoked_key_permits_nothing():
    reader = holder(ApiScope.READ)
    ApiKey.objects.update(revoked_at="2026-01-01T00:00Z")
    assert reader.get("/workspaces").status_code == 401


def test_session_needs_the_csrf_token_for_changes():
    target = booting()
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(get_user_model().objects.create_superuser("root"))
    assert browser.get("/workspaces").status_code == 200
    refused = browser.post(f"/workspaces/{target.pk}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf")
    token = _token_of_a_form(browser)
    accepted = browser.post(f"/workspaces/{target.pk}/cancel", headers={"X-CSRFToken": token})
    assert accepted.json()["status"] == "failed"


def _token_of_a_form(browser):
    browser.get("/admin/password_change/")
    return browser.cookies["csrftoken"].value


def _caller(who, target):
    scope, _, kind = who.partition(" ")
    if kind == "key":
        return holder(ApiScope(scope))
    if who == "agent":
        return AgentCaller(target)
    if who == "another agent":
        return AgentCaller(booting(name="another"))
    return _signed_in(who)


def _signed_in(who):
    user = get_user_model().objects.create_user("someone", is_staff=who != "user who is not staff")
    user.is_superuser = who == "superuser"
    user.save()
    viewing = ["view_workspace", "view_event", "view_launch", "view_incident", "view_channel"]
    user.user_permissions.set(Permission.objects.filter(codename__in=viewing))
    caller = Caller()
    caller.client.force_login(user)
    return caller


def _send(caller, call, target):
    method, path = CALLS[call]
    path = path.format(id=target.pk, launch=target.launch_id)
    if method == "post":
        bodies = {
            "create": {"name": "w", "config": config_for("echo")},
            "heartbeat": {"workspace_id": str(target.pk)},
        }
        return caller.post(path, bodies.get(call, {}))
    return getattr(caller, method)(path)
