"""Every route of the running URL conf with every credential, as credential_table.py declares it."""

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import transaction
from django.test import Client

from postgres.clock import database_now
from tests.config.api.credential_table import (
    ALLOWED,
    ANY_STAFF,
    CREDENTIALS,
    OPEN_PAGES,
    REFUSED_TOKENS,
    ROUTES,
    SIGN_IN,
    outcome,
)
from tests.config.api.running_routes import admin_pages, running_routes
from tests.described import DescribedClient
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import booting
from workspaces.access.api_keys import mint_api_key
from workspaces.access.tokens import mint_agent_token
from workspaces.models import AgentToken, ApiKey, Heartbeat, Launch, Secret, Workspace
from workspaces.services.launching.restart import restart
from workspaces.services.stopping.remove import remove

GARBAGE = "slw_" + "x" * 43
CSRF_TOKEN = "c" * 32


@dataclass
class Caller:
    """A client with a credential, and the workspace that it calls about."""

    workspace: Workspace
    bearer: str = ""
    user: object = None
    has_csrf_token: bool = True

    def headers(self):
        headers = {"X-Workspace-ID": str(self.workspace.pk)}
        if self.bearer:
            headers["Authorization"] = f"Bearer {self.bearer}"
        if self.has_csrf_token:
            headers["X-CSRFToken"] = CSRF_TOKEN
        return headers

    def client(self):
        client = DescribedClient(enforce_csrf_checks=True, raise_request_exception=False)
        if self.user:
            client.force_login(self.user)
        if self.has_csrf_token:
            client.cookies["csrftoken"] = CSRF_TOKEN
        return client

    def send(self, route, *, body=None):
        """Send a request. Where an agent has to name its workspace, the body does."""
        method, path = route.split(" ")
        own = str(self.workspace.pk)
        named = {**dict.fromkeys(("id", "workspace_id", "caller_id", "target_id"), own), "url": "http://localhost:9"}
        named |= {"agent_card": {"name": "a"}, "step": "install", "code": "crashed", "error": "It broke."}
        text = json.dumps(named if path.startswith("/registry/") else {}) if body is None else body
        return self.client().generic(
            method, self.path(path), text, content_type="application/json", headers=self.headers()
        )

    def path(self, path):
        # No object has this ID, also not in a new database.
        return re.sub(r"\{\w+\}", "2000000000", path.replace("{workspace_id}", str(self.workspace.pk)))


def agent_callers():
    """Return callers with agents' tokens in each state."""
    callers = {name: Caller(row, mint_agent_token(row)) for name, row in [("agent", booting())]}
    target = callers["agent"].workspace
    callers["another agent"] = Caller(target, mint_agent_token(booting(name="another")))
    for name in ("revoked agent", "superseded agent", "stopped agent", "agent of a removed workspace"):
        workspace = booting(name=name)
        callers[name] = Caller(workspace, mint_agent_token(workspace))
    now = database_now()
    AgentToken.objects.filter(workspace__name="revoked agent").update(revoked_at=now)
    restart(workspace_id=callers["superseded agent"].workspace.pk, now=now)
    Launch.objects.filter(workspace__name="stopped agent").update(torn_down_at=now)
    remove(workspace_id=callers["agent of a removed workspace"].workspace.pk, confirmed=True, now=now)
    return callers


def key_callers(workspace):
    """Return callers with API keys."""
    fields = {
        **{f"{scope} key": {"scopes": [scope]} for scope in ("read", "operate", "admin", "watch")},
        **{name: {"scopes": ["admin", "watch"]} for name in ("revoked key", "expired key", "key elsewhere")},
    }
    fields["key elsewhere"]["networks"] = ["192.0.2.0/24"]
    callers = {name: Caller(workspace, mint_api_key(name=name, **each)[1]) for name, each in fields.items()}
    ApiKey.objects.filter(name="revoked key").update(revoked_at=database_now())
    ApiKey.objects.filter(name="expired key").update(expires_at=database_now())
    return callers


def session_callers(workspace, permission):
    """Return callers with sessions of users who have only this permission, or all but this one."""
    app, _, codename = permission.partition(".")
    this = Permission.objects.filter(content_type__app_label=app, codename=codename)
    create = get_user_model().objects.create_user
    allowed, others, nobody = create("a", is_staff=True), create("o", is_staff=True), create("n")
    allowed.user_permissions.set(this)
    others.user_permissions.set(Permission.objects.exclude(pk__in=this))
    nobody.user_permissions.set(Permission.objects.all())
    return {
        "session": Caller(workspace, user=allowed),
        "session without CSRF": Caller(workspace, user=allowed, has_csrf_token=False),
        "session without permission": Caller(workspace, user=others),
        "session without staff": Caller(workspace, user=nobody),
        "garbage in a session": Caller(workspace, GARBAGE, user=allowed),
    }


