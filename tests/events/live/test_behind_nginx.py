"""The live streams behind Debian's nginx, configured as docs/how-to/deploy.md shows."""

import json
import ssl
import subprocess
from uuid import uuid4

import httpx
import pytest
from django.conf import settings
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.certificates import self_signed
from tests.events.conftest import PATIENT, WORD, Server, next_message, online, own_backends, publish
from tests.left_out import NGINX
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.nginx]

# Like a distribution's nginx.conf, with its files in the test's folder.
_AROUND = """
daemon off; worker_processes 1; pid nginx.pid; error_log stderr;
# If root runs the tests, only root can read its folders. For anybody else nginx warns about this line.
user root;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {documented}
}}
"""


def _documented(replacements):
    """Return the page's configuration with its ports and files replaced."""
    page = (settings.BASE_DIR / "docs/how-to/deploy.md").read_text()
    text = page.partition("```nginx\n")[2].partition("```")[0]
    for shown, ours in replacements.items():
        assert text.count(shown) == 1, shown
        text = text.replace(shown, ours)
    return text


@pytest.fixture
def proxied(serve, tmp_path):
    """An nginx over TLS, with the pages' WSGI server and the streams' ASGI server behind it."""
    certificate, port = self_signed(tmp_path / "certificate.pem"), free_port()
    pages = serve("config.wsgi:application", interface="wsgi")
    registry = serve("config.wsgi:application", interface="wsgi")
    streams = serve(KEEP_ALIVE_SECONDS="0.4")
    replacements = {
        "127.0.0.1:8000": f"127.0.0.1:{pages.port}",
        "127.0.0.1:8001": f"127.0.0.1:{streams.port}",
        "127.0.0.1:8002": f"127.0.0.1:{registry.port}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/slipway.pem": str(certificate),
        "/etc/ssl/slipway.key": str(certificate),
    }
    configuration, log = tmp_path / "nginx.conf", tmp_path / "nginx.log"
    configuration.write_text(_AROUND.format(documented=_documented(replacements)))
    command = [NGINX, "-e", "stderr", "-p", str(tmp_path), "-c", str(configuration)]
    with log.open("wb") as output, subprocess.Popen(command, stderr=output) as nginx:
        server = Server(port, nginx, log, trust=ssl.create_default_context(cafile=certificate))
        wait_until(server.answers, describe=log.read_text)
        yield server
        nginx.terminate()


@pytest.fixture
def browser(proxied):
    options = {"verify": proxied.trust, "trust_env": False, "timeout": PATIENCE_SECONDS}
    with httpx.Client(base_url=proxied.origin, **options) as client:
        yield client


def test_pages_and_streams_each_reach_their_own_server(browser):
    assert browser.get("/health").json() == {"status": "ok"}
    assert browser.post("/registry/heartbeat").status_code == 401
    # The pages' server would answer 501.
    for path in ("/events/stream", f"/workspaces/{uuid4()}/events/stream"):
        assert browser.get(path).status_code == 401


def test_slipway_and_not_nginx_answers_a_body_that_is_too_large(browser):
    answer = browser.post("/workspaces", content=b"{" + b" " * 7_500_000 + b"}", headers=WORD)
    assert answer.headers["Content-Type"].startswith("application/json"), answer.text[:500]


def test_events_arrive_at_once_and_not_when_the_response_ends(proxied):
    with proxied.stream() as stream:
        # Each arrives before the next one exists, while the stream stays open.
        for position in range(1, 4):
            publish(online())
            assert stream.message()[0] == position


def test_a_silent_stream_is_kept_alive_behind_nginx(proxied):
    with proxied.stream() as stream:
        for _ in range(3):
            assert stream.block() == [": keep-alive", "id: 0"]
            assert '"KEEP_ALIVE"' in stream.block()[0]


def test_a_client_resumes_behind_nginx(proxied):
    publish(*[online() for _ in range(700)])
    with proxied.stream(headers={**WORD, "Last-Event-ID": "10"}) as stream:
        assert stream.positions(690) == list(range(11, 701))


def test_a_disconnect_is_noticed_behind_nginx(proxied):
    with proxied.stream() as stream:
        publish(online())
        assert stream.message()[0] == 1
        wait_until(lambda: own_backends()[1] == 2)
    wait_until(lambda: own_backends()[1] == 0)


def test_a_websocket_opens_behind_nginx_from_our_own_page_only(proxied):
    address = f"wss://127.0.0.1:{proxied.port}/ws"
    options = {"additional_headers": WORD, "ssl": proxied.trust, "proxy": None, **PATIENT}
    with pytest.raises(InvalidStatus, match="403"), connect(address, origin="https://evil.example", **options):
        pass
    with connect(address, origin=proxied.origin, **options) as client:
        publish(online())
        assert next_message(client)["position"] == 1
        kept_alive = json.loads(client.recv(timeout=PATIENCE_SECONDS))
        assert (kept_alive["event"], kept_alive["position"], kept_alive["payload"]) == ("KEEP_ALIVE", 1, {})
