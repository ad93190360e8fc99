"""Each command says so if a server answers with something else than a Slipway server."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from slipway.app import app
from slipway.client import trusted_certificates
from slipway.errors import ExitCode
from typer.main import get_command

from config.api.openapi_examples import ANSWERS
from tests.cli.test_terminal import commands
from tests.serving import serving

JSON = "application/json"
SSE = "text/event-stream"
ODD = {
    "null": (200, JSON, b"null"),
    "no content": (204, JSON, b""),
    "a list of null": (200, JSON, b"[null]"),
    "a list of an empty object": (200, JSON, b"[{}]"),
    "an empty object": (200, JSON, b"{}"),
    "a number": (200, JSON, b"5"),
    "half of a deep list": (200, JSON, b"[" * 100_000),
    "a deep list": (200, JSON, b"[" * 100_000 + b"]" * 100_000),
    "a page": (200, "text/html", b"<html>"),
    "an event that is null": (200, SSE, b"data: null\n\n"),
    "an event that is empty": (200, SSE, b"data: {}\n\n"),
    "an event that ends": (200, SSE, b"event: end\ndata: {}\n\n"),
    "a wrong coding": (200, f"{JSON}\r\nContent-Encoding: gzip", b"[]"),
    "an odd link": (200, f'{JSON}\r\nLink: <http://[::1>; rel="next"', b"[]"),
    "an odd pause": (503, f"{JSON}\r\nRetry-After: \xb2", b"{}"),
}
WORKSPACE, CHANNEL = ANSWERS["get_workspace"], ANSWERS["get_channel"]
# By the command: its arguments, and the answer to its last call.
CALLS = {
    "login": (["URL"], "list_workspaces"),
    "ls": ([], "list_workspaces"),
    "get": ([WORKSPACE["id"]], "get_workspace"),
    "templates": ([], "list_templates"),
    "launch": (["echo"], "create_workspace"),
    "create": (["--external"], "create_workspace"),
    "restart": (["nightly"], "restart_workspace"),
    "pause": (["nightly"], "pause_workspace"),
    "resume": (["nightly"], "resume_workspace"),
    "hibernate": (["nightly"], "hibernate_workspace"),
    "wake": (["nightly"], "wake_workspace"),
    "cancel": (["nightly"], "cancel_workspace"),
    "rm": (["nightly", "--yes"], "remove_workspace"),
    "logs": (["nightly", "--follow"], None),
    "events": ([], "list_events"),
    "preflight": (["-"], "preflight_request"),
    "secret ls": (["--global"], "list_global_secrets"),
    "secret sets": ([], "list_secret_sets"),
    "secret set": (["KEY", "--global"], "set_global_secrets"),
    "secret rm": (["KEY", "--global", "--yes"], "delete_global_secret"),
    "secret rm-set": (["search", "--yes"], "delete_secret_set"),
    "channel ls": ([], "list_channels"),
    "channel get": (["on-call"], "list_channels"),
    "channel add": (["log", "on-call"], "add_channel"),
    "channel set": (["on-call", "--name", "other"], "change_channel"),
    "channel rm": (["on-call", "--yes"], "remove_channel"),
    "channel test": (["on-call"], "test_channel"),
    "channel pause": (["on-call"], "pause_channel"),
    "channel resume": (["on-call"], "resume_channel"),
    "channel enable": (["on-call"], "enable_channel"),
    "channel redrive": (["on-call"], "redrive_channel"),
    "channel rotate": (["on-call"], "rotate_channel"),
}
LOOKUPS = {"/workspaces": ANSWERS["list_workspaces"], "/channels": ANSWERS["list_channels"]}
# Besides those: `top` is in test_top, and these call no server.
WITHOUT_CALLS = {"top", "logout", "profile ls", "profile use"}


class OddServer(ThreadingHTTPServer):
    """Answers each call alike, but those that have an answer in `lookups`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.lookups = ODD["null"], {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        looked_up = self.server.lookups.get(path) if self.command == "GET" else None
        status, kind, body = self.server.answer if looked_up is None else (200, JSON, json.dumps(looked_up).encode())
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 (as the standard library wants it)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def odd(cli, monkeypatch):
    """The command with the key of an odd server."""
    for name in ("client._PAUSE_SECONDS", "live_stream._FIRST_PAUSE_SECONDS"):
        monkeypatch.setattr(f"slipway.{name}", 0)
    # Reading the certificates of authorities takes longer than anything else, and no server here has one.
    certificates = trusted_certificates(is_needed=False)
    monkeypatch.setattr("slipway.client.trusted_certificates", lambda **_: certificates)
    with serving(OddServer()) as server:
        monkeypatch.setenv("SLIPWAY_URL", server.url)
        monkeypatch.setenv("SLIPWAY_KEY", "key")
        cli.server = server
        yield cli


def run(cli, command, *more):
    arguments = [cli.server.url if each == "URL" else each for each in CALLS[command][0]]
    # A key, a secret, or a config.yaml.
    return cli(*command.split(), *arguments, *more, stdin="name")


def endless(name):
    """Return the commands that an answer keeps going: any line may be one of a log."""
    return {"logs"} if name in ("an event that is null", "an event that is empty") else set()


def test_each_command_that_calls_a_server_is_here():
    assert CALLS.keys() | WITHOUT_CALLS == {name for name, _ in commands(get_command(app))}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_a_sentence_of_each_command(odd, name):
    odd.server.answer = ODD[name]
    for command in CALLS.keys() - endless(name):
        ended = run(odd, command)
        is_empty = name == "an odd link" and ended.code == ExitCode.DONE
        assert ended.code == ExitCode.UNAVAILABLE or is_empty, (command, ended)
        assert ended.err.count("\n") == (not is_empty), (command, ended)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_after_a_good_one_is_a_sentence_of_each_command(odd, name):
    odd.server.answer, odd.server.lookups = ODD[name], LOOKUPS
    for command in CALLS.keys() - endless(name):
        is_looked_up = CALLS[command][1] in ("list_workspaces", "list_channels")
        ended = run(odd, command)
        is_empty = name == "an odd link" and CALLS[command][1] is not None and CALLS[command][1].startswith("list_")
        assert ended.code == ExitCode.UNAVAILABLE or is_looked_up or is_empty, (command, ended)
        assert ended.code != ExitCode.BROKEN, (command, ended)


def test_an_odd_event_is_a_sentence(odd):
    odd.server.lookups = LOOKUPS
    for name in ("an event that is null", "an event that is empty"):
        odd.server.answer = ODD[name]
        ended = odd("events", "--follow")
        assert (ended.code, "Is this the address of a Slipway server?" in ended.err) == (ExitCode.UNAVAILABLE, True)


def broken(value):
    """Yield a JSON value with one thing wrong in it, anywhere but in texts."""
    if isinstance(value, list) and value:
        yield from ([each] for each in broken(value[-1]))
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {name: kept for name, kept in value.items() if name != key}
            yield from ({**value, key: each} for each in (None, 5, [None], *broken(inner)))


@pytest.mark.parametrize("command", {answer: command for command, (_, answer) in CALLS.items() if answer}.values())
def test_an_answer_that_is_wrong_in_one_place_is_shown_or_is_a_sentence(odd, command):
    answer = ANSWERS[CALLS[command][1]]
    path = {"list_workspaces": "/workspaces", "list_channels": "/channels"}.get(CALLS[command][1])
    codes = set()
    for each in broken(answer):
        odd.server.answer = (200, JSON, json.dumps(each).encode())
        odd.server.lookups = LOOKUPS | ({path: each} if path else {})
        ended = run(odd, command)
        codes.add(ended.code)
        assert ended.code != ExitCode.BROKEN, (command, each, ended)
    assert ExitCode.UNAVAILABLE in codes
    assert codes <= {ExitCode.DONE, ExitCode.FAILED, ExitCode.NOT_FOUND, ExitCode.UNAVAILABLE}
