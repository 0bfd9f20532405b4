"""A TCP proxy that loses answers: what makes an unknown outcome real. On loopback, in the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import urlsplit

Mode = Literal["pass", "drop_response", "stall", "refuse"]
CHUNK_BYTES = 65_536


class Relay:
    """Two ways between a client and a server, which end together. What is lost on them is the business of who inherits it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, ways: set[asyncio.Task[None]], *writers: asyncio.StreamWriter) -> None:
        """Run until one way ends; then end the other and cut both connections."""
        self._tasks |= ways
        _, going = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for task in going:
            task.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._tasks -= ways
        for writer in writers:
            writer.transport.abort()

    def cancel(self) -> None:
        """End what is still going."""
        for task in self._tasks:
            task.cancel()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Listen on a free port of loopback, which is yielded."""
        listener = await asyncio.start_server(self.connection, "127.0.0.1", 0)
        yield listener.sockets[0].getsockname()[1]
        listener.close()
        self.cancel()
        await asyncio.sleep(0)

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        raise NotImplementedError


class DropProxy(Relay):
    """Forwards to one server. Set `mode` before a call; it holds for the requests that begin after it.

    `pass` forwards both ways; `drop_response` forwards the request and cuts when the answer comes; `stall` forwards the
    request and keeps the answer; `refuse` cuts new connections before a byte is forwarded.
    """

    def __init__(self, upstream_url: str) -> None:
        parts = urlsplit(upstream_url)
        self._upstream = ("127.0.0.1", parts.port or 80)
        super().__init__()
        self.mode: Mode = "pass"
        self.dropped = 0
        self.url = ""

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until either side ends."""
        if self.mode == "refuse":
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        ways = {
            asyncio.create_task(self._requests(reader, up_writer)),
            asyncio.create_task(self._answers(up_reader, writer)),
        }
        await self.run(ways, up_writer, writer)

    async def _requests(self, reader: asyncio.StreamReader, up_writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            up_writer.write(chunk)
            await up_writer.drain()

    async def _answers(self, up_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await up_reader.read(CHUNK_BYTES):
            if self.mode == "stall":
                await asyncio.Event().wait()
            if self.mode == "drop_response":
                self.dropped += 1
                return
            writer.write(chunk)
            await writer.drain()


@asynccontextmanager
async def drop_proxy(upstream_url: str) -> AsyncIterator[DropProxy]:
    """Put a proxy before the server at `upstream_url`; `proxy.url` is where to call instead."""
    proxy = DropProxy(upstream_url)
    async with proxy.listening() as port:
        proxy.url = f"http://127.0.0.1:{port}"
        yield proxy
