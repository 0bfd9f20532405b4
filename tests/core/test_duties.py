"""Duties: claimed once, fairly, one at a time per serial key; nothing is lost, and no stale worker records anything."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from core import duties
from core.clock import now
from core.db import Database, Tenant
from core.duties import Claimed
from core.ids import new_id
from core.pool import open_pool
from core.settings import Settings
from tests.conftest import TestAgency

LEASE = timedelta(seconds=60)
MANY = 10_000


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the role that sees duties only."""
    pool = await open_pool(settings.worker_url, settings, size=1)
    async with pool.acquire() as connection:
        yield connection
    await pool.close()


async def put(database: Database, agency: UUID, count: int, *, serial: UUID | None = None, late_s: float = 1.0) -> list[UUID]:
    ids = [new_id() for _ in range(count)]
    async with database.connection(Tenant(agency)) as db:
        await duties.put(db, "publish", agency, [(id, now() - timedelta(seconds=late_s), serial) for id in ids], now())
    return ids


async def claim(worker: asyncpg.Connection, limit: int = 100, lease: timedelta = LEASE) -> list[Claimed]:
    return await duties.claim(worker, "publish", limit, lease, MANY)


async def test_a_due_duty_is_claimed_once_by_many_claimers(database: Database, settings: Settings, agency: TestAgency) -> None:
    ids = await put(database, agency.actor.agency_id, 300)
    pool = await open_pool(settings.worker_url, settings, size=8)

    async def claimer() -> list[Claimed]:
        mine: list[Claimed] = []
        async with pool.acquire() as db:
            while rows := await claim(db, 7):
                mine += rows
        return mine

    claimed = [row.subject_id for rows in await asyncio.gather(*(claimer() for _ in range(8))) for row in rows]
    await pool.close()
    assert sorted(claimed) == sorted(ids)


async def test_what_is_not_due_is_not_claimed(database: Database, worker: asyncpg.Connection, agency: TestAgency) -> None:
    await put(database, agency.actor.agency_id, 3, late_s=-3600)
    assert await claim(worker) == []


async def test_one_post_of_a_quiet_agency_is_not_behind_a_thousand_of_a_noisy_one(
    database: Database, worker: asyncpg.Connection, agency: TestAgency, other: TestAgency
) -> None:
    await put(database, agency.actor.agency_id, 1_500, late_s=100)
    first = await claim(worker, 10)
    await put(database, other.actor.agency_id, 1)
    second = await claim(worker, duties.TURN_SIZE)
    assert {row.agency_id for row in first} == {agency.actor.agency_id}
    assert other.actor.agency_id in {row.agency_id for row in second}


async def test_agencies_take_turns(database: Database, worker: asyncpg.Connection, agency: TestAgency, other: TestAgency) -> None:
    size = duties.TURN_SIZE
    await put(database, agency.actor.agency_id, 3 * size, late_s=10)
    await put(database, other.actor.agency_id, 3 * size)
    for _ in range(3):
        counts = [row.agency_id for row in await claim(worker, 2 * size)]
        assert counts.count(agency.actor.agency_id) == counts.count(other.actor.agency_id) == size


async def test_an_account_has_one_duty_in_flight_and_the_next_follows_when_it_ends(
    database: Database, worker: asyncpg.Connection, agency: TestAgency
) -> None:
    account = new_id()
    ids = await put(database, agency.actor.agency_id, 5, serial=account)
    done: list[UUID] = []
    while rows := await claim(worker):
        assert len(rows) == 1
        async with database.connection(agency.tenant) as db:
            started = await duties.start(db, "publish", rows, LEASE)
            done += await duties.finish(db, "publish", [(row["subject_id"], row["fence"]) for row in started])
    assert done == ids


