"""Cleanup: once a day and agency, what has expired is deleted."""

from datetime import timedelta
from uuid import UUID

from core import duties
from core.clock import now
from core.db import Tenant
from core.duties import Claimed
from workers.context import Context

KIND = "cleanup"
EVERY = timedelta(days=1)
DELETE_MAX = 50_000
EXPIRED = (
    "delete from idempotency_records where agency_id = $1 and key in (select key from idempotency_records"
    " where agency_id = $1 and expires_at < now() limit $2)",
    "delete from connect_sessions where agency_id = $1 and id in (select id from connect_sessions"
    " where agency_id = $1 and expires_at < now() - interval '1 day' limit $2)",
)


async def run(context: Context, agency_id: UUID, claimed: list[Claimed]) -> None:
    """Delete what has expired. Running twice deletes nothing more."""
    async with context.database.connection(Tenant(agency_id)) as db:
        started = await duties.start(db, KIND, claimed, context.settings.lease)
        if not started:
            return
        for statement in EXPIRED:
            await db.execute(statement, agency_id, DELETE_MAX)
        await duties.postpone(db, KIND, [(row["subject_id"], row["fence"], now() + EVERY) for row in started])
