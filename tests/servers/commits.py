"""A proxy before PostgreSQL that loses one COMMIT, or the answer to one: what no client can tell apart. On loopback.

It reads the messages of the client as the protocol frames them (PostgreSQL 18 documentation, 54.7, read 2026-11).
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from tests.servers.proxy import CHUNK_BYTES, Relay

Cut = Literal["before the commit", "after the commit"]
PROTOCOL_3 = 3 << 16


class CommitProxy(Relay):
    """Forwards to one server. Set `cut` and `mark`: the transaction that carries the mark loses its COMMIT, once."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._parts = parts
        super().__init__()
        self.cut: Cut | None = None
        self.mark = b""
        self.lost = 0

    def url(self, port: int) -> str:
        """The server's URL, by way of this proxy."""
        login = self._parts.netloc.rpartition("@")[0]
        return urlunsplit(self._parts._replace(netloc=f"{login}@127.0.0.1:{port}"))

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until either side ends, or its commit is lost."""
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        last = asyncio.Event()
        ways = {
            asyncio.create_task(self._requests(reader, up_writer, last)),
            asyncio.create_task(self._answers(up_reader, writer, last)),
        }
        await self.run(ways, up_writer, writer)

    async def _requests(self, reader: asyncio.StreamReader, up_writer: asyncio.StreamWriter, last: asyncio.Event) -> None:
        started = marked = False
        while True:
            head = await reader.readexactly(5 if started else 4)
            (length,) = struct.unpack("!I", head[-4:])
            body = await reader.readexactly(length - 4)
            if not started:
                started = struct.unpack("!I", body[:4])[0] == PROTOCOL_3  # before it comes the question for TLS
            elif self.cut is not None and self.mark in body:
                marked = True
            if marked and head[:1] == b"Q" and body.lower().startswith(b"commit"):
                self.lost += 1
                cut, self.cut = self.cut, None
                if cut == "before the commit":
                    return
                last.set()
                up_writer.write(head + body)
                await asyncio.Event().wait()
            up_writer.write(head + body)
            await up_writer.drain()

    async def _answers(self, up_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, last: asyncio.Event) -> None:
        while chunk := await up_reader.read(CHUNK_BYTES):
            if last.is_set():
                return  # the server has committed, and says so to nobody
            writer.write(chunk)
            await writer.drain()


@asynccontextmanager
async def commit_proxy(url: str) -> AsyncIterator[tuple[CommitProxy, str]]:
    """Put a proxy before the server at `url`. Yields it, and the URL to use instead."""
    proxy = CommitProxy(url)
    async with proxy.listening() as port:
        yield proxy, proxy.url(port)
