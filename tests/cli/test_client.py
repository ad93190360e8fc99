"""What the command does when a server answers badly, late, or not at all."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from slipway.client import Client
from slipway.commands.logs import LogStream, follow_log
from slipway.errors import CommandFailed, ExitCode
from slipway.profiles import Server

from tests.cli.conftest import new_key
from tests.serving import serving
from workspaces.models import Workspace


class StandIn(ThreadingHTTPServer):
    """Answers with what the test has prepared, and keeps what was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.last_ids = [], []
        # Each is a status, headers and a body.
        self.answers = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.server.last_ids.append(self.headers.get("Last-Event-ID", ""))
        status, headers, body = self.server.answers.pop(0)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def stand_in():
    with serving(StandIn()) as server:
        yield server


@pytest.fixture
def client(stand_in, monkeypatch):
    monkeypatch.setattr("slipway.client._PAUSE_SECONDS", 0)
    client = Client(Server(url=f"{stand_in.url}/below/", key="key"))
    yield client
    client.close()


def test_pages_are_read_below_the_path_of_the_server(client, stand_in):
    stand_in.answers = [
        (200, {"Link": '<http://elsewhere/workspaces?limit=500&cursor=a%2Bb>; rel="next"'}, b'[{"id": 1}]'),
        (200, {}, b'[{"id": 2}]'),
    ]
    assert client.pages("/workspaces", {"q": "x"}, most=10) == [{"id": 1}, {"id": 2}]
    assert stand_in.asked == [
        "/below/workspaces?q=x&limit=10",
        "/below/workspaces?q=x&limit=9&cursor=a%2Bb",
    ]


def test_a_server_that_asks_to_wait_gets_the_call_again(client, stand_in):
    stand_in.answers = [(429, {"Retry-After": "0"}, b"{}"), (503, {"Retry-After": "0"}, b"{}"), (200, {}, b"[]")]
    assert client.get("/workspaces") == []


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ([(429, {"Retry-After": "0"}, b'{"error": "Slowly."}')] * 3, ExitCode.UNAVAILABLE, "Slowly."),
        ([(429, {"Retry-After": "3600"}, b'{"error": "Later."}')], ExitCode.UNAVAILABLE, "Later."),
        ([(200, {}, b"<html>")], ExitCode.UNAVAILABLE, "no JSON"),
        ([(500, {}, b"<html>")], ExitCode.UNAVAILABLE, "answered 500"),
        ([(302, {"Location": "http://127.0.0.1:1/"}, b"")], ExitCode.UNAVAILABLE, "answered 302"),
        ([(200, {}, b'"' + b"x" * 3000 + b'"')], ExitCode.UNAVAILABLE, "answers with more than"),
        ([(404, {}, b'{"error": ["odd"]}')], ExitCode.NOT_FOUND, "odd"),
        ([(422, {}, b"[" * 500)], ExitCode.WRONG_ARGUMENT, "answered 422"),
    ],
)
def test_a_bad_answer_is_a_sentence(client, stand_in, monkeypatch, answers, code, said):
    monkeypatch.setattr("slipway.client._MAX_ANSWER_BYTES", 2000)
    stand_in.answers = list(answers)
    with pytest.raises(CommandFailed, match=said) as failure:
        client.get("/workspaces")
    assert failure.value.exit_code == code
    assert stand_in.answers == []


def test_a_followed_log_goes_on_behind_what_was_read_until_it_ends(client, stand_in, monkeypatch, capsys):
    monkeypatch.setattr("slipway.live_stream._FIRST_PAUSE_SECONDS", 0)
    sse = {"Content-Type": "text/event-stream"}
    stand_in.answers = [
        (200, sse, b"id: 8@x\ndata: one\ndata: \x1b[31mtwo\n\n: silence\n\n"),
        (200, sse, b'id: 12@x\ndata: three\n\nevent: end\ndata: {"reason": "Its process \\u001b[1mended."}\n\n'),
    ]
    follow_log(client, "/workspaces/x/logs", LogStream.AGENT)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("one\ntwo\nthree\n", "Its process ended.\n")
    assert stand_in.last_ids == ["", "8@x"]
    assert stand_in.asked == ["/below/workspaces/x/logs?stream=agent&follow=true"] * 2


def test_a_header_that_can_t_be_sent_is_not_shown(stand_in):
    client = Client(Server(url=stand_in.url, key="s3cr3t\n"))
    with pytest.raises(CommandFailed) as failure:
        client.get("/workspaces")
    assert str(failure.value) == f"{stand_in.url} can't be reached: LocalProtocolError"
    client.close()


class LosesFirstAnswer(httpx.HTTPTransport):
    """Brings requests to the server, and loses the first answer."""

    lost = False

    def handle_request(self, request):
        response = super().handle_request(request)
        if not self.lost:
            self.lost = True
            response.read()
            response.close()
            raise httpx.ReadError("The connection broke.")
        return response


@pytest.mark.django_db(transaction=True)
def test_a_workspace_is_created_once_although_the_first_answer_is_lost(live_server, monkeypatch):
    monkeypatch.setattr("slipway.client._PAUSE_SECONDS", 0)
    client = Client(Server(url=live_server.url, key=new_key()))
    client._http._transport.close()
    client._http._transport = LosesFirstAnswer()
    try:
        created = client.send("POST", "/workspaces", {"name": "once", "template": "echo"})
    finally:
        client.close()
    assert [str(row.pk) for row in Workspace.objects.all()] == [created["id"]]
    assert json.dumps(created)
