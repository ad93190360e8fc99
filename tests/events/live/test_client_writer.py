"""Writing to a client in order and with a bounded queue, for servers that send at once, later, or when awaited."""

import asyncio

import pytest

from events.live.client_writer import ClientWriter
from events.live.event_batch import body_part
from tests.waiting import PATIENCE_SECONDS


class Later:
    """A server whose client reads a message only when the test says so."""

    def __init__(self):
        self.sent, self.under_way = [], []

    def send(self, message):
        self.sent.append(message["body"])
        self.under_way.append(asyncio.get_running_loop().create_future())
        return self.under_way[-1]

    async def take(self):
        self.under_way.pop(0).set_result(None)
        await asyncio.sleep(0)


class AtOnce:
    """What Granian returns for a message that was sent at once: an awaitable that is not a future."""

    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(message["body"])
        return self

    def __await__(self):
        return iter(())


def pieces(*texts):
    return [body_part(text) for text in texts]


def test_the_next_message_is_sent_when_the_previous_one_is_and_in_order():
    async def story():
        client = Later()
        writer = ClientWriter(client.send, limit_bytes=100)
        assert writer.write(pieces(b"1", b"2"))
        assert writer.write(pieces(b"3"))
        assert (client.sent, writer.is_busy) == ([b"1"], True)
        await client.take()
        assert client.sent == [b"1", b"2"]
        await client.take()
        await client.take()
        assert (client.sent, writer.is_busy) == ([b"1", b"2", b"3"], False)

    asyncio.run(story())


def test_a_message_that_is_sent_at_once_is_not_awaited():
    async def story():
        client = AtOnce()
        writer = ClientWriter(client.send, limit_bytes=1)
        assert all(writer.write(pieces(b"long one")) for _ in range(3))
        await writer.drain(seconds=0)
        assert client.sent == [b"long one"] * 3

    asyncio.run(story())


def test_messages_beyond_the_limit_are_refused_and_change_nothing():
    async def story():
        client = Later()
        writer = ClientWriter(client.send, limit_bytes=4)
        assert writer.write(pieces(b"on its way"))
        assert writer.write(pieces(b"four"))
        assert not writer.write(pieces(b"x"))
        await client.take()
        await client.take()
        assert client.sent == [b"on its way", b"four"]
        # The queue is empty again.
        assert writer.write(pieces(b"next"))

    asyncio.run(story())


def test_drain_ends_when_all_is_sent_or_time_is_over_or_the_client_disconnected():
    async def story():
        client = Later()
        writer = ClientWriter(client.send, limit_bytes=100)
        writer.write(pieces(b"1", b"2"))
        with pytest.raises(TimeoutError):
            await writer.drain(seconds=0.01)
        draining = asyncio.ensure_future(writer.drain(seconds=PATIENCE_SECONDS))
        await asyncio.sleep(0)
        await client.take()
        await client.take()
        await draining
        writer.write(pieces(b"3"))
        leaving = asyncio.ensure_future(writer.drain(seconds=None))
        await asyncio.sleep(0)
        writer.abandon()
        await leaving
        assert client.sent == [b"1", b"2", b"3"]

    asyncio.run(story())


def test_messages_reach_a_server_that_sends_only_when_awaited():
    async def story():
        sent = []

        async def send(message):
            await asyncio.sleep(0)
            sent.append(message["body"])

        writer = ClientWriter(send, limit_bytes=100)
        writer.write(pieces(b"1", b"2", b"3"))
        await writer.drain(seconds=PATIENCE_SECONDS)
        assert sent == [b"1", b"2", b"3"]

    asyncio.run(story())


def test_a_disconnected_client_causes_no_warning():
    async def story():
        def send(message):
            raise RuntimeError("Transport not initialized or closed")

        writer = ClientWriter(send, limit_bytes=100)
        assert writer.write(pieces(b"1", b"2"))
        await writer.drain(seconds=PATIENCE_SECONDS)

    asyncio.run(story())
