"""The daily cleanup: what has expired goes, what has not stays, and a second run finds nothing."""

from datetime import timedelta

from core import duties
from core.clock import now
from tests.conftest import Platform, TestAgency
from workers.duties import run_batch


async def test_what_has_expired_is_deleted_once_and_the_duty_comes_again(platform: Platform, agency: TestAgency) -> None:
    keys = {"old": now() - timedelta(days=1), "fresh": now() + timedelta(days=1)}
    async with platform.context.database.connection(agency.tenant) as db:
        for key, expires_at in keys.items():
            await db.execute(
                "insert into idempotency_records (agency_id, key, fingerprint, expires_at) values ($1, $2, 'x', $3)",
                agency.actor.agency_id, key, expires_at,
            )  # fmt: skip
    await platform.let_pass(2 * 86_400)
    for runs in (1, 0):
        async with platform.context.duties_pool.acquire() as db:
            claimed = await duties.claim(db, "cleanup", 100, platform.context.settings.lease, 100)
        assert (len(claimed) > 0) == (runs == 1)
        await run_batch(platform.context, "cleanup", claimed)
    async with platform.context.database.connection(agency.tenant) as db:
        assert [row["key"] for row in await db.fetch("select key from idempotency_records")] == ["fresh"]
        assert await db.fetchval("select due_at > now() from duties where kind = 'cleanup'")