def callers_for(permission=""):
    agents = agent_callers()
    target = agents["agent"].workspace
    callers = {
        "nothing": Caller(target),
        "garbage": Caller(target, GARBAGE),
        **agents,
        **key_callers(target),
        **session_callers(target, permission),
    }
    assert callers.keys() == set(CREDENTIALS)
    return callers


def result_of(answer):
    """Return what an answer says of the credential, in the words of the table."""
    if answer.status_code == 302 and answer.headers["Location"].startswith("/admin/login/"):
        return SIGN_IN
    if answer.status_code in {401, 403, 410}:
        assert answer.headers.get("WWW-Authenticate", "").startswith("Bearer") == (answer.status_code == 401)
        return f"{answer.status_code} {answer.json()['code']}"
    # A workspace that is booting can't be reached yet: 503.
    is_answered = (answer.status_code < 500 and answer.status_code not in {405, 429}) or answer.status_code == 503
    return ALLOWED if is_answered else str(answer.status_code)


def everything():
    """Return what no refused request may change."""
    return [
        list(Workspace.objects.order_by("pk").values_list("pk", "version", "name")),
        list(Heartbeat.objects.order_by("pk").values_list("pk", "last_heartbeat_at")),
        list(ApiKey.objects.order_by("pk").values_list("pk", "name", "revoked_at")),
        list(AgentToken.objects.order_by("pk").values_list("pk", "revoked_at")),
        list(Secret.objects.order_by("pk").values_list("pk", "updated_at")),
    ]


@pytest.mark.django_db
def test_every_route_has_a_line_in_the_table_and_every_line_is_a_route():
    running = running_routes()
    assert running - ROUTES.keys() == set(), "Add a line for each to ROUTES in tests/config/api/credential_table.py."
    assert {route.partition("?")[0] for route in ROUTES} - running == set()


@pytest.mark.django_db
@pytest.mark.parametrize("route", [route for route, row in ROUTES.items() if not row.is_stream])
def test_each_credential_gets_what_the_table_says(route):
    row, results, expected = ROUTES[route], {}, {}
    callers, before = callers_for(row.permission), everything()
    for credential, caller in callers.items():
        with transaction.atomic():
            results[credential] = result_of(caller.send(route))
            if results[credential] != ALLOWED:
                assert everything() == before, credential
            transaction.set_rollback(True)
        expected[credential] = outcome(row, credential, is_change=not route.startswith("GET "))
    assert results == expected


@pytest.mark.django_db
@pytest.mark.parametrize("credential", ["nothing", "garbage", "admin key", "session", "session without CSRF"])
def test_a_method_that_an_address_does_not_have_is_answered_405_whoever_asks(credential):
    caller, before, wrong = callers_for()[credential], everything(), {}
    methods_of = defaultdict(set)
    for route in ROUTES:
        method, path = route.partition("?")[0].split(" ")
        methods_of[path].add(method)
    for path, own in methods_of.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "BREW"} - own:
            answer = caller.send(f"{method} {path}")
            # Some have HEAD, too.
            allowed = set(answer.headers.get("Allow", "").split(", ")) - {"HEAD"}
            if (answer.status_code, allowed) != (405, own):
                wrong[method, path] = (answer.status_code, allowed)
    assert wrong == {}
    assert everything() == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_a_running_server_answers_405_before_it_asks_who_it_is(serve_web, interface):
    client = serve_web(interface)
    own = f"/workspaces/{uuid4()}"
    for path in ("/metrics", "/events/stream", f"{own}/events/stream", f"{own}/logs?follow=true"):
        answer = client.post(path)
        assert (answer.status_code, answer.headers["Allow"].split(", ")[0]) == (405, "GET"), path
        assert answer.json()["code"] == "method_not_allowed"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("permission", sorted({row.permission for row in ROUTES.values() if row.is_stream}))
def test_each_credential_gets_what_the_table_says_from_a_live_stream(serve_web, permission):
    streams = {route: row for route, row in ROUTES.items() if row.is_stream and row.permission == permission}
    callers = callers_for(permission)
    base = str(serve_web("asgi").base_url)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    results, expected = {}, {}
    for route, row in streams.items():
        for credential, caller in callers.items():
            cookies = {name: each.value for name, each in caller.client().cookies.items()}
            headers = caller.headers() | (upgrade if route == "GET /ws" else {})
            url = base + caller.path(route.removeprefix("GET "))
            with httpx.stream(
                "GET", url, headers=headers, cookies=cookies, trust_env=False, timeout=PATIENCE_SECONDS
            ) as answer:
                if answer.status_code >= 400:
                    answer.read()
                results[route, credential] = result_of(answer)
            expected[route, credential] = outcome(row, credential, is_change=False)
    assert results == expected


