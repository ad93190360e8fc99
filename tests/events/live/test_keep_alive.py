"""What a silent stream says, and from where a client resumes that heard it."""

import asyncio
import json
import re

import pytest

from events.live.client_writer import ClientWriter
from events.live.event_batch import StreamFormat, StreamOptions
from events.live.filters import Filter
from events.live.stream import Stream
from tests.events.conftest import online, publish


@pytest.mark.django_db(transaction=True)
def test_a_client_that_resumes_from_what_a_silent_stream_said_misses_and_repeats_nothing(serve):
    server = serve(KEEP_ALIVE_SECONDS="0.1")
    publish(online(), online())
    with server.stream(params={"after": "0"}) as stream:
        assert stream.positions(2) == [1, 2]
        # The position is in a comment, and in the envelope: the message itself has no ID.
        assert stream.block() == [": keep-alive", "id: 2"]
        (line,) = stream.block()
        assert json.loads(line.removeprefix("data: "))["position"] == 2
    publish(online())
    with server.stream(headers={"X-Word": "sesame", "Last-Event-ID": "2"}) as stream:
        assert stream.message()[0] == 3


@pytest.mark.parametrize("format", StreamFormat)
def test_a_stream_never_tells_a_position_behind_what_it_has_sent(format):
    """The follower of the log is behind while its connection is lost; a new client brought a later position."""
    told = []

    async def silence():
        options = StreamOptions(filter=Filter(), format=format)
        writer = ClientWriter(told.append, limit_bytes=1000)
        stream = Stream(options=options, writer=writer, queue_bytes=1000, scope={})
        stream.go_live(sent=7)
        stream.keep_alive(3)
        stream.keep_alive(9)

    asyncio.run(silence())
    texts = [message.get("text") or message["body"].decode() for message in told]
    assert [re.findall(r'(?:"position":|id: )(\d+)', text)[0] for text in texts] == ["7", "9"]