async def test_a_batch_delivered_twice_starts_once(database: Database, worker: asyncpg.Connection, agency: TestAgency) -> None:
    await put(database, agency.actor.agency_id, 3)
    rows = await claim(worker)
    async with database.connection(agency.tenant) as db:
        assert len(await duties.start(db, "publish", rows, LEASE)) == 3
        assert await duties.start(db, "publish", rows, LEASE) == []


async def test_a_worker_that_lost_its_lease_changes_nothing(
    database: Database, worker: asyncpg.Connection, agency: TestAgency
) -> None:
    await put(database, agency.actor.agency_id, 1)
    rows = await claim(worker, lease=timedelta(milliseconds=1))
    await asyncio.sleep(0.05)
    again = await claim(worker)
    assert [row.subject_id for row in again] == [row.subject_id for row in rows]
    stale = [(rows[0].subject_id, rows[0].fence)]
    async with database.connection(agency.tenant) as db:
        assert await duties.finish(db, "publish", stale) == set()
        assert await duties.postpone(db, "publish", [(*stale[0], now())]) == set()
        assert await duties.finish(db, "publish", [(again[0].subject_id, again[0].fence)]) == {again[0].subject_id}


async def test_another_agency_can_end_nothing(
    database: Database, worker: asyncpg.Connection, agency: TestAgency, other: TestAgency
) -> None:
    await put(database, agency.actor.agency_id, 1)
    (row,) = await claim(worker)
    async with database.connection(other.tenant) as db:
        assert await duties.start(db, "publish", [row], LEASE) == []
        assert await duties.finish(db, "publish", [(row.subject_id, row.fence)]) == set()
        await duties.drop(db, "publish", [row.subject_id])
    assert await worker.fetchval("select count(*) from duties where kind = 'publish'") == 1


