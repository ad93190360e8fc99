"""Compare relay, claims and webhooks with minimal programs that do the same work."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from bench.harness import Meter, Ratio
from bench.servers import start_servers

BATCH = 100
EVENTS = 3_000
TASKS = 500
WEBHOOKS = 600
CONCURRENCY = 4
PAYLOAD = '{"url": "http://127.0.0.1:4000", "agent_card": {"name": "bench", "version": "1"}, "version": 1}'
SUBJECT = '{"name": "bench", "runtime": "echo", "ancestors": []}'


def measure(meter: Meter) -> Iterator[Ratio]:
    """Yield the ratios of the relay and of delivery."""
    start_servers()
    yield _relay(meter)
    yield _relay_with_channel(meter)
    yield _relay_against_tasks(meter)
    yield _claims(meter)
    yield _webhooks(meter)


# --- The relay -----------------------------------------------------------------------------------


def _relay(meter: Meter) -> Ratio:
    _truncate()
    name = "relay, no channel : inserts of the same rows, batches of 100"
    return meter.compare(name, limit=_insert_rate, ours=_relay_rate, goal=0.4, unit="events per second")


def _relay_with_channel(meter: Meter) -> Ratio:
    _truncate()
    with _channel("http://127.0.0.1:1/"):
        name = "relay, one channel that subscribes to all events : inserts"
        return meter.compare(name, limit=_insert_rate, ours=_relay_rate, goal=0.4, unit="events per second")


def _relay_against_tasks(meter: Meter) -> Ratio:
    _truncate()

    def relay() -> float:
        _insert_rate()
        return _relay_rate()

    with _worker():
        return meter.compare("relay : no-op Celery tasks", limit=_task_rate, ours=relay, goal=5, unit="per second")


def _insert_rate() -> float:
    """Insert events for the relay to number. Return the events per second."""
    from django.db import connection

    connection.ensure_connection()
    plain = connection.connection
    row = ["WORKSPACE_ONLINE", UUID(int=1), 1, False, PAYLOAD, SUBJECT]
    statement = (
        "INSERT INTO events_event (event_type, workspace_id, version, is_move, payload, subject) VALUES "  # noqa: S608
        + ", ".join(["(%s, %s, %s, %s, %s, %s)"] * BATCH)
    )
    with plain.cursor() as cursor:
        return _rate(EVENTS, lambda: [cursor.execute(statement, row * BATCH) for _ in range(EVENTS // BATCH)])


def _relay_rate() -> float:
    from events.relay import number_all

    def relay() -> None:
        _expect(number_all(), EVENTS)

    return _rate(EVENTS, relay)


@contextmanager
def _worker() -> Iterator[None]:
    command = [
        sys.executable,
        "-m",
        "celery",
        "--quiet",
        "-A",
        "bench.fanout.celery_noop",
        "worker",
        "--concurrency",
        "2",
    ]
    options = ["--without-gossip", "--without-mingle", "--loglevel", "ERROR", "-Q", "noop"]
    # Discard the worker's output so that stdout holds only the result.
    with _process([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        from bench.fanout.celery_noop import app

        while not app.control.ping(timeout=1):
            pass
        yield


def _task_rate() -> float:
    import redis

    from bench.fanout.celery_noop import do_nothing

    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:

        def run() -> None:
            for _ in range(TASKS):
                do_nothing.delay()
            while client.llen("noop") or client.hlen("unacked"):
                time.sleep(0.005)

        return _rate(TASKS, run)


# --- Claims --------------------------------------------------------------------------------------


def _claims(meter: Meter) -> Ratio:
    _truncate()
    with _channel("http://127.0.0.1:1/") as key:
        _insert_rate()
        _relay_rate()
        name = "claim and mark : the same two UPDATEs, batches of 100"
        return meter.compare(
            name, limit=_update_rate, ours=lambda: _claim_rate(key), goal=0.6, unit="deliveries per second"
        )


def _insert_waiting_deliveries() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE events_delivery")
        cursor.execute(
            "INSERT INTO events_delivery (channel_id, event_id, position, workspace_id) "
            "SELECT channel.id, event.id, event.position, event.workspace_id FROM events_event AS event, "
            "events_channel AS channel"
        )
        cursor.execute("VACUUM ANALYZE events_delivery")


def _update_rate() -> float:
    from django.db import connection

    _insert_waiting_deliveries()
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM events_delivery ORDER BY position")
        keys = [key for (key,) in cursor.fetchall()]
        entry = '[{"at": "2026-01-01T00:00:00+00:00", "ok": true, "latency_ms": 3, "answer": "HTTP 200"}]'

        def run() -> None:
            for start in range(0, len(keys), BATCH):
                batch = keys[start : start + BATCH]
                cursor.execute(
                    "UPDATE events_delivery SET state = 'sending', leased_until = now() + interval '1 minute' "
                    "WHERE id = ANY(%s)",
                    [batch],
                )
                cursor.execute(
                    "UPDATE events_delivery SET state = 'delivered', attempts = 1, settled_at = now(), "
                    "leased_until = NULL, history = %s WHERE id = ANY(%s)",
                    [entry, batch],
                )

        return _rate(len(keys), run)


def _claim_rate(channel_id: int) -> float:
    from events.delivery.claims import Mark, claim, mark
    from events.models import Channel

    _insert_waiting_deliveries()
    channel = Channel.objects.get(pk=channel_id)
    done = 0
    entry = {"ok": True, "latency_ms": 3, "answer": "HTTP 200"}

    def run() -> None:
        nonlocal done
        while True:
            claimed = claim(channel, lease=timedelta(minutes=1), limit=BATCH)
            if claimed is None:
                return
            marks = [
                Mark(delivery=each, is_delivered=True, at=claimed.claimed_at, entry=entry)
                for each in claimed.deliveries
            ]
            done += mark(claimed, marks)

    rate = _rate(EVENTS, run)
    _expect(done, EVENTS)
    return rate


# --- Webhooks ------------------------------------------------------------------------------------


def _webhooks(meter: Meter) -> Ratio:
    _truncate()
    command = [sys.executable, "-m", "bench.fanout.receiver"]
    with _process(command, stdout=subprocess.PIPE, text=True) as receiver:
        url = f"http://127.0.0.1:{receiver.stdout.readline().strip()}/hook"
        with _channel(url):
            name = f"webhooks : a bare httpx loop, {CONCURRENCY} at a time"
            return meter.compare(
                name, limit=lambda: _httpx_rate(url), ours=_webhook_rate, goal=0.5, unit="webhooks per second"
            )


def _httpx_rate(url: str) -> float:
    import httpx

    body = ('{"type":"WORKSPACE_ONLINE","timestamp":"2026-01-01T00:00:00Z","data":' + PAYLOAD + "}").encode()
    headers = {"content-type": "application/json", "webhook-id": "1", "webhook-signature": "v1," + "x" * 44}
    with httpx.Client(timeout=10, trust_env=False) as client:

        def loop() -> None:
            for _ in range(WEBHOOKS // CONCURRENCY):
                client.post(url, content=body, headers=headers).raise_for_status()

        return _rate(WEBHOOKS, lambda: _in_threads(loop, CONCURRENCY))


def _webhook_rate() -> float:
    """Deliver events of many workspaces, including claiming and marking. Return the webhooks per second."""
    from django.db import connection

    from events.delivery.deliverer import deliver_all_due
    from events.relay import number_all

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE events_event, events_delivery")
        cursor.execute(
            "INSERT INTO events_event (event_type, workspace_id, version, is_move, payload, subject) "
            "SELECT 'WORKSPACE_ONLINE', gen_random_uuid(), 1, false, %s, %s FROM generate_series(1, %s)",
            [PAYLOAD, SUBJECT, WEBHOOKS],
        )
    number_all()

    def deliver() -> None:
        _expect(deliver_all_due(), WEBHOOKS)

    return _rate(WEBHOOKS, deliver)


# --- Helpers -------------------------------------------------------------------------------------


def _expect(done: int, expected: int) -> None:
    if done != expected:
        raise RuntimeError(f"{done} instead of {expected} were done, so the measurement is not valid.")


def _rate(count: int, work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def _in_threads(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _truncate() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE events_event, events_delivery, events_channel, events_positioncounter")


@contextmanager
def _channel(url: str) -> Iterator[int]:
    from events.channels.webhook.kind import WEBHOOK
    from events.delivery.channel_operations import encrypt_options
    from events.models import Channel

    options = encrypt_options({"url": url, "headers": {}, **WEBHOOK.initial_options()})
    channel = Channel.objects.create(name=url, kind=WEBHOOK.name, sealed_options=options, concurrency=CONCURRENCY)
    yield channel.pk
    channel.delete()


@contextmanager
def _process(command: list[str], **options: Any) -> Iterator[Any]:
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)
