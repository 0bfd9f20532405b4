"""The heartbeat: a duty like any other, so that its end proves scheduler, broker, worker and database together."""

import os
import socket
from datetime import timedelta
from uuid import UUID

from core import duties
from core.clock import now
from core.db import Tenant
from core.duties import Claimed
from workers.context import Context

KIND = "heartbeat"
BEAT = """
insert into heartbeats (kind, finished_at, worker) values ($1, now(), $2)
on conflict (kind) do update set finished_at = now(), worker = excluded.worker
"""


async def run(context: Context, agency_id: UUID, claimed: list[Claimed]) -> None:
    """Write down that a worker was here, and come again."""
    again = now() + timedelta(seconds=context.settings.heartbeat_s)
    async with context.database.connection(Tenant(agency_id)) as db:
        started = await duties.start(db, KIND, claimed, context.settings.lease)
        await duties.postpone(db, KIND, [(row["subject_id"], row["fence"], again) for row in started])
        if started:
            await db.execute(BEAT, KIND, f"{socket.gethostname()}/{os.getpid()}")