async def test_the_workers_role_sees_duties_and_nothing_else(worker: asyncpg.Connection, agency: TestAgency) -> None:
    for table in ("posts", "publications", "connections", "api_keys", "agencies", "workspaces", "agency_keys"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await worker.fetch(f"select * from {table}")


async def test_no_more_are_leased_than_may_wait_for_a_worker(
    database: Database, worker: asyncpg.Connection, agency: TestAgency
) -> None:
    await put(database, agency.actor.agency_id, 20)
    first = await duties.claim(worker, "publish", 100, LEASE, 8)
    assert len(first) == 8
    assert await duties.claim(worker, "publish", 100, LEASE, 8) == []
    async with database.connection(agency.tenant) as db:
        await duties.start(db, "publish", first, LEASE)
    assert len(await duties.claim(worker, "publish", 100, LEASE, 8)) == 8


async def test_a_busy_account_with_a_long_queue_hides_no_other(
    database: Database, worker: asyncpg.Connection, agency: TestAgency, other: TestAgency
) -> None:
    account, quiet = new_id(), new_id()
    await put(database, agency.actor.agency_id, duties.FEW + 10, serial=account, late_s=100)
    (first,) = await claim(worker)
    (behind,) = await put(database, agency.actor.agency_id, 1, serial=quiet)
    without = await put(database, agency.actor.agency_id, 2)
    (elsewhere,) = await put(database, other.actor.agency_id, 1, serial=new_id())
    rows = await claim(worker)
    assert {row.subject_id for row in rows} == {behind, elsewhere, *without}
    assert first.subject_id not in {row.subject_id for row in rows}


async def test_with_many_due_busy_accounts_fill_no_look(database: Database, worker: asyncpg.Connection, agency: TestAgency) -> None:
    busy = [new_id() for _ in range(250)]
    for turn in range(2):
        async with database.connection(agency.tenant) as db:
            rows = [(new_id(), now() - timedelta(seconds=100), account) for account in busy]
            await duties.put(db, "publish", agency.actor.agency_id, rows, now())
        if turn == 0:
            assert len(await claim(worker, 250)) == 250
    await put(database, agency.actor.agency_id, duties.FEW, serial=busy[0], late_s=50)
    (idle,) = await put(database, agency.actor.agency_id, 1, serial=new_id())
    assert [row.subject_id for row in await claim(worker)] == [idle]


async def test_what_is_moved_while_a_claim_looks_is_not_leased(
    database: Database, worker: asyncpg.Connection, agency: TestAgency
) -> None:
    (moved,) = await put(database, agency.actor.agency_id, 1)
    slow = duties.CLAIM_OF_FEW.replace(
        "ours as materialized (", "pause as materialized (select pg_sleep(0.5)), ours as materialized ("
    )
    slow = slow.replace("from chosen c\n", "from (select chosen.* from chosen, pause) c\n")
    assert slow.count("pause") == 2
    claiming = asyncio.create_task(worker.fetch(slow, "publish", 10, MANY, LEASE, timedelta(0)))
    await asyncio.sleep(0.1)
    async with database.connection(agency.tenant) as db:
        await duties.put(db, "publish", agency.actor.agency_id, [(moved, now() + timedelta(days=1), None)], now())
    assert await claiming == []


async def test_with_many_due_every_account_has_its_oldest_first(
    database: Database, worker: asyncpg.Connection, agency: TestAgency
) -> None:
    accounts = [new_id() for _ in range(3)]
    oldest = set()
    for account in accounts:
        await put(database, agency.actor.agency_id, duties.FEW // 2, serial=account, late_s=10)
        oldest.update(await put(database, agency.actor.agency_id, 1, serial=account, late_s=50))
    assert {row.subject_id for row in await claim(worker)} == oldest
    assert await claim(worker) == []


async def test_small_parts_are_handed_on_before_large_ones_of_the_same_turn(
    database: Database, worker: asyncpg.Connection, agency: TestAgency, other: TestAgency
) -> None:
    await put(database, agency.actor.agency_id, 2 * duties.TURN_SIZE, late_s=100)
    (one,) = await put(database, other.actor.agency_id, 1)
    assert (await claim(worker, 3 * duties.TURN_SIZE))[0].subject_id == one


async def test_the_oldest_late_duty_is_named(database: Database, worker: asyncpg.Connection, agency: TestAgency) -> None:
    assert await duties.oldest_due(worker, "publish") is None
    (old,) = await put(database, agency.actor.agency_id, 1, late_s=500)
    await put(database, agency.actor.agency_id, 5)
    await claim(worker, 2)
    late = await duties.oldest_due(worker, "publish")
    assert late is not None
    assert late.subject_id == old


async def test_a_moved_duty_takes_the_lease_from_whoever_had_it(
    database: Database, worker: asyncpg.Connection, agency: TestAgency
) -> None:
    (id,) = await put(database, agency.actor.agency_id, 1)
    (row,) = await claim(worker)
    async with database.connection(agency.tenant) as db:
        await duties.put(db, "publish", agency.actor.agency_id, [(id, now() + LEASE, None)], now())
        assert await duties.start(db, "publish", [row], LEASE) == []
    assert await claim(worker) == []


async def test_only_beginnings_without_an_end_count_towards_poison(
    database: Database, worker: asyncpg.Connection, agency: TestAgency
) -> None:
    await put(database, agency.actor.agency_id, 1)
    for _ in range(5):
        await duties.release(worker, "publish", await claim(worker))
    (row,) = await claim(worker)
    async with database.connection(agency.tenant) as db:
        (begun,) = await duties.start(db, "publish", [row], LEASE)
        assert begun["starts"] == 1
        fence = await duties.renew(db, "publish", row._replace(fence=begun["fence"]), LEASE)
        assert fence == begun["fence"] + 1
        assert await duties.renew(db, "publish", row, LEASE) is None
        await duties.postpone(db, "publish", [(row.subject_id, fence, now() - LEASE)])
    (row,) = await claim(worker)
    async with database.connection(agency.tenant) as db:
        (again,) = await duties.start(db, "publish", [row], LEASE)
    assert again["starts"] == 1
