"""Sealing of the audit log: each agency has one duty, which chains the entries that were written since it came last.

While an agency writes, it comes every few seconds, then less and less often; a write brings it near again (`entries.WAKE`).
"""

from datetime import timedelta
from uuid import UUID

import asyncpg

from core import duties
from core.clock import now
from core.db import Tenant
from core.duties import Claimed
from tenants.accounts.sealing import open_vault
from tenants.audit.chain import SEAL_MAX, chain_key, last_seal, seal
from tenants.audit.entries import KIND
from workers.context import Context

SOON = timedelta(seconds=2)
"""After it found something: so long an entry waits for its seal."""
CALM = timedelta(seconds=10)
"""After it found nothing while the last seal is young: who was writing at that moment has committed by then."""
IDLE = timedelta(minutes=5)
"""Otherwise."""
YOUNG = timedelta(minutes=1)


async def run(context: Context, agency_id: UUID, claimed: list[Claimed]) -> None:
    """Chain what waits, a page in one transaction with the lease. Running twice seals nothing twice."""
    async with context.database.connection(Tenant(agency_id)) as db:
        started = await duties.start(db, KIND, claimed, context.settings.lease)
    if not started:
        return
    duty, total = Claimed(agency_id, started[0]["subject_id"], started[0]["fence"]), 0
    while True:
        async with context.database.connection(Tenant(agency_id)) as db:
            fence = await duties.renew(db, KIND, duty, context.settings.lease)
            if fence is None:
                return
            duty = duty._replace(fence=fence)
            vault = await open_vault(db, context.ring, agency_id)
            sealed = await seal(db, chain_key(agency_id, vault.data_key), agency_id)
            total += sealed
            if sealed < SEAL_MAX:
                await duties.postpone(db, KIND, [(duty.subject_id, fence, now() + await _pause(db, agency_id, total))])
                return


async def _pause(db: asyncpg.Connection, agency_id: UUID, total: int) -> timedelta:
    if total:
        return SOON
    last = await last_seal(db, agency_id)
    return CALM if last is not None and last["sealed_at"] > now() - YOUNG else IDLE
