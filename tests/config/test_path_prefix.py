"""Slipway below a path: the proxy may keep the prefix in the path (PATH_PREFIX) or take it off (X-Forwarded-Prefix)."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth import get_user_model
from websockets.sync.client import connect

from config.entry.proxies import prefix_and_path
from tests.events.conftest import online as online_event
from tests.events.conftest import publish
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import online
from workspaces.access.api_keys import mint_api_key

pytestmark = pytest.mark.django_db(transaction=True)
MEBIBYTE = 1_048_576
INTERFACES = ["asgi", "wsgi"]
OUTSIDE = "https://agents.example/slipway"
PREFIX = "/slipway"


class Browser:
    """What a browser sends to `/slipway/…` at the proxy, as it arrives behind the proxy."""

    def __init__(self, client, *, is_kept):
        self.client, self.is_kept = client, is_kept
        self.headers = {} if is_kept else {"X-Forwarded-Prefix": PREFIX}

    def behind(self, path):
        assert path.startswith(f"{PREFIX}/"), path
        return path if self.is_kept else path.removeprefix(PREFIX)

    def request(self, method, path, *, headers=None, **options):
        return self.client.request(method, self.behind(path), headers={**self.headers, **(headers or {})}, **options)


@pytest.fixture(params=["kept", "taken off"])
def browse(request, serve_web):
    """Start a server of this interface; return a Browser."""
    is_kept = request.param == "kept"

    def start(interface):
        # PATH_PREFIX is the path of PLATFORM_URL, unless it is set.
        variables = {"PLATFORM_URL": OUTSIDE} if is_kept else {"PATH_PREFIX": "/", "TRUSTED_PROXIES": "127.0.0.1"}
        return Browser(serve_web(interface, HTTPS="false", **variables), is_kept=is_kept)

    return start


def addresses_in(page):
    """Return every address in a page that leads to this server."""
    found = re.findall(r'(?:href|src|action|data-stream|data-worker)="(/[^"]*)"', page)
    assert len(found) > 10
    return found


@pytest.mark.parametrize("interface", INTERFACES)
def test_the_admin_leads_nowhere_outside_its_prefix(browse, interface):
    get_user_model().objects.create_superuser("ann", password="right")
    browser = browse(interface)
    away = browser.request("GET", "/slipway/admin/")
    assert away.headers["Location"] == "/slipway/admin/login/?next=/slipway/admin/"
    page = browser.request("GET", "/slipway/admin/login/?next=/slipway/admin/")
    form = {"username": "ann", "password": "right", "next": "/slipway/admin/"}
    form["csrfmiddlewaretoken"] = browser.client.cookies["csrftoken"]
    cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.client.cookies.items())}
    signed_in = browser.request("POST", "/slipway/admin/login/", data=form, headers=cookies)
    assert (signed_in.status_code, signed_in.headers["Location"]) == (302, "/slipway/admin/")
    cookies["Cookie"] = "; ".join(each.partition(";")[0] for each in signed_in.headers.get_list("Set-Cookie"))
    pages = [page.text]
    for path in ("/slipway/admin/", "/slipway/admin/workspaces/workspace/"):
        shown = browser.request("GET", path, headers=cookies)
        assert shown.status_code == 200
        pages.append(shown.text)
    assert 'data-stream="/slipway/events/stream"' in pages[-1]
    paths = browser.request("GET", "/slipway/api/openapi.json", headers=cookies).json()["paths"]
    assert {path.startswith(f"{PREFIX}/") for path in paths} == {True}
    for address in {address for each in pages for address in addresses_in(each)}:
        assert address.startswith(f"{PREFIX}/"), address
        if "/static/" in address:
            assert browser.request("GET", address).status_code == 200, address


@pytest.mark.parametrize("interface", INTERFACES)
def test_the_api_leads_nowhere_outside_its_prefix(browse, interface):
    _, key = mint_api_key(name="script", scopes=["operate"])
    browser, headers = browse(interface), {"Authorization": f"Bearer {key}"}
    made = [
        browser.request("POST", "/slipway/workspaces", json={"name": name, "external": True}, headers=headers).json()
        for name in ("one", "two")
    ]
    if browser.is_kept:
        assert made[0]["connection"]["registry_endpoint"] == f"{OUTSIDE}/registry/register"
        assert made[0]["connection"]["heartbeat_endpoint"] == f"{OUTSIDE}/registry/heartbeat"
    listed = browser.request("GET", "/slipway/workspaces?limit=1", headers=headers)
    following = re.fullmatch(r'<(/slipway/workspaces\?.*)>; rel="next"', listed.headers["Link"])[1]
    assert browser.request("GET", following, headers=headers).json()[0]["name"] in {"one", "two"}
    agent = {"Authorization": f"Bearer {made[0]['connection']['auth_token']}"}
    beat = {"workspace_id": made[0]["id"]}
    assert browser.request("POST", "/slipway/registry/heartbeat", json=beat, headers=agent).status_code == 200
    assert browser.request("GET", "/slipway/api/docs").headers["Location"].startswith("/slipway/admin/login/?next=")


@pytest.mark.parametrize("interface", INTERFACES)
def test_the_limits_of_a_path_hold_below_a_prefix(browse, interface):
    browser = browse(interface)
    limits = {"/slipway/workspaces": 1, "/slipway/registry/failed": 8, "/slipway/admin/workspaces/workspace/": 9}
    for path, mebibytes in limits.items():
        assert browser.request("POST", path, content=b"x" * (mebibytes * MEBIBYTE + 1)).status_code == 413, path
        under = browser.request("POST", path, content=b"x" * (mebibytes * MEBIBYTE * 9 // 10))
        assert under.status_code not in {413, 500}, path

    def guess(number):
        headers = {"Authorization": f"Bearer {number}"}
        return browser.request("GET", "/slipway/workspaces", headers=headers).status_code

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(guess, range(100))) <= {401, 429}
    assert browser.request("POST", "/slipway/admin/login/").status_code == 429


def test_streams_are_served_below_a_prefix(browse):
    _, key = mint_api_key(name="console", scopes=["read"])
    browser = browse("asgi")
    headers = {**browser.headers, "Authorization": f"Bearer {key}"}
    publish(online_event())
    for path in ("/slipway/events/stream?after=0",):
        with browser.client.stream("GET", browser.behind(path), headers=headers) as stream:
            assert stream.status_code == 200
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            assert "data: " in next(line for line in stream.iter_lines() if line.startswith("data: "))
    log = f"/slipway/workspaces/{online().pk}/logs?follow=true"
    with browser.client.stream(
        "GET", browser.behind(log), headers={**headers, "Accept": "text/event-stream"}
    ) as stream:
        assert stream.status_code == 200
        assert stream.headers["Content-Type"].startswith("text/event-stream")
    assert browser.request("GET", "/slipway/workspaces/x/events/stream").status_code == 404
    address = str(browser.client.base_url).replace("http", "ws").rstrip("/") + browser.behind("/slipway/ws?after=0")
    with connect(address, additional_headers=headers, proxy=None, open_timeout=PATIENCE_SECONDS) as client:
        messages = map(json.loads, client)
        assert next(each for each in messages if each["event"] != "KEEP_ALIVE")["position"] == 1


@pytest.mark.parametrize("interface", INTERFACES)
def test_only_a_trusted_proxy_says_the_prefix(serve_web, interface):
    client = serve_web(interface, TRUSTED_PROXIES="10.0.0.0/8", HTTPS="false")
    away = client.get("/admin/", headers={"X-Forwarded-Prefix": PREFIX})
    assert away.headers["Location"] == "/admin/login/?next=/admin/"


@pytest.mark.parametrize("interface", INTERFACES)
def test_agents_and_probes_may_use_http_below_a_prefix_and_past_the_proxy(serve_web, interface):
    client = serve_web(interface, PATH_PREFIX=PREFIX, HTTPS="true")
    for path in ("/slipway/health", "/health"):
        assert client.get(path).status_code == 200
    assert client.post("/slipway/registry/heartbeat").status_code == 401
    assert client.get("/slipway/workspaces").headers["Location"].endswith("/slipway/workspaces")


@pytest.mark.parametrize(
    ("path", "forwarded", "setting", "server", "expected"),
    [
        ("/x", "", "", "", ("", "/x")),
        ("/a/x", "", "/a", "", ("/a", "/x")),
        ("/x", "", "/a", "", ("/a", "/x")),
        ("/a", "", "/a", "", ("/a", "/")),
        ("/ab/x", "", "/a", "", ("/a", "/ab/x")),
        ("/x", "/b/", "/a", "/c", ("/b", "/x")),
        ("/b/x", "/b", "/a", "", ("/b", "/x")),
        ("/c/x", "", "", "/c", ("/c", "/x")),
        # None of these is a prefix.
        ("/x", "//evil.example", "", "", ("", "/x")),
        ("/x", "https://evil.example", "", "", ("", "/x")),
        ("/x", "/..", "", "", ("", "/x")),
        ("/x", "/a\r\nSet-Cookie: a=b", "", "", ("", "/x")),
        ("/x", "/a" * 200, "", "", ("", "/x")),
        ("/x", "/a, /b", "", "", ("", "/x")),
        ("", "", "", "", ("", "/")),
    ],
)
def test_a_prefix_and_the_path_behind_it(settings, path, forwarded, setting, server, expected):
    settings.PATH_PREFIX = setting
    assert prefix_and_path(path, forwarded_prefix=forwarded, server_prefix=server) == expected
