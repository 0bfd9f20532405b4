"""Late duties: every worker takes them straight from the database, so that a dead broker costs only delay."""

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta

import asyncpg

from core import duties
from tenants.posts.delivery import KIND
from workers.context import Context
from workers.duties import run_batch
from workers.kinds import QUEUES

log = logging.getLogger("octavo.worker")
LOOK_EVERY_S = 2.0


async def take_late(context: Context, stopping: asyncio.Event) -> None:
    """Run in every worker until `stopping`; each kind by itself, so that a slow one holds up no other."""
    await asyncio.gather(*(_take(context, kind, stopping) for kind in QUEUES))


async def take_waiting(context: Context) -> None:
    """Publish a first batch of what is due when a worker comes up, before there is a broker to bring it."""
    claimed = await _claim(context, KIND, timedelta(0))
    if claimed:
        await run_batch(context, KIND, claimed)


async def _take(context: Context, kind: str, stopping: asyncio.Event) -> None:
    late = timedelta(seconds=context.settings.fallback_after_s)
    while not stopping.is_set():
        claimed = await _claim(context, kind, late)
        if claimed:
            await run_batch(context, kind, claimed)
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK_EVERY_S)


async def _claim(context: Context, kind: str, late: timedelta) -> list[duties.Claimed]:
    settings = context.settings
    try:
        async with context.duties_pool.acquire() as db:
            return await duties.claim(db, kind, settings.batch_size, settings.lease, settings.duties_queued, late)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        log.warning("database away", extra={"error": type(error).__name__})
        return []
