"""What the command does when a server answers badly, late, or not at all."""

import ssl
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from slipway.client import Client
from slipway.commands.logs import follow_log
from slipway.errors import CommandFailed, ExitCode
from slipway.profiles import Server

from events.delivery.channel_operations import all_options
from events.models import Channel
from tests.certificates import self_signed
from tests.events.channels import factories
from tests.serving import serving
from tests.workspaces.factories import online
from workspaces.models import Secret, Workspace


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
    assert client.pages("/workspaces", {"q": "x"}, shape={"id": int}, most=10) == [{"id": 1}, {"id": 2}]
    assert stand_in.asked == [
        "/below/workspaces?q=x&limit=10",
        "/below/workspaces?q=x&limit=9&cursor=a%2Bb",
    ]


def test_a_server_that_asks_to_wait_gets_the_call_again(client, stand_in):
    stand_in.answers = [(429, {"Retry-After": "0"}, b"{}"), (503, {"Retry-After": "0"}, b"{}"), (200, {}, b"[]")]
    assert client.get("/workspaces", shape=list) == []


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
        ([(422, {}, b"[" * 1900)], ExitCode.WRONG_ARGUMENT, "answered 422"),
        ([(200, {}, b"[" * 1900)], ExitCode.UNAVAILABLE, "no JSON"),
        ([(200, {"Content-Encoding": "gzip"}, b"[]")] * 3, ExitCode.UNAVAILABLE, "can't be reached: .*decompress"),
        ([(500, {"Content-Encoding": "gzip"}, b"[]")] * 3, ExitCode.UNAVAILABLE, "can't be reached: .*decompress"),
    ],
)
def test_a_bad_answer_is_a_sentence(client, stand_in, monkeypatch, answers, code, said):
    monkeypatch.setattr("slipway.client._MAX_ANSWER_BYTES", 2000)
    stand_in.answers = list(answers)
    with pytest.raises(CommandFailed, match=said) as failure:
        client.get("/workspaces", shape=list)
    assert failure.value.exit_code == code
    assert stand_in.answers == []


def test_a_followed_log_goes_on_behind_what_was_read_until_it_ends(client, stand_in, monkeypatch, capsys):
    monkeypatch.setattr("slipway.live_stream._FIRST_PAUSE_SECONDS", 0)
    sse = {"Content-Type": "text/event-stream"}
    stand_in.answers = [
        (200, sse, b"id: 8@x\ndata: one\ndata: \x1b[31mtwo\n\n: silence\n\n"),
        (200, sse, b'id: 12@x\ndata: three\n\nevent: end\ndata: {"reason": "Its process \\u001b[1mended."}\n\n'),
    ]
    follow_log(client, "/workspaces/x/logs", {"stream": "agent"})
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("one\ntwo\nthree\n", "Its process ended.\n")
    assert stand_in.last_ids == ["", "8@x"]
    assert stand_in.asked == ["/below/workspaces/x/logs?stream=agent&follow=true"] * 2


