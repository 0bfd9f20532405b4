"""Fixtures: one embedded PostgreSQL for the run, a fresh migrated database for each test that asks for one."""

import asyncio
import os
import secrets
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from core import duties
from core.clock import now
from core.crypto import KeyRing
from core.db import Database, Tenant
from core.embedded import postgres
from core.settings import Settings
from migrations.run import migrate
from tenants.agencies.keys import authenticate, read_key
from tenants.agencies.models import Workspace
from tenants.agencies.schemas import WorkspaceCreate
from tenants.agencies.service import create_agency, create_workspace
from tenants.permissions import Actor
from workers.context import Context, open_context
from workers.duties import run_batch

TEMPLATE = "octavo_template"
NOBODY_PORT = 9
"""Nobody listens there (discard, RFC 863): what asks the sandbox brings a system of its own, and reaches nobody else's."""
QUOTA_AWAY = 1_000_000
"""The rate limits are on, and out of the way of tests that are about something else."""
AHEAD = 2
"""Databases that wait for the tests to come."""
DROP_TRIES = 30
"""Three seconds; what is left then goes with the throwaway server."""


def on(url: str, database: str) -> str:
    """Point a PostgreSQL URL at another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the owner on an embedded server that lives as long as the run."""
    with postgres(Path(tmp_path_factory.mktemp("home")), name="test", durable=False) as url:
        yield url


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """A database at the head of the migrations, to be copied."""

    async def make() -> None:
        connection = await asyncpg.connect(server_url)
        await connection.execute(f"create database {TEMPLATE}")
        await connection.close()
        await migrate(Settings(database_url=on(server_url, TEMPLATE)))

    asyncio.run(make())
    return TEMPLATE


async def drop(connection: asyncpg.Connection, name: str) -> None:
    """Drop a test's database once its last connections, which end by themselves, have ended."""
    for _ in range(DROP_TRIES):
        with suppress(asyncpg.ObjectInUseError):
            await connection.execute(f"drop database {name}")
            return
        await asyncio.sleep(0.1)


@pytest.fixture(scope="session")
def take_database(server_url: str, template: str) -> Iterator[Callable[[], str]]:
    """Name a fresh copy of the template. The next ones are made while a test runs: each takes longer than most tests do."""

    async def copy() -> str:
        name = f"t_{secrets.token_hex(6)}"
        connection = await asyncpg.connect(server_url)
        await connection.execute(f"create database {name} template {template}")
        await connection.close()
        return name

    with ThreadPoolExecutor(1) as aside:
        ahead = deque(aside.submit(asyncio.run, copy()) for _ in range(AHEAD))

        def take() -> str:
            ahead.append(aside.submit(asyncio.run, copy()))
            return ahead.popleft().result()

        yield take


