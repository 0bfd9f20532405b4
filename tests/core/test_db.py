"""The database: what many ask for at once is opened once."""

import asyncio

import asyncpg
import pytest

from core.db import Database, raw, undo
from core.settings import Settings
from tests.conftest import TestAgency


async def test_those_who_ask_at_once_for_the_first_connection_share_one_pool(settings: Settings) -> None:
    database = Database(settings)
    pools = await asyncio.gather(*(database.pool() for _ in range(5)))
    assert len(set(map(id, pools))) == 1
    await database.close()


async def test_a_session_does_not_end_its_transaction_by_itself(database: Database, agency: TestAgency) -> None:
    for end in ("commit", "rollback"):
        with pytest.raises(RuntimeError):
            async with database.session(agency.tenant) as session:
                await getattr(session, end)()


async def test_a_look_that_is_undone_leaves_nothing_and_frees_its_connection(database: Database, agency: TestAgency) -> None:
    change = "update workspaces set name = 'undone' where agency_id = $1"
    for _ in range(20):  # more than the pool has
        async with database.session(agency.tenant) as session:
            await raw(session).execute(change, agency.tenant.agency_id)
            await undo(session)
    async with database.session(agency.tenant) as session:
        assert not await raw(session).fetchval("select count(*) from workspaces where name = 'undone'")


async def test_sessions_outlive_a_database_that_closed_their_connections(
    settings: Settings, database: Database, agency: TestAgency
) -> None:
    async with database.session(agency.tenant) as one, database.session(agency.tenant) as another:
        pids = [await raw(each).fetchval("select pg_backend_pid()") for each in (one, another)]
    owner = await asyncpg.connect(settings.app_url)
    for pid in pids:
        await owner.execute("select pg_terminate_backend($1)", pid)
    await owner.close()
    await asyncio.sleep(0.1)  # the end of a connection is heard of by its own socket
    for _ in range(3):
        async with database.session(agency.tenant) as session:
            assert await raw(session).fetchval("select count(*) from workspaces") >= 1