def test_a_stream_that_can_t_be_decoded_is_a_sentence(client, stand_in):
    stand_in.answers = [(200, {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"}, b"data: one\n\n")]
    with pytest.raises(CommandFailed, match=r"can't be reached: .*decompress") as failure:
        follow_log(client, "/workspaces/x/logs", {})
    assert failure.value.exit_code == ExitCode.UNAVAILABLE


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", "-q", "\udcff"],
        ["ls", "-q", "x" * 70_000],
        ["get", "\udcff"],
        ["launch", "echo", "--name", "\udcff"],
        ["secret", "rm", "\udcff", "--global", "--yes"],
        ["events", "--follow", "-e", "\udcff"],
        ["logs", "\udcff"],
    ],
)
def test_an_argument_that_can_not_be_sent_is_a_sentence(signed_in, arguments):
    # The shell passes bytes that are no UTF-8 as halves of surrogate pairs.
    ended = signed_in(*arguments)
    assert (ended.code, ended.out, "can't be sent" in ended.err) == (2, "", True)


def test_a_header_that_can_t_be_sent_is_not_shown(stand_in):
    client = Client(Server(url=stand_in.url, key="s3cr3t\n"))
    with pytest.raises(CommandFailed) as failure:
        client.get("/workspaces", shape=list)
    assert str(failure.value) == f"{stand_in.url} can't be reached: LocalProtocolError"
    client.close()


@pytest.fixture
def secured(stand_in, tmp_path, monkeypatch):
    """The server with a certificate of its own, and the file with it. A proxy is set that nothing answers at."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    certificate = self_signed(tmp_path / "certificate.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    stand_in.socket = context.wrap_socket(stand_in.socket, server_side=True)
    return Server(url=stand_in.url.replace("http:", "https:"), key="key"), certificate


def test_a_certificate_of_this_machine_is_trusted_if_its_file_is_named(secured, stand_in, monkeypatch):
    server, certificate = secured
    monkeypatch.setattr("slipway.client._PAUSE_SECONDS", 0)
    stand_in.answers = [(200, {}, b"[]")]
    with closing(Client(server)) as client, pytest.raises(CommandFailed, match="certificate verify failed"):
        client.get("/workspaces", shape=list)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with closing(Client(server)) as client:
        assert client.get("/workspaces", shape=list) == []
    assert stand_in.asked == ["/workspaces"]


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_can_t_be_read_are_a_sentence(tmp_path, monkeypatch, content):
    file = tmp_path / "certificate.pem"
    if content:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    for url in ("https://127.0.0.1:1", "https://slipway.example"):
        with pytest.raises(CommandFailed, match="SSL_CERT_FILE") as failure:
            Client(Server(url=url, key="key"))
        assert failure.value.exit_code == ExitCode.WRONG_ARGUMENT


def test_certificates_are_read_only_for_what_is_encrypted(stand_in, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nothing.pem"))
    stand_in.answers = [(200, {}, b"[]")]
    with closing(Client(Server(url=stand_in.url, key="key"))) as client:
        assert client.get("/workspaces", shape=list) == []


@pytest.fixture
def sent(monkeypatch):
    """The methods of the calls that are no GET, of which the first brings its request and loses its answer."""
    methods, bring = [], httpx.HTTPTransport.handle_request

    def handle_request(transport, request):
        response = bring(transport, request)
        if request.method != "GET":
            methods.append(request.method)
            if len(methods) == 1:
                response.read()
                response.close()
                raise httpx.ReadError("The connection broke.")
        return response

    monkeypatch.setattr("slipway.client._PAUSE_SECONDS", 0)
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle_request)
    return methods


def signing_secrets():
    return [each["secret"] for each in all_options(Channel.objects.get(name="hook"))["signing"]]


REPEATED = {
    "a launch": (["launch", "echo", "-n", "new"], lambda: Workspace.objects.filter(name="new").count() == 1),
    "a verb": (["pause", "nightly"], lambda: Workspace.objects.get().status == "paused"),
    "a removal": (["rm", "nightly", "--yes"], lambda: Workspace.objects.get().status == "removed"),
    "a new channel": (["channel", "add", "log", "new"], lambda: Channel.objects.count() == 2),
    "a rotation": (["channel", "rotate", "hook"], lambda: len(signing_secrets()) == 2),
    "the removal of a channel": (["channel", "rm", "hook", "--yes"], lambda: not Channel.objects.exists()),
    "the deletion of a secret": (["secret", "rm", "API_KEY", "--global", "--yes"], lambda: not Secret.objects.exists()),
}


@pytest.fixture
def stocked(signed_in):
    """The command of an operator who has a workspace, a channel and a secret."""
    online(name="nightly")
    factories.webhook("http://127.0.0.1:1/hook", name="hook")
    signed_in.ok("secret", "set", "API_KEY", "--global", stdin="value")
    return signed_in


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("arguments", "is_done"), REPEATED.values(), ids=REPEATED)
def test_a_call_whose_answer_is_lost_is_repeated_and_done_once(stocked, sent, arguments, is_done):
    stocked.ok(*arguments)
    assert len(sent) == 2
    assert is_done()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "arguments",
    [
        ["channel", "test", "hook"],
        ["channel", "redrive", "hook"],
        ["channel", "set", "hook", "--name", "other"],
        ["secret", "set", "API_KEY", "--global"],
    ],
)
def test_a_call_that_the_server_would_do_twice_is_not_repeated(stocked, sent, arguments):
    ended = stocked(*arguments, stdin="new")
    assert (ended.code, "The connection broke." in ended.err) == (ExitCode.UNAVAILABLE, True)
    assert len(sent) == 1


@pytest.mark.django_db(transaction=True)
def test_a_secret_that_was_never_there_is_not_taken_as_deleted(stocked, sent):
    sent.append("an earlier call")
    assert stocked("secret", "rm", "OTHER", "--global", "--yes").code == ExitCode.NOT_FOUND
