"""Late duties: every worker takes them straight from the database, so that a dead broker costs only delay."""

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta

import asyncpg

from core import duties
from workers.context import Context
from workers.duties import run_batch
from workers.kinds import QUEUES

log = logging.getLogger("octavo.worker")


async def take_late(context: Context, stopping: asyncio.Event) -> None:
    """Run in every worker: take duties that are late straight from the database, so that a dead broker costs only delay."""
    late = timedelta(seconds=context.settings.fallback_after_s)
    while not stopping.is_set():
        taken = 0
        for kind in QUEUES:
            try:
                async with context.duties_pool.acquire() as db:
                    claimed = await duties.claim(
                        db, kind, context.settings.batch_size, context.settings.lease,
                        context.settings.duties_queued, late,
                    )  # fmt: skip
                taken += len(claimed)
                if claimed:
                    await run_batch(context, kind, claimed)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("database away", extra={"error": type(error).__name__})
        if taken == 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), context.settings.poll_s)
