"""A TCP proxy between a client and the web server that a test can cut. Offline emulation leaves open streams alone."""

import asyncio
import threading
from contextlib import asynccontextmanager, closing, contextmanager, suppress

from tests.waiting import PATIENCE_SECONDS

_STREAM = b"GET /events/stream"


class CutProxy:
    """Passes bytes on from its own port, and counts the connections that carry a live stream."""

    def __init__(self, *, to_port):
        self.to_port = to_port
        self.port = 0
        self.streams = 0
        self.refused = 0
        self._is_cut = False
        self._writers = set()
        self.loop = asyncio.new_event_loop()

    def cut(self):
        """Break every connection, also new ones, until `restore()`."""
        self._is_cut = True
        self.call(self._break_all)

    def restore(self):
        self._is_cut = False

    async def start(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def end(self):
        """Break every connection and wait for their end, so that no warning about an open one follows."""
        self._is_cut = True
        while self._writers:
            self._break_all()
            await asyncio.sleep(0.01)

    async def _serve(self, reader, writer):
        if self._is_cut:
            self.refused += 1
            writer.transport.abort()
            return
        async with self._kept(writer):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to_port)
            async with self._kept(far_writer):
                await self._pass_both_ways(reader, writer, far_reader, far_writer)

    @asynccontextmanager
    async def _kept(self, writer):
        """Register the connection for `cut()`, and break it at the end."""
        self._writers.add(writer)
        try:
            with suppress(OSError):
                yield
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pass_both_ways(
        self,
        reader,
        writer,
        far_reader,
        far_writer,
    ):
        streaming = []
        ways = [self._pass(reader, far_writer, streaming), self._pass(far_reader, writer, None)]
        tasks = [asyncio.ensure_future(way) for way in ways]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self.streams -= len(streaming)
        for each in (writer, far_writer):
            each.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass(self, reader, writer, streaming):
        with suppress(OSError):
            while data := await reader.read(65_536):
                if streaming == [] and data.startswith(_STREAM):
                    streaming.append(True)
                    self.streams += 1
                writer.write(data)
                await writer.drain()

    def _break_all(self):
        for writer in self._writers:
            writer.transport.abort()

    def call(self, act):
        self.loop.call_soon_threadsafe(act)


@contextmanager
def cut_proxy(*, to_port):
    proxy = CutProxy(to_port=to_port)
    is_ready = threading.Event()

    async def main():
        async with await proxy.start():
            is_ready.set()
            await stopped.wait()
        await proxy.end()

    stopped = asyncio.Event()
    with closing(proxy.loop):
        thread = threading.Thread(target=proxy.loop.run_until_complete, args=(main(),))
        thread.start()
        try:
            assert is_ready.wait(PATIENCE_SECONDS)
            yield proxy
        finally:
            proxy.call(stopped.set)
            thread.join(PATIENCE_SECONDS)
