"""Compare the latency of live streams, from commit to socket, with a bare program and a minimal Django stream."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import psycopg

from bench.fanout.bare_stream import CHANNEL
from bench.harness import Better, Meter, Ratio
from bench.servers import start_servers

ROUNDS = 5
SECONDS = 4.0
# Sends per second in all: 200 clients get 100 events a second each, 1,000 clients get 20.
SENDS = 20_000
PATH = "/events/stream"
KIBIBYTES_EACH = 60
_WARM_UP = 0.2

# The same rows and the same NOTIFY as outbox.record.
_RECORD = """
WITH recorded AS (
    INSERT INTO events_event (event_type, workspace_id, version, is_move, payload, subject)
    VALUES ('WORKSPACE_ONLINE', %(workspace)s, 1, false, %(payload)s, '{"name": "bench", "runtime": "echo"}')
) SELECT pg_notify('slipway_event_recorded', '')
"""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds from the start of the commit to a socket, and KiB of server memory per client."""

    p50: float
    p99: float
    kibibytes: float


@dataclass(frozen=True, kw_only=True)
class Server:
    """A streaming program: its command, how to publish an event to it, and the credential of its clients."""

    command: list[str]
    publish: Callable[["psycopg.Connection[Any]"], None]
    authorization: str = ""


def measure(meter: Meter) -> Iterator[Ratio]:
    """Yield the ratios of the live streams."""
    start_servers()
    with _relay():
        yield from _against_bare()
        yield from _against_minimal(200)
        yield from _against_minimal(1000)


def _against_bare() -> Iterator[Ratio]:
    rounds = _measure_rounds(_bare(), clients=200)
    yield _ratio("commit to 200 sockets, p50 : bare program", rounds, goal=3, of=lambda latency: latency.p50)
    yield _ratio("commit to 200 sockets, p99 : bare program", rounds, goal=6, of=lambda latency: latency.p99)


def _against_minimal(clients: int) -> Iterator[Ratio]:
    rounds = _measure_rounds(_minimal(), clients=clients)
    name = f"{clients} clients, p99 : minimal Django stream"
    yield _ratio(name, rounds, goal=2, of=lambda latency: latency.p99)
    each = median(ours.kibibytes for _, ours in rounds)
    figures = {"ours": round(each, 1), "limit": KIBIBYTES_EACH, "unit": "KiB", "rounds": len(rounds)}
    name = f"{clients} clients, memory of each : {KIBIBYTES_EACH} KiB"
    yield Ratio(name=name, ratio=round(each / KIBIBYTES_EACH, 3), goal=1, better=Better.LOWER, figures=figures)


def _measure_rounds(limit: Server, *, clients: int) -> list[tuple[Latency, Latency]]:
    """Measure the baseline and Slipway alternately. The first round only warms up and is dropped."""
    ours = _ours()
    return [(_latency(limit, clients=clients), _latency(ours, clients=clients)) for _ in range(ROUNDS + 1)][1:]


def _ratio(name: str, rounds: list[tuple[Latency, Latency]], *, goal: float, of: Callable[[Latency], float]) -> Ratio:
    limits, ours = [of(limit) for limit, _ in rounds], [of(own) for _, own in rounds]
    ratio = median(own / limit for own, limit in zip(ours, limits, strict=True))
    figures = {
        "ours": round(median(ours), 2),
        "limit": round(median(limits), 2),
        "ours_range": [min(ours), max(ours)],
        "limit_range": [min(limits), max(limits)],
        "unit": "ms",
        "rounds": len(rounds),
    }
    return Ratio(name=name, ratio=round(ratio, 3), goal=goal, better=Better.LOWER, figures=figures)


# --- One round ------------------------------------------------------------------------------------