@pytest.fixture
async def settings(server_url: str, take_database: Callable[[], str], tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings that point at a fresh database of this test's own."""
    name = take_database()
    connection = await asyncpg.connect(server_url)
    yield Settings(
        database_url=on(server_url, name),
        home=str(tmp_path),
        port=NOBODY_PORT,
        egress_allow_loopback=True,
        database_pool_size=5,
        log_format="console",
        rate_limit_key=QUOTA_AWAY,
        rate_limit_agency=QUOTA_AWAY,
    )
    await drop(connection, name)
    await connection.close()


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """Both ways to the fresh database, as the application's role."""
    database = Database(settings)
    yield database
    await database.close()


@dataclass
class TestAgency:
    """An agency to act as: one workspace, one all-powerful key, in one mode."""

    __test__ = False

    actor: Actor
    key: str
    workspace: Workspace
    sibling: "TestAgency | None" = None

    @property
    def tenant(self) -> Tenant:
        return self.actor.tenant


MakeAgency = Callable[..., Awaitable[TestAgency]]


@pytest.fixture
async def make_agency(database: Database, settings: Settings) -> MakeAgency:
    """Make agencies with their test twin: `agency.sibling` is the live one."""

    async def make(name: str = "Agency", *, time_zone: str = "Europe/Berlin") -> TestAgency:
        ring = KeyRing(settings.encryption_keys.get_secret_value())
        async with database.session() as session:
            new = await create_agency(session, ring, name, now())
        agencies = []
        for key in (new.test_key, new.live_key):
            presented = read_key(key)
            async with database.connection(Tenant(presented.agency_id)) as connection:
                actor = await authenticate(connection, presented)
            async with database.session(actor.tenant) as session:
                workspace = await create_workspace(
                    session, actor, WorkspaceCreate(name=f"{name} client", time_zone=time_zone), now()
                )
            agencies.append(TestAgency(actor, key, workspace))
        agencies[0].sibling, agencies[1].sibling = agencies[1], agencies[0]
        return agencies[0]

    return make


@pytest.fixture
async def agency(make_agency: MakeAgency) -> TestAgency:
    """One agency in test mode."""
    return await make_agency("First")


@pytest.fixture
async def other(make_agency: MakeAgency) -> TestAgency:
    """Another agency in test mode, whose things the first must never see."""
    return await make_agency("Second")


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application with its lifespan running."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


def client_of(app: FastAPI, key: str | None) -> httpx2.AsyncClient:
    """A client that speaks to the application in process, as the holder of `key`."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://octavo.test", headers=headers)


@pytest.fixture
async def client(app: FastAPI, agency: TestAgency) -> AsyncIterator[httpx2.AsyncClient]:
    """The first agency's client."""
    async with client_of(app, agency.key) as client:
        yield client


@pytest.fixture
async def stranger(app: FastAPI, other: TestAgency) -> AsyncIterator[httpx2.AsyncClient]:
    """The other agency's client."""
    async with client_of(app, other.key) as client:
        yield client


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Platform:
    """The whole of Octavo in this process: HTTP on a real port, and workers that work when they are told to."""

    app: FastAPI
    url: str
    context: Context

    def client(self, key: str) -> httpx2.AsyncClient:
        """A client over real HTTP."""
        return httpx2.AsyncClient(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    async def work(self, *kinds: str) -> int:
        """Run every duty that is due now, as scheduler and worker would. Returns how many batches there were."""
        rounds = idle = 0
        while idle < 2:
            ran = False
            for kind in kinds or ("publish", "refresh_token"):
                async with self.context.duties_pool.acquire() as db:
                    claimed = await duties.claim(db, kind, 100, self.context.settings.lease, 1_000)
                if claimed:
                    await run_batch(self.context, kind, claimed)
                    ran = True
                    rounds += 1
            if not ran:
                idle += 1
                await asyncio.sleep(0.05)  # what is due at once is due by the database's clock, some milliseconds from now
        return rounds

    async def let_pass(self, seconds: float) -> None:
        """Move every instant that something waits for into the past, as if `seconds` had gone by."""
        async with self.context.duties_pool.acquire() as db:
            await db.execute("update duties set due_at = due_at - make_interval(secs => $1)", seconds)


@pytest.fixture
async def platform(settings: Settings) -> AsyncIterator[Platform]:
    """API under uvicorn on loopback, and a worker's context."""
    port = free_port()
    settings = settings.model_copy(update={"port": port, "public_url": f"http://127.0.0.1:{port}"})
    app = create_app(settings)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False, loop="asyncio")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined,method-assign]  # pytest's own stay
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    context = await open_context(settings)
    yield Platform(app, f"http://127.0.0.1:{port}", context)
    await context.close()
    server.should_exit = True
    await task


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs foreign programs where there are none; where all must run, nothing is skipped."""
    if os.environ.get("OCTAVO_REQUIRE_ALL"):
        return
    for item in items:
        marker = item.get_closest_marker("real")
        folder = marker.args[0] if marker and marker.args else "OCTAVO_REAL_SERVERS"
        if marker and not os.environ.get(folder):
            item.add_marker(pytest.mark.skip(reason=f"{folder} names no folder of what this test needs"))
