"""The database: what many ask for at once is opened once."""

import asyncio

from core.db import Database
from core.settings import Settings


async def test_those_who_ask_at_once_for_the_first_connection_share_one_pool(settings: Settings) -> None:
    database = Database(settings)
    pools = await asyncio.gather(*(database.pool() for _ in range(5)))
    assert len(set(map(id, pools))) == 1
    await database.close()
