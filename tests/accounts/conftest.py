"""Fixtures of accounts: a strict network, the routes over it, and the duties of refreshing as a worker claims them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI, Request, Response

from api import problems
from api.idempotency import Replay
from api.inbound import connect
from api.pages.people import connect as connect_page
from api.rate_limits import RateLimits
from api.v1 import accounts, connect_sessions, networks
from core import duties
from core.crypto import KeyRing
from core.db import Database, Tenant
from core.duties import Claimed
from core.ids import encode
from core.settings import Settings
from networks.base import Network
from tenants.accounts.tokens import refresh
from tenants.people.house import House
from tenants.posts import release
from tests.accounts.scripted import Scripted, facts
from tests.conftest import TestAgency

LEASE = timedelta(seconds=60)


@pytest.fixture
def ring(settings: Settings) -> KeyRing:
    """The ring of keys."""
    return KeyRing(settings.encryption_keys.get_secret_value())


@pytest.fixture
def scripted() -> Scripted:
    """The strict network, reached in test mode."""
    return Scripted()


@pytest.fixture
def connectors(scripted: Scripted) -> dict[str, Network]:
    """The networks that are served: the strict one, and one for live keys."""
    live = Scripted(facts("live", test=False))
    return {"scripted": scripted.as_network, "live": live.as_network}


@pytest.fixture
def app(database: Database, settings: Settings, ring: KeyRing, connectors: dict[str, Network]) -> FastAPI:
    """The routes of accounts over the test's own networks."""
    app = FastAPI(redirect_slashes=False)
    app.state.database, app.state.settings, app.state.ring, app.state.networks = database, settings, ring, connectors
    app.state.rate_limits, app.state.house = RateLimits(settings), House.of(settings, ring)
    for router in (accounts.router, connect_sessions.router, networks.router, connect.router, connect_page.router):
        app.include_router(router)
    problems.install(app)

    async def replay(_request: Request, error: Exception) -> Response:
        assert isinstance(error, Replay)
        return error.response

    app.add_exception_handler(Replay, replay)
    return app


@dataclass
class Caller:
    """One key at the API, in its agency's workspace."""

    http: httpx2.AsyncClient
    agency: TestAgency

    @property
    def home(self) -> str:
        """The path of the workspace."""
        return f"/v1/workspaces/{encode('wsp', self.agency.workspace.id)}"

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """Call a path; one that does not begin with a slash lies in the workspace."""
        url = path if path.startswith("/") else f"{self.home}/{path}"
        sent = {"Authorization": f"Bearer {self.agency.key}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.http.request(method, url, json=body, headers=sent)

    async def connect(self, login: str = "bakery", **more: Any) -> dict[str, Any]:
        """Connect with credentials; returns the session."""
        wish = {"network": "scripted", "credentials": {"login": login, "password": "right"}} | more
        answer = await self.call("POST", "connect-sessions", wish)
        assert answer.status_code == 201, answer.text
        read: dict[str, Any] = answer.json()
        return read

    async def account(self, login: str = "bakery") -> dict[str, Any]:
        """Connect one account."""
        read: dict[str, Any] = (await self.connect(login))["accounts"][0]
        return read


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client without a key."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://octavo.test") as client:
        yield client


@pytest.fixture
def caller(http: httpx2.AsyncClient, agency: TestAgency) -> Caller:
    """The first agency's key."""
    return Caller(http, agency)


@pytest.fixture
def stranger(http: httpx2.AsyncClient, other: TestAgency) -> Caller:
    """The other agency's key."""
    return Caller(http, other)


@dataclass
class Worker:
    """Claims refresh duties as the scheduler does, and runs them as a worker does."""

    database: Database
    networks: dict[str, Network]
    ring: KeyRing
    duties: asyncpg.Connection
    owner: asyncpg.Connection
    claimed: list[Claimed] = field(default_factory=list)

    async def claim(self, limit: int = 100) -> list[Claimed]:
        """Lease what is due."""
        self.claimed = await duties.claim(self.duties, "refresh_token", limit, LEASE, 1_000)
        return self.claimed

    async def run(self, claimed: Claimed) -> None:
        """Do one duty."""
        await refresh(self.database, self.networks, self.ring, claimed.agency_id, claimed.subject_id, claimed.fence, release)

    async def due(self) -> int:
        """Claim what is due and run it. Returns how many there were."""
        claimed = await self.claim()
        for one in claimed:
            await self.run(one)
        return len(claimed)

    async def row(self, connection_id: UUID) -> asyncpg.Record:
        """A connection with its account's state and its duty, as its agency sees it."""
        return await self.owner.fetchrow(
            "select c.*, a.state account_state, a.state_reason, d.due_at, d.state duty_state from connections c"
            " join accounts a on a.agency_id = c.agency_id and a.id = c.account_id left join duties d"
            " on d.agency_id = c.agency_id and d.kind = 'refresh_token' and d.subject_id = c.id where c.id = $1",
            connection_id,
        )

    async def age(self, by: timedelta) -> None:
        """Let time pass: everything known of connections and duties is moved into the past."""
        await self.owner.execute(
            "update connections set created_at = created_at - $1::interval, refreshed_at = refreshed_at - $1::interval,"
            " expires_at = expires_at - $1::interval, refresh_presented_at = refresh_presented_at - $1::interval",
            by,
        )
        await self.owner.execute("update duties set due_at = due_at - $1::interval, lease_until = lease_until - $1::interval", by)

    async def events(self, kind: str) -> int:
        """How many events of a type there are."""
        value: int = await self.owner.fetchval("select count(*) from events where type = $1", kind)
        return value


@pytest.fixture
async def worker(
    settings: Settings, database: Database, ring: KeyRing, connectors: dict[str, Network], agency: TestAgency
) -> AsyncIterator[Worker]:
    """A worker over the test's networks, and a look at the first agency's rows."""
    claims, owner = await asyncpg.connect(settings.worker_url), await asyncpg.connect(settings.app_url)
    await owner.execute("select set_config('app.agency_id', $1, false)", str(agency.actor.agency_id))
    yield Worker(database, connectors, ring, claims, owner)
    await claims.close()
    await owner.close()


Live = Callable[[TestAgency, str], Awaitable[UUID]]


@pytest.fixture
def live(database: Database) -> Live:
    """The live connection of the account with an external id."""

    async def get(agency: TestAgency, external_id: str) -> UUID:
        async with database.connection(Tenant(agency.actor.agency_id)) as db:
            value: UUID = await db.fetchval(
                "select c.id from connections c join accounts a on a.agency_id = c.agency_id and a.id = c.account_id"
                " where a.external_id = $1 and c.state = 'active'",
                external_id,
            )
            return value

    return get
