"""Erasure duties: an agency whose grace is over, or a workspace. What was done stays done, so a crash goes on where it was.

An agency goes in two sweeps. The first closes the door and deletes everything; the last, some minutes later, deletes what was
written by requests that had been let in before, and the agency's own row.
"""

import logging
from datetime import timedelta
from uuid import UUID

import asyncpg

from core import duties
from core.clock import now
from core.db import Tenant
from core.duties import Claimed, LeaseLost
from core.errors import TemporarilyUnavailable
from tenants.rights import closing, erasing
from tenants.rights.erasing import KIND
from workers.context import Context

log = logging.getLogger("octavo.erasing")
AGAIN = timedelta(minutes=1)
"""After the media store was away, or while the twin is not erased."""


async def run(context: Context, agency_id: UUID, claimed: list[Claimed]) -> None:
    """Erase each subject, one after the other. One that fails comes back with its lease."""
    for row in claimed:
        async with context.database.connection(Tenant(agency_id)) as db:
            started = await duties.start(db, KIND, [row], context.settings.lease)
        if not started:
            continue
        duty = row._replace(fence=started[0]["fence"])
        try:
            if row.subject_id == agency_id:
                await _agency(context, duty)
            else:
                await _workspace(context, duty)
        except LeaseLost:
            continue
        except TemporarilyUnavailable:
            await _later(context, duty, AGAIN)


async def _later(context: Context, duty: Claimed, wait: timedelta) -> None:
    async with context.database.connection(Tenant(duty.agency_id)) as db:
        await duties.postpone(db, KIND, [(duty.subject_id, duty.fence, now() + wait)])


async def _renewed(context: Context, duty: Claimed) -> Claimed:
    async with context.database.connection(Tenant(duty.agency_id)) as db:
        fence = await duties.renew(db, KIND, duty, context.settings.lease)
    if fence is None:
        raise LeaseLost
    return duty._replace(fence=fence)


async def _agency(context: Context, duty: Claimed) -> None:
    agency_id = duty.agency_id
    async with context.database.connection(Tenant(agency_id)) as db:
        try:
            last = await erasing.close_door(db, agency_id)
        except LookupError:
            await duties.finish(db, KIND, [(duty.subject_id, duty.fence)])
            return
    duty = await _sweep(context, duty, erasing.tables())
    await context.store.sweep(erasing.prefix(agency_id))
    duty = await _renewed(context, duty)
    if not last:
        await _later(context, duty, erasing.SETTLE)
        return
    await _people(context, agency_id)
    duty = await _renewed(context, duty)
    try:
        async with context.database.connection(Tenant(agency_id)) as db:
            await erasing.end_agency(db, agency_id)
    except asyncpg.ForeignKeyViolationError:
        await _later(context, duty, AGAIN)
    else:
        log.info("agency erased", extra={"agency_id": str(agency_id)})


async def _sweep(context: Context, duty: Claimed, tables: list[str], workspace_id: UUID | None = None) -> Claimed:
    """Delete the rows of all `tables`. Those that others still refer to wait for the next round."""
    left = tables
    while left:
        held: list[str] = []
        moved = False
        for table in left:
            duty = await _renewed(context, duty)
            try:
                while await _delete(context, table, duty.agency_id, workspace_id):
                    duty = await _renewed(context, duty)
                moved = True
            except asyncpg.ForeignKeyViolationError:
                held.append(table)
        if held and not moved:
            raise RuntimeError(f"nothing of {', '.join(held)} can be deleted")
        left = held
    return duty


async def _delete(context: Context, table: str, agency_id: UUID, workspace_id: UUID | None) -> bool:
    async with context.database.connection(Tenant(agency_id)) as db:
        return await erasing.delete_some(db, table, agency_id, workspace_id)


async def _people(context: Context, agency_id: UUID) -> None:
    while True:
        async with context.database.connection(Tenant(agency_id)) as db:
            people = await erasing.people_of(db, agency_id)
        for user_id in people:
            async with context.database.connection(Tenant(agency_id)) as db:
                await erasing.forget_person(db, agency_id, user_id)
        if not people:
            return


async def _workspace(context: Context, duty: Claimed) -> None:
    agency_id, workspace_id = duty.agency_id, duty.subject_id
    async with context.database.connection(Tenant(agency_id)) as db:
        if not await closing.is_erasable(db, agency_id, workspace_id):
            await duties.finish(db, KIND, [(workspace_id, duty.fence)])
            return
        await erasing.unplay(db, agency_id, workspace_id)
    tables = [one for one in erasing.tables(column="workspace_id") if one not in erasing.KEPT_OF_A_WORKSPACE]
    duty = await _sweep(context, duty, tables, workspace_id)
    await context.store.sweep(erasing.prefix(agency_id, workspace_id))
    duty = await _renewed(context, duty)
    async with context.database.connection(Tenant(agency_id)) as db:
        await closing.end_workspace(db, agency_id, workspace_id)
        await duties.finish(db, KIND, [(workspace_id, duty.fence)])
    log.info("workspace erased", extra={"agency_id": str(agency_id), "workspace_id": str(workspace_id)})
