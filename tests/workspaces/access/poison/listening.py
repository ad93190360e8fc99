"""Keeps what is logged and what is published to browsers."""

import io
import json
import logging
import threading
from contextlib import contextmanager, suppress

import redis
from django.conf import settings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from config.log_format import FieldsFormatter
from events import ephemeral
from events.models import Event
from tests.events.conftest import PATIENT
from tests.waiting import PATIENCE_SECONDS, wait_until

# Published behind all others.
LAST = b"the last message"


@contextmanager
def listening(world):
    """Keep what is logged and what is published to browsers while the block runs."""
    stream = io.StringIO()
    handler, lines = logging.StreamHandler(stream), logging.StreamHandler(stream)
    handler.setFormatter(FieldsFormatter())
    # The lines of the log channel go no further than its own logger.
    handlers = [(logging.getLogger(), handler), (logging.getLogger("events.channels.log.kind"), lines)]
    for logger, each in handlers:
        logger.addHandler(each)
    ends = threading.Event()
    ephemeral._publisher = ephemeral._Publisher()
    with redis.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as subscription:
        subscription.subscribe(ephemeral.redis_channel())
        assert subscription.get_message(timeout=PATIENCE_SECONDS)["type"] == "subscribe"

        def listen():
            while not ends.is_set():
                if message := subscription.get_message(timeout=0.1):
                    world.tell("live", message["data"])

        def is_all_heard():
            # Each time anew, since what Redis does not take in time is dropped.
            ephemeral._publisher.publish([LAST])
            return ("live", LAST.decode()) in world.told

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield
            wait_until(is_all_heard)
        finally:
            ends.set()
            thread.join()
            for logger, each in handlers:
                logger.removeHandler(each)
    world.tell("server log", stream.getvalue())


@contextmanager
def hearing(world, server):
    """Keep what clients of the live streams get while the block runs: all events, and heartbeats by the WebSocket."""
    headers, events = world.admin.headers, Event.objects.exclude(position=None)
    with connect(
        f"ws://127.0.0.1:{server.port}/ws?after=0", additional_headers=headers, proxy=None, **PATIENT
    ) as client:

        def listen():
            with suppress(ConnectionClosed):
                for message in client:
                    world.tell("WebSocket", message)
                    heard.update([json.loads(message)["position"]])

        heard, thread = set(), threading.Thread(target=listen)
        thread.start()
        try:
            yield
            wait_until(lambda: set(events.values_list("position", flat=True)) <= heard)
        finally:
            client.close()
            thread.join()
    with server.stream(params={"after": "0"}) as stream:
        for _ in range(events.count()):
            world.tell("live stream", json.dumps(stream.message()))
