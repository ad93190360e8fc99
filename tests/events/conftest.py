"""A real ASGI server for the stream, and clients that read it."""

import json
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import Client

from events import outbox, relay
from events.models import Event
from events.names import EventType
from events.outbox import NewEvent
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, wait_until

WORD = {"X-Word": "sesame"}
# Options of a WebSocket's client. Pings would end a connection whose server only has to wait for the processor.
PATIENT = {"open_timeout": PATIENCE_SECONDS, "ping_interval": None}


def online(workspace_id=None, version=1, **more):
    """Return an event to record."""
    return NewEvent(
        event_type=EventType.WORKSPACE_ONLINE, workspace_id=workspace_id or uuid4(), version=version, **more
    )


def record(*events):
    """Record the events in a transaction of their own; return their rows in that order, as a lazy queryset."""
    with transaction.atomic():
        outbox.record(events)
        newest = Event.objects.order_by("-pk").values_list("pk", flat=True)[: len(events)]
        return Event.objects.filter(pk__in=list(newest)).order_by("pk")


def publish(*events):
    """Record the events and give them their positions."""
    rows = record(*events)
    relay.number_all()
    return rows


class SlowProducer(threading.Thread):
    """A producer on its own connection. It records at once and commits on `commit()`."""

    def __init__(self, event):
        super().__init__(daemon=True)
        self.event = event
        self.recorded, self.may_commit = threading.Event(), threading.Event()
        self.id = None

    def run(self):
        try:
            with transaction.atomic():
                outbox.record([self.event])
                self.id = Event.objects.latest("pk").pk
                self.recorded.set()
                assert self.may_commit.wait(PATIENCE_SECONDS)
        finally:
            connection.close()

    def commit(self):
        self.may_commit.set()
        self.join(PATIENCE_SECONDS)


@contextmanager
def producing(event):
    producer = SlowProducer(event)
    producer.start()
    assert producer.recorded.wait(PATIENCE_SECONDS)
    yield producer
    producer.commit()


def signed_in(**attributes):
    """Return the cookie header of a signed-in user with these attributes."""
    user = get_user_model().objects.create_user("someone", **attributes)
    client = Client()
    client.force_login(user)
    return {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}


def own_backends():
    """Return the streams' database connections, without those of the web server's requests."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT application_name, pid FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name LIKE 'slipway-live-%'"
        )
        return dict(cursor.fetchall()), cursor.rowcount


@dataclass
class Server:
    """The stream's own web server, as a child process."""

    port: int
    process: subprocess.Popen
    log: Path
    expected_tracebacks: int = 0
    path: str = "/events/stream"
    # Trusts the server's certificate; None without TLS.
    trust: ssl.SSLContext | None = None

    @property
    def origin(self):
        return f"{'https' if self.trust else 'http'}://127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"{self.origin}{self.path}"

    def answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @contextmanager
    def stream(self, *, headers=WORD, **options):
        """Open a stream and give its messages."""
        options |= {"timeout": PATIENCE_SECONDS, "trust_env": False, "verify": self.trust or True}
        with httpx.stream("GET", self.url, headers=headers, **options) as response:
            assert response.status_code == 200, response.read()
            yield Stream(response)

    def get(self, **options):
        return httpx.get(self.url, timeout=PATIENCE_SECONDS, trust_env=False, verify=self.trust or True, **options)


class Stream:
    """A client's stream as blocks in order."""

    def __init__(self, response):
        self.response = response
        self._lines = response.iter_lines()
        retry, begin, opened = self.block()
        assert (retry, begin[:4], opened) == ("retry: 2000", "id: ", ": stream opened")
        self.begin = int(begin[4:])

    def block(self):
        """Return the lines up to the next empty one."""
        lines = []
        while line := next(self._lines):
            lines.append(line)
        return lines

    def message(self):
        """Return (id, data) of the next event; comments and keep-alives are left out."""
        while (lines := self.block())[0].startswith(":") or '"KEEP_ALIVE"' in lines[0]:
            pass
        assert [line.partition(":")[0] for line in lines] == ["id", "data"]
        return int(lines[0][3:]), json.loads(lines[1][5:])

    def rest(self):
        """Return the lines until the stream ends."""
        return self._lines

    def each_position(self, count):
        for _ in range(count):
            yield self.message()[0]

    def positions(self, count):
        return list(self.each_position(count))


def next_message(client):
    """Return the next message of a WebSocket; keep-alives are left out."""
    while (message := json.loads(client.recv(timeout=PATIENCE_SECONDS)))["event"] == "KEEP_ALIVE":
        pass
    return message


@pytest.fixture
def serve(child_environment, tmp_path):
    """Start servers with the limits that a test needs."""
    servers = []

    def start(application="tests.events.live.stream_application:application", interface="asginl", **environment):
        port = free_port()
        # Without the kill timeout an open stream would keep the server from stopping.
        options = ["--interface", interface, "--http", "1", "--port", str(port), "--workers-kill-timeout", "1"]
        log = tmp_path / f"{port}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "granian", *options, application],
                env={**child_environment, **environment},
                stdout=output,
                stderr=output,
            )
        servers.append(Server(port, process, log))
        wait_until(servers[-1].answers, describe=log.read_text)
        return servers[-1]

    yield start
    try:
        for server in servers:
            server.process.terminate()
        for server in servers:
            server.process.wait(PATIENCE_SECONDS)
    finally:
        for server in servers:
            server.process.kill()
    for server in servers:
        assert server.log.read_text().count("Traceback") == server.expected_tracebacks


@pytest.fixture
def start_relay(child_environment):
    """Start relays as child processes, with their output in pipes."""
    children = []

    def start(*arguments):
        command = [sys.executable, "-m", "django", "relay", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        children.append(subprocess.Popen(command, env=child_environment, **pipes))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate(timeout=PATIENCE_SECONDS)


@pytest.fixture
def server(serve):
    """A server with the usual limits."""
    return serve()