def _latency(server: Server, *, clients: int) -> Latency:
    from devserver.servers.embedded import free_port

    rate = SENDS / clients
    events = int(rate * SECONDS)
    port = free_port()
    # Discard what a server logs when it is stopped in the middle of its work.
    with _running([*server.command, str(port)], stderr=subprocess.DEVNULL) as process:
        _wait_for(port)
        with _clients(server, port, clients=1, events=0):
            # Open one client first: its imports and connections don't count as memory per client.
            before = _resident_kibibytes(process.pid)
            with _clients(server, port, clients=clients, events=events) as reading:
                each = (_resident_kibibytes(process.pid) - before) / clients
                _publish_at(rate, events, server.publish)
                answer = json.loads(reading.communicate(timeout=60)[0])
    if not answer["complete"]:
        raise RuntimeError(f"{clients} clients did not all receive {events} events each.")
    latencies = sorted(answer["milliseconds"][int(len(answer["milliseconds"]) * _WARM_UP) :])
    return Latency(p50=latencies[len(latencies) // 2], p99=latencies[int(len(latencies) * 0.99)], kibibytes=each)


def _publish_at(rate: float, events: int, publish: Callable[["psycopg.Connection[Any]"], None]) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        due = time.monotonic()
        for _ in range(events):
            publish(connection)
            due += 1 / rate
            time.sleep(max(0.0, due - time.monotonic()))


@contextmanager
def _clients(server: Server, port: int, *, clients: int, events: int) -> Iterator["subprocess.Popen[str]"]:
    numbers = [str(port), PATH, str(clients), str(events), "60"]
    command = [sys.executable, "-m", "bench.fanout.stream_clients", *numbers]
    with _running([*command, *filter(None, [server.authorization])], stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError("The clients could not open their streams.")
        yield process


def _resident_kibibytes(pid: int) -> int:
    """Return the resident memory of a process and its children, in KiB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    statuses = [Path(f"/proc/{each}/status").read_text() for each in (pid, *children)]
    return sum(int(status.partition("VmRSS:")[2].split()[0]) for status in statuses)


# --- Servers ---------------------------------------------------------------------------------


def _bare() -> Server:
    return Server(command=[sys.executable, "-m", "bench.fanout.bare_stream"], publish=_publish_bytes)


def _minimal() -> Server:
    return Server(command=_granian("bench.fanout.minimal_stream:application"), publish=_publish_bytes)


def _ours() -> Server:
    from workspaces.access.api_keys import mint_api_key

    _, key = mint_api_key(name="bench", scopes=["read"])
    return Server(command=_granian("config.asgi:application"), publish=_publish_event, authorization=f"Bearer {key}")


def _granian(application: str) -> list[str]:
    options = ["--interface", "asginl", "--http", "1", "--backlog", "4096", "--backpressure", "4096"]
    options += ["--workers-kill-timeout", "1", "--log-level", "error", "--no-access-log"]
    return [sys.executable, "-m", "granian", *options, application, "--port"]


def _payload() -> str:
    card = {"name": "bench", "version": "1", "skills": ["a", "b", "c"] * 10}
    payload = {"url": "http://127.0.0.1:4000", "agent_card": card, "version": 1, "sent": str(time.monotonic_ns())}
    return json.dumps(payload, separators=(",", ":"))


def _publish_event(connection: "psycopg.Connection[Any]") -> None:
    connection.execute(_RECORD, {"workspace": UUID(int=1), "payload": _payload()})


def _publish_bytes(connection: "psycopg.Connection[Any]") -> None:
    # The same bytes as Slipway sends: the same event in the same envelope.
    envelope = (
        f'{{"event":"WORKSPACE_ONLINE","workspace_id":"{UUID(int=1)}","timestamp":"2026-01-01T00:00:00.000000Z",'
        f'"payload":{_payload()},"position":1,"version":1}}'
    )
    connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"id: 1\ndata: {envelope}\n\n"])


# --- Processes -----------------------------------------------------------------------------------


@contextmanager
def _running(command: list[str], **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    process: subprocess.Popen[Any] = subprocess.Popen(command, **options)
    with ExitStack() as stack:
        stack.callback(process.wait)
        stack.callback(process.terminate)
        yield process


@contextmanager
def _relay() -> Iterator[None]:
    with _running([sys.executable, "manage.py", "relay"], stdout=subprocess.DEVNULL):
        yield


def _wait_for(port: int) -> None:
    from workspaces.provisioners.host_processes import wait_until

    if not wait_until(lambda: _listens(port), seconds=60):
        raise RuntimeError(f"Nothing listens on port {port}.")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
