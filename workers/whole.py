"""Operations that are no list of parts: they run as a whole, while their lease is renewed beside them.

Such work may be done twice without harm, and only who still has the lease at its end says that it is done.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import asyncpg

from core import duties
from core.clock import now
from core.db import Tenant
from core.duties import Claimed, LeaseLost
from core.errors import TemporarilyUnavailable
from tenants.operations.service import KIND, end, load, move
from tenants.rights import closing, exporting
from workers import exports, offboarding
from workers.context import Context
from workers.exports import Done

log = logging.getLogger("octavo.operations")
AGAIN = timedelta(seconds=30)
"""After the media store was away."""
WORKS: dict[str, Callable[[Context, UUID, asyncpg.Record, int], Awaitable[Done]]] = {
    exporting.OF_AGENCY: exports.run,
    exporting.OF_WORKSPACE: exports.run,
    closing.KIND: offboarding.run,
}
"""Kind of operation -> its work, given the operation and the fence that it began with."""


async def run(context: Context, agency_id: UUID, row: asyncpg.Record, claimed: Claimed) -> None:
    """Do one operation, and end it in one transaction with its duty."""
    task = asyncio.ensure_future(WORKS[row["kind"]](context, agency_id, row, claimed.fence))
    try:
        claimed = await _while_leased(context, task, claimed)
        done = task.result()
        async with context.database.connection(Tenant(agency_id)) as db:
            if done.finish is not None:
                await done.finish(db)
            await move(db, agency_id, row["id"], 1, 1, done.result)
            if not await end(db, agency_id, row, claimed.fence, "succeeded", {}, kept=done.kept):
                raise LeaseLost
    except TemporarilyUnavailable:
        async with context.database.connection(Tenant(agency_id)) as db:
            # By the fence of the last renewal: whoever has the duty by now keeps it
            await duties.postpone(db, KIND, [(claimed.subject_id, claimed.fence, now() + AGAIN)])
    except LeaseLost:
        log.info("lease lost", extra={"kind": row["kind"], "agency_id": str(agency_id)})
        await _stop(task)
        await _clear(context, agency_id, row)
    finally:
        await _stop(task)


async def _stop(task: "asyncio.Future[Done]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _clear(context: Context, agency_id: UUID, row: asyncpg.Record) -> None:
    """Take away what was stored for an operation that is gone with its workspace: nobody comes to do it again."""
    async with context.database.connection(Tenant(agency_id)) as db:
        gone = await load(db, agency_id, row["id"]) is None
    if gone:
        await context.store.sweep(exporting.folder(agency_id, row["workspace_id"], row["id"]))


async def _while_leased(context: Context, task: "asyncio.Future[Done]", claimed: Claimed) -> Claimed:
    while True:
        await asyncio.wait({task}, timeout=context.settings.lease_s / 3)
        if task.done():
            return claimed
        async with context.database.connection(Tenant(claimed.agency_id)) as db:
            fence = await duties.renew(db, KIND, claimed, context.settings.lease)
        if fence is None:
            raise LeaseLost
        claimed = claimed._replace(fence=fence)
