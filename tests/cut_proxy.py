"""A TCP proxy between a client and the web server, that a test may cut: offline emulation leaves open streams alone."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

_STREAM = b"GET /events/stream"


class CutProxy:
    """Passes bytes on from its own port; knows which of its connections carry a live stream."""

    def __init__(self, *, to_port: int) -> None:
        self.to_port = to_port
        self.port = 0
        self.streams = 0
        self.refused = 0
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()

    def cut(self) -> None:
        """Break every connection, and every later one, until `mend()`."""
        self._is_cut = True
        self._call(self._break_all)

    def mend(self) -> None:
        self._is_cut = False

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            self.refused += 1
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to_port)
        self._writers |= {writer, far_writer}
        streaming: list[bool] = []
        ways = [self._pass(reader, far_writer, streaming), self._pass(far_reader, writer, None)]
        tasks = [asyncio.ensure_future(way) for way in ways]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self.streams -= len(streaming)
        for each in (writer, far_writer):
            self._writers.discard(each)
            each.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, streaming: list[bool] | None
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if streaming == [] and data.startswith(_STREAM):
                    streaming.append(True)
                    self.streams += 1
                writer.write(data)
                await writer.drain()

    def _break_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _call(self, act: object) -> None:
        self._loop.call_soon_threadsafe(act)  # type: ignore[arg-type]


@contextmanager
def cut_proxy(*, to_port: int) -> Iterator[CutProxy]:
    proxy = CutProxy(to_port=to_port)
    is_ready = threading.Event()

    async def main() -> None:
        async with await proxy.start():
            is_ready.set()
            await stopped.wait()
            proxy._break_all()
            await asyncio.sleep(0.1)

    stopped = asyncio.Event()
    with closing(proxy._loop):
        thread = threading.Thread(target=proxy._loop.run_until_complete, args=(main(),))
        thread.start()
        is_ready.wait(10)
        try:
            yield proxy
        finally:
            proxy._call(stopped.set)
            thread.join(10)