def test_each_section_about_diagnosis_names_the_permissions_of_its_calls():
    permissions = {re.sub(r"\{\w+\}", "{id}", route): row.permission for route, row in ROUTES.items()}
    _, *sections = (settings.BASE_DIR / "docs/reference/diagnosis.md").read_text().split("\n## ")
    for section in sections:
        calls = re.findall(r"`((?:GET|POST) /[^`?]*)`", section)
        assert {permissions[call] for call in calls} == set(re.findall(r"`(workspaces\.\w+)`", section)), section[:20]


@pytest.mark.django_db
def test_agents_get_the_same_refusal_from_every_call_whatever_they_send():
    callers = callers_for()
    routes = [route for route, row in ROUTES.items() if row.kind == "agents"]
    for state in [*REFUSED_TOKENS, "admin key", "expired key", "key elsewhere"]:
        answers = [callers[state].send(route, body=body) for route in routes for body in (None, "{", "[]", "")]
        if "agent" in state:
            answers.append(callers[state].send("GET /workspaces/{workspace_id}"))
        told = {(each.status_code, each.content, each.headers.get("WWW-Authenticate")) for each in answers}
        assert len(told) == 1, (state, told)


@pytest.mark.django_db
def test_agents_calls_say_that_an_api_key_is_none_of_theirs_whether_it_is_valid_or_not():
    callers = callers_for()
    for route in (route for route, row in ROUTES.items() if row.kind == "agents"):
        for key in ("admin key", "read key", "revoked key", "expired key", "key elsewhere"):
            answer = callers[key].send(route)
            sentence = "This is an API key. Only the token of a workspace's agent serves this call."
            assert (answer.status_code, answer.json()["error"]) == (401, sentence), (route, key)


@pytest.mark.django_db
def test_each_page_of_the_admin_is_for_staff_and_those_about_a_model_need_a_permission():
    callers = callers_for()
    staff = Caller(callers["agent"].workspace, user=get_user_model().objects.create_user("s", is_staff=True))
    strangers = ["nothing", "garbage", "agent", "admin key", "session without staff"]
    for path, name in admin_pages():
        told = {each: result_of(callers[each].send(f"GET {path}")) for each in strangers}
        assert told == dict.fromkeys(strangers, ALLOWED if name in OPEN_PAGES else SIGN_IN), path
        if name in ANY_STAFF | OPEN_PAGES:
            continue
        # There is no such object, and its history leads to the overview before anything is checked.
        expected = 302 if name.endswith("_history") else 404 if name == "app_list" else 403
        assert staff.send(f"GET {path}").status_code == expected, path


@pytest.mark.django_db
@pytest.mark.parametrize("credential", [" ", "no-such-credential", "é" * 5, "x" * 8000, "slw_", "slwt_"])
@pytest.mark.parametrize("route", ["GET /workspaces", "POST /registry/heartbeat"])
def test_a_text_that_is_no_credential_is_refused(route, credential):
    assert result_of(Caller(booting(), credential).send(route)) == "401 unauthorized"


@pytest.mark.django_db
def test_a_form_of_the_admin_has_the_csrf_token_that_a_session_needs():
    target = booting()
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(get_user_model().objects.create_superuser("root"))
    assert browser.post(f"/workspaces/{target.pk}/cancel").json()["code"] == "csrf"
    browser.get("/admin/password_change/")
    token = browser.cookies["csrftoken"].value
    accepted = browser.post(f"/workspaces/{target.pk}/cancel", headers={"X-CSRFToken": token})
    assert accepted.json()["status"] == "failed"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_the_networks_of_a_key_are_those_of_the_client_behind_a_trusted_proxy(serve_web, interface):
    _, key = mint_api_key(name="ci", scopes=["read"], networks=["192.0.2.0/24"])
    results = []
    for trusted in ("0", "1"):
        client = serve_web(interface, TRUSTED_PROXIES=trusted)
        for address in ("192.0.2.7", "198.51.100.7"):
            headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": address, "X-Forwarded-Proto": "https"}
            results.append(result_of(client.get("/templates", headers=headers)))
    assert results == ["403 forbidden_address"] * 2 + [ALLOWED, "403 forbidden_address"]
