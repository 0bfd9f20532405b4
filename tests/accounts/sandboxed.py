"""The real sandbox connector over the fast fake, in this process, with answers to refreshes that can be cut off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from networks.client import Client
from networks.oauth import OAuthServer
from networks.sandbox import Sandbox
from tests.fakes.network import Network as FakeNetwork
from tests.fakes.network import Options
from tests.fakes.wire import Answer, Fault, Request, Wire

HANG_S = 0.2


@dataclass
class Rotations:
    """The fake's ledger of refreshes: what was presented, and how often the answer is to be cut."""

    fake: FakeNetwork
    cut: int = 0
    presented: list[str] = field(default_factory=list)

    def route(self, request: Request) -> Answer:
        """Answer as the fake does; a rotation that is to be cut happens and is not told."""
        answer = self.fake.route(request)
        body = orjson.loads(request.body) if request.url == "/token" else {}
        if body.get("grant_type") == "refresh_token":
            self.presented.append(body["refresh_token"])
            if self.cut:
                self.cut -= 1
                raise Fault("reset")
        return answer


@asynccontextmanager
async def sandbox(oauth: OAuthServer | None = None) -> AsyncIterator[tuple[Sandbox, Rotations]]:
    """Serve the fake and give the connector to it."""
    rotations = Rotations(FakeNetwork(Options()))
    server = await asyncio.get_running_loop().create_server(lambda: Wire(rotations.route, HANG_S), "127.0.0.1", 0)
    client = Client(allow_loopback=True)
    port = server.sockets[0].getsockname()[1]
    yield Sandbox(client, base_url=f"http://127.0.0.1:{port}", oauth=oauth), rotations
    await client.close()
    server.close()
