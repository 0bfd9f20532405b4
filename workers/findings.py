"""Findings: once a day and agency, everything that is scheduled is looked at again."""

from datetime import timedelta
from uuid import UUID

from core import duties
from core.clock import now
from core.db import Tenant
from core.duties import Claimed
from tenants.permissions import Actor
from tenants.posts.nightly import Place, look
from workers.context import Context

KIND = "findings"
EVERY = timedelta(days=1)
PAGE = 100
"""Posts of one transaction."""
START: Place = (UUID(int=0), UUID(int=0))


async def run(context: Context, agency_id: UUID, claimed: list[Claimed]) -> None:
    """Look at every post to come, a page in one transaction. A crash begins anew, and what was told is not told again."""
    async with context.database.connection(Tenant(agency_id)) as db:
        started = await duties.start(db, KIND, claimed, context.settings.lease)
        if not started:
            return
        livemode = await db.fetchval("select livemode from agencies where id = $1", agency_id)
    actor = Actor(agency_id, "", bool(livemode), UUID(int=0), "octavo")
    duty = Claimed(agency_id, started[0]["subject_id"], started[0]["fence"])
    after: Place | None = START
    while after is not None:
        async with context.database.connection(Tenant(agency_id)) as db:
            fence = await duties.renew(db, KIND, duty, context.settings.lease)
            if fence is None:
                return
            duty = duty._replace(fence=fence)
            after = await look(db, actor, context.networks, after, PAGE, now())
    async with context.database.connection(Tenant(agency_id)) as db:
        await duties.postpone(db, KIND, [(duty.subject_id, duty.fence, now() + EVERY)])
