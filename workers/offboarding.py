"""Closing a workspace, after its door was shut: cancel what is to come, take the authorisations back, and export what there is.

Each step is done in transactions of its own and finds nothing to do when it comes again. What is deleted, is deleted after the
grace (workers/erasing.py), and only when there was an export.
"""

import asyncio
import logging
from uuid import UUID

import asyncpg

from core.clock import now
from core.crypto import SealBroken
from core.db import Bare, Tenant, raw
from core.errors import Conflict, Missing
from networks.base import NetworkError, Revokes
from tenants.accounts import effects
from tenants.accounts.sealing import open_vault
from tenants.accounts.service import disconnect
from tenants.operations.service import actor_of
from tenants.permissions import Actor
from tenants.posts import release
from tenants.posts.service import cancel_post
from tenants.posts.states import CANCELLABLE
from tenants.rights import closing, exporting
from workers import exports
from workers.context import Context
from workers.exports import Done

log = logging.getLogger("octavo.offboarding")
COMING = sorted(CANCELLABLE - {"planned"})
"""What would go out by itself. A draft stays a draft, should the workspace be opened again."""


async def run(context: Context, agency_id: UUID, operation: asyncpg.Record, fence: int) -> Done:
    """Close a workspace as its operation says."""
    workspace_id, actor = operation["workspace_id"], actor_of(agency_id, operation)
    counts = {"cancelled": 0, "disconnected": 0, "revoked": 0}
    await _stop(context, actor, workspace_id, counts)
    key, summary = await exports.build(context, operation, agency_id, fence, None)
    await _stop(context, actor, workspace_id, counts)  # what a request wrote that had been let in before
    ends, erase_at = now() + exporting.KEEP, now() + closing.WORKSPACE_GRACE

    async def finish(db: Bare) -> None:
        await closing.begin_grace(db, agency_id, workspace_id, erase_at, now())

    archive = exports.told(operation, ends) | summary
    return Done(counts | {"archive": archive}, (key, ends), finish)


async def _stop(context: Context, actor: Actor, workspace_id: UUID, counts: dict[str, int]) -> None:
    counts["cancelled"] += await _cancel(context, actor, workspace_id)
    for name, count in (await _disconnect(context, actor, workspace_id)).items():
        counts[name] += count


async def _cancel(context: Context, actor: Actor, workspace_id: UUID) -> int:
    """Cancel every delivery that has not begun. One that is under way ends by itself: at an account without authorisation."""
    done, after = 0, None
    while True:
        async with context.database.connection(actor.tenant) as db:
            posts = await closing.posts_to_cancel(db, actor.agency_id, workspace_id, after, COMING)
        for post_id in posts:
            try:
                async with context.database.connection(actor.tenant) as db:
                    await cancel_post(db, actor, workspace_id, post_id, None, now())
                done += 1
            except (Conflict, Missing):
                continue
        if not posts:
            return done
        after = posts[-1]


async def _disconnect(context: Context, actor: Actor, workspace_id: UUID) -> dict[str, int]:
    """Take each authorisation back at the network where it can be, forget it here, and disconnect the account."""
    async with context.database.connection(actor.tenant) as db:
        rows = await closing.connected(db, actor.agency_id, workspace_id)
    counts = {"disconnected": 0, "revoked": 0}
    for row in rows:
        counts["revoked"] += await _revoke(context, actor, row)
        async with context.database.session(actor.tenant) as session:
            moment = now()
            _, effect = await disconnect(session, actor, workspace_id, row["id"], moment)
            if effect is not None:
                await effects.apply(release, raw(session), actor.agency_id, [effect], moment)
                counts["disconnected"] += 1
    return counts


async def _revoke(context: Context, actor: Actor, row: asyncpg.Record) -> bool:
    """Ask the network to end the authorisation. Whether it answers or not, nothing of it stays here."""
    network = context.networks.get(row["network"])
    if row["sealed"] is None or network is None:
        return False
    deadline_s = network.capabilities.call_deadline.total_seconds()
    if not isinstance(network, Revokes):
        return False
    try:
        async with context.database.connection(Tenant(actor.agency_id)) as db:
            credentials = (await open_vault(db, context.ring, actor.agency_id)).unseal(row["sealed"], row["connection_id"])
        async with asyncio.timeout(deadline_s):
            await network.revoke(credentials)
    except (NetworkError, SealBroken, TimeoutError) as error:
        log.warning("not revoked", extra={"network": row["network"], "error": type(error).__name__})
        return False
    return True
