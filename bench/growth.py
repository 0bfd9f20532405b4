"""Growth: the same work on a small and on a large database, interleaved on one server."""

import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg

from bench.gates import Gate, Measured, quantile, ratios
from bench.seed import ACCOUNT_TABLE, FUTURE_S, Agency, add_posts, create_agencies, owners, settle
from bench.world import World, on, settings_of
from core import duties
from core.clock import now
from core.db import Database, Tenant
from core.filters import Filter
from core.settings import Settings
from migrations.run import migrate
from tenants.permissions import Actor
from tenants.posts import queries

SMALL = 10_000
PAGE = 50
PAGES = 40
CLAIMS = 10
BATCH = 100
LEASE = timedelta(seconds=90)
IN_FLIGHT = 1_000
KIND = "publish"
WAITING = "select count(*) from duties where kind = 'publish' and state = 'waiting'"
ACCOUNT_ROWS = """
insert into accounts (agency_id, workspace_id, id, network, external_id, name)
select a, w, uuidv7(), 'sandbox', 'always_ok-' || n, 'Account ' || n from unnest($1::uuid[], $2::uuid[], $3::int[]) x(a, w, n)
"""


@dataclass
class Subject:
    """One of the two databases."""

    database: Database
    worker: asyncpg.Connection
    agency: Agency
    waiting: int

    @property
    def actor(self) -> Actor:
        """A caller that sees everything of the agency."""
        return Actor(self.agency.id, "bench", livemode=False, key_id=uuid.UUID(int=1), key_name="bench")

    async def page(self) -> None:
        """Read a page of posts, as the route does."""
        async with self.database.connection(Tenant(self.agency.id)) as db:
            wanted = Filter(self.agency.id, self.agency.workspace_id)
            rows = await queries.list_posts(db, self.actor, self.agency.workspace_id, wanted, PAGE + 1)
            ids = [row["id"] for row in rows[:PAGE]]
            assert len(await queries.publications_of(db, self.agency.id, ids)) == PAGE
            await queries.variants_of(db, self.agency.id, ids)

    async def claim(self) -> float:
        """Claim and finish a batch that was put a moment ago. Returns the seconds without the putting."""
        tenant, due = Tenant(self.agency.id), now() - timedelta(seconds=1)
        async with self.database.connection(tenant) as db:
            await duties.put(db, KIND, self.agency.id, [(uuid.uuid4(), due, uuid.uuid4()) for _ in range(BATCH)], now())
        began = time.perf_counter()
        claimed = await duties.claim(self.worker, KIND, BATCH, LEASE, IN_FLIGHT)
        async with self.database.connection(tenant) as db:
            done = await duties.finish(db, KIND, [(row.subject_id, row.fence) for row in claimed])
        assert len(done) == BATCH
        return time.perf_counter() - began

    async def pages(self) -> float:
        """Milliseconds of a page, over some pages."""
        began = time.perf_counter()
        for _ in range(PAGES):
            await self.page()
        return 1_000 * (time.perf_counter() - began) / PAGES

    async def claims(self) -> float:
        """Microseconds per duty, over some batches: the median of them."""
        return 1e6 * quantile([await self.claim() for _ in range(CLAIMS)], 0.5) / BATCH


async def measure(world: World) -> list[Measured]:
    """Grow the one, make the other, and go back and forth between them."""
    world.say(f"growth: seeding up to {world.size.growth:,} posts")
    small_settings, small_agencies, small_root = await _small(world)
    async with world.root() as db:
        missing = world.size.growth - await db.fetchval(WAITING)
        if missing > 0:
            await db.execute("set session_replication_role = replica")  # the foreign keys of the seed hold by its making
            await add_posts(db, missing, time.time() + FUTURE_S, 0.01)
            await db.execute("set session_replication_role = origin")
        await settle(db)
        waiting = await db.fetchval(WAITING)
    world.say(f"growth: {SMALL:,} against {waiting:,}")
    async with AsyncExitStack() as stack:
        small = await _subject(stack, small_settings, small_agencies[0], SMALL)
        large = await _subject(stack, world.settings, world.agencies[0], waiting)
        claims = await _rounds(world, small, large, Subject.claims)
        pages = await _rounds(world, small, large, Subject.pages)
    await small_root.close()
    return [
        _measured(Gate.CLAIM_GROWTH, waiting, *claims, "us a duty"),
        _measured(Gate.PAGE_GROWTH, waiting, *pages, "ms a page"),
    ]


async def _small(world: World) -> tuple[Settings, list[Agency], asyncpg.Connection]:
    async with world.root() as db:
        await db.execute("create database bench_small owner octavo")
    settings = settings_of(on(world.settings.database_url, database="bench_small"), Path(world.settings.home))
    await migrate(settings)
    agencies = await create_agencies(settings)
    root = await asyncpg.connect(on(world.root_url, database="bench_small"))
    of = owners(agencies)
    await root.execute(ACCOUNT_ROWS, [one.id for one in of], [one.workspace_id for one in of], list(range(len(of))))
    await root.execute(ACCOUNT_TABLE)
    await add_posts(root, SMALL, time.time() + FUTURE_S, 1.0)
    await settle(root)
    return settings, agencies, root


async def _subject(stack: AsyncExitStack, settings: Settings, agency: Agency, waiting: int) -> Subject:
    database, worker = Database(settings), await asyncpg.connect(settings.worker_url, server_settings={"jit": "off"})
    stack.push_async_callback(database.close)
    stack.push_async_callback(worker.close)
    subject = Subject(database, worker, agency, waiting)
    for _ in range(CLAIMS):
        await subject.page()
        await subject.claim()
    return subject


async def _rounds(
    world: World, small: Subject, large: Subject, work: Callable[[Subject], Awaitable[float]]
) -> tuple[list[float], list[float]]:
    of_small: list[float] = []
    of_large: list[float] = []
    for number in range(world.size.growth_rounds):
        for subject in (small, large) if number % 2 == 0 else (large, small):
            (of_small if subject is small else of_large).append(await work(subject))
    return of_small, of_large


def _measured(gate: Gate, waiting: int, small: list[float], large: list[float], unit: str) -> Measured:
    note = f"{quantile(large, 0.5):,.2f} {unit} at {waiting:,} / {quantile(small, 0.5):,.2f} at {SMALL:,}"
    details: dict[str, Any] = {"small": small, "large": large, "rows": waiting, "unit": unit}
    return Measured(gate, ratios(large, small), note, details)
