"""Keeps what is logged and what is published to browsers."""

import io
import logging
import threading
from contextlib import contextmanager

import redis
from django.conf import settings

from config.log_format import FieldsFormatter
from events import ephemeral
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
