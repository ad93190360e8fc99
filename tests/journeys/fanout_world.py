"""A fan-out that a test may kill piece by piece: its own Postgres and Redis, web, relay, deliver and beat."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psycopg
import pytest
from django.conf import settings

from devserver import children
from devserver.console import Console
from devserver.servers import embedded
from devserver.servers.embedded_postgres import start_postgres
from devserver.servers.embedded_redis import start_redis
from tests.journeys.live_listener import LiveListener
from tests.journeys.stack import is_up
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, wait_until

WORKSPACES = 10

_MAKE_CHANNEL = """
import django, json, sys; django.setup()
from tests.events.channels import factories as channels
channel = channels.webhook(sys.argv[1], **json.loads(sys.argv[2]))
print(channel.pk, channels.signing_secret(channel))
"""
_OPERATE = """
import django, sys; django.setup()
from events.delivery import channel_operations
from postgres.clock import database_now
from events.models import Channel, Delivery
{}
"""


class World:
    """A fan-out with its own servers. Only the test restarts a part of it."""

    def __init__(self, folder, **environment):
        with pytest.MonkeyPatch.context() as patch:
            # These ports are reserved for the test, so they are still free after a crash.
            patch.setattr(embedded, "free_port", free_port)
            self.postgres = start_postgres(folder / "postgres", durable=True)
            self.redis = start_redis(folder / "redis")
        self.port = free_port()
        self._key = ""
        self._producer = None
        names = ("SECRET_KEY", "SECRETS_KEYS", "PATH", "HOME", "LANG")
        self.environment = {
            **{name: os.environ[name] for name in names if name in os.environ},
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "DATA_DIR": str(folder),
            "PYTHONPATH": str(settings.BASE_DIR),
            "DELIVERY_ALLOW_PRIVATE": "127.0.0.0/8",
            "WATCH_INTERVAL_SECONDS": "1",
            **environment,
        }
        self.log = io.StringIO()
        console = Console(self.log)
        parts = [children.web(port=self.port, console=console)]
        parts += [children.relay(console=console), children.deliver(console=console), children.beat(console=console)]
        self.children = {child.name: child for child in parts}
        for child in parts:
            child.environment = {**child.environment, **self.environment}

    def start(self):
        self.run("-m", "django", "migrate", "-v0")
        for child in self.children.values():
            child.spawn()
        wait_until(lambda: is_up(self.port), describe=self.log.getvalue)

    def close(self):
        self._end_producer()
        for child in self.children.values():
            child.kill()
        self.postgres.stop()
        self.redis.stop()

    def run(self, *arguments):
        """Run a program against this world's servers and return what it printed."""
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def channel(self, url, **fields):
        """Empty the log and create the only enabled channel. Return its ID and signing secret."""
        self._empty_log()
        self.query("UPDATE events_channel SET is_enabled = false")
        key, secret = self.run("-c", _MAKE_CHANNEL, url, json.dumps({"timeout_seconds": 2} | fields)).split()
        return int(key), secret

    @contextmanager
    def listening(self):
        """Run a live client during the block."""
        if not self._key:
            made = self.run("-m", "django", "api_key", "create", "listener", "--scope", "read", "--format", "json")
            self._key = json.loads(made)["key"]
        listener = LiveListener(port=self.port, key=self._key, position=self.position())
        listener.start()
        try:
            yield listener
        finally:
            listener.stop()

    def operate(self, code):
        """Run a line against `events.delivery.channel_operations`."""
        self.run("-c", _OPERATE.format(code))

    def producer(self, *, count, seconds, parts=1):
        """Start a process that records this many events over this time. Each part waits for `produce_next_part()`."""
        self._empty_log()
        figures = map(str, (count, WORKSPACES, seconds, parts))
        command = [sys.executable, "-m", "tests.journeys.produce", *figures]
        self._producer = subprocess.Popen(command, env=self.environment, stdin=subprocess.PIPE, bufsize=0)
        if parts == 1:
            self.produce_next_part()
        return self._producer

    def produce_next_part(self):
        """Let the producer begin its next part, at once or when it has ended the one before."""
        self._producer.stdin.write(b"\n")

    def _empty_log(self):
        """End the producer of a failed test and delete all events."""
        self._end_producer()
        self.query("SET slipway.pruning = 'on'; DELETE FROM events_delivery; DELETE FROM events_event")

    def _end_producer(self):
        if self._producer:
            self._producer.kill()
            self._producer.wait(PATIENCE_SECONDS)
            self._producer.stdin.close()

    def query(self, statement):
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def position(self):
        """Return the last position in the log."""
        ((position,),) = self.query("SELECT coalesce(max(last_position), 0) FROM events_positioncounter")
        return int(position)

    def restart(self, name):
        """Kill a child and start it again, as a supervisor does."""
        self.children[name].kill()
        self.children[name].spawn()

    @contextmanager
    def away(self, server, *, seconds):
        """Crash a server during the block. Start it again on its port at the end, after at least this many seconds."""
        assert server.process is not None
        # SIGQUIT makes Postgres stop as if it crashed. SIGKILL would leave children that hold the shared memory.
        server.process.send_signal(signal.SIGQUIT if server is self.postgres else signal.SIGKILL)
        server.process.wait(PATIENCE_SECONDS)
        ends_at = time.monotonic() + seconds
        try:
            yield
            time.sleep(max(0.0, ends_at - time.monotonic()))
        finally:
            server.spawn()

    def pids(self):
        return {name: child.process.pid for name, child in self.children.items() if child.process}

    def await_all(self, receiver, secret, *, count, seconds):
        """Wait until the receiver has accepted this many different events. Return the seconds it took."""

        def taken():
            return len({message["id"] for message in receiver.messages(secret)})

        began = time.monotonic()
        describe = lambda: f"{taken()} of {count}\n{self.log.getvalue()[-4000:]}"  # noqa: E731
        wait_until(lambda: taken() >= count, seconds=seconds, describe=describe)
        return time.monotonic() - began

    def settled(self):
        """Return whether every event has a position and no delivery is waiting or being sent."""
        without_position = "SELECT FROM events_event WHERE position IS NULL"
        unsent = "SELECT FROM events_delivery WHERE state IN ('waiting', 'sending')"
        try:
            return self.query(f"SELECT EXISTS ({without_position}) OR EXISTS ({unsent})") == [(False,)]
        except psycopg.OperationalError:
            # Postgres has just started again.
            return False


def taken_ids(receiver):
    with receiver.lock:
        return {request.headers["webhook-id"] for request in receiver.accepted}


def check(world, receiver, secret, *, count):
    """Check that all messages are signed and each event has its own ID. Return the number of duplicates."""
    messages = receiver.messages(secret)
    numbers = {message["data"]["payload"]["number"] for message in messages}
    assert numbers == set(range(count))
    logged = world.query("SELECT id::text, (payload->>'number')::int FROM events_event WHERE payload ? 'number'")
    assert len(logged) == count
    received = {(message["id"], message["data"]["payload"]["number"]) for message in messages}
    # An event always has the same ID, however often it arrives.
    assert received == set(logged)
    return len(messages) - count


def check_order(receiver, *, seen=lambda request: True):
    """Check that first attempts came in the order of each workspace's events."""
    firsts = {}
    for request in receiver.received:
        if seen(request):
            firsts.setdefault(request.headers["webhook-id"], request)
    versions = {}
    for request in firsts.values():
        data = json.loads(request.body)["data"]
        versions.setdefault(data["workspace_id"], []).append(data["version"])
    assert len(versions) <= WORKSPACES
    for workspace, seen_versions in versions.items():
        assert seen_versions == sorted(seen_versions), workspace
