"""The tests' fake network with two more routes: a latency that can be set, and its ledger in short.

POST /_latency?ms=200    every later answer leaves this much after its effect
GET  /_arrivals?from=N   [[marker, due, arrived_at], ...] of the accepted posts from the N-th on; with count=1 [[how many]]
"""

import asyncio
import signal
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import orjson
import uvloop

from tests.fakes.network import Network, Options
from tests.fakes.wire import Answer, Request, Wire

TOKEN_LIFE_S = 86_400
"""No token runs out during a bench."""
HANG_S = 15.0


class Slow:
    """A transport whose writes leave later."""

    def __init__(self, transport: asyncio.Transport, network: "BenchNetwork") -> None:
        self._transport, self._network = transport, network

    def write(self, data: bytes) -> None:
        """Write, after the latency that is set now."""
        if self._network.latency_s:
            asyncio.get_running_loop().call_later(self._network.latency_s, self._transport.write, data)
        else:
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BenchNetwork(Network):
    """The fake with its two more routes."""

    latency_s = 0.0

    def route(self, request: Request) -> Answer:
        """Answer one request."""
        parts = urlsplit(request.url)
        if parts.path == "/_latency":
            self.latency_s = float(parse_qs(parts.query)["ms"][0]) / 1_000
            return 200, b"{}", ""
        if parts.path == "/_arrivals":
            asked = parse_qs(parts.query)
            if "count" in asked:
                return 200, orjson.dumps([[len(self.ledger)]]), ""
            start = int(asked["from"][0])
            rows = [(post["marker"], post["due"], post["arrived_at"]) for post in self.ledger[start:]]
            return 200, orjson.dumps(rows), ""
        return super().route(request)


class BenchWire(Wire):
    """A connection through a slow transport."""

    def __init__(self, network: BenchNetwork) -> None:
        super().__init__(network.route, HANG_S)
        self.network = network

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection."""
        super().connection_made(cast(asyncio.BaseTransport, Slow(cast(asyncio.Transport, transport), self.network)))


async def serve() -> None:
    """Serve until SIGTERM; print READY and the port."""
    network, loop, stop = BenchNetwork(Options(token_life_s=TOKEN_LIFE_S)), asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(lambda: BenchWire(network), "127.0.0.1", 0, backlog=4096)
    print(f"READY {server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
