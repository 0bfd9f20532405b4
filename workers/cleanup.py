"""Cleanup: once an hour and agency. What has expired is deleted, and what the duties cannot see is mended.

A publication whose state waits for a worker must have a duty, and one that is blocked for its account must not stay so
when the account is well. Both hold by construction; if a defect breaks them, this finds it, mends it and says so.
"""

import logging
from datetime import timedelta
from uuid import UUID

import asyncpg

from core import duties
from core.clock import now
from core.db import Tenant
from core.duties import Claimed
from core.errors import TemporarilyUnavailable
from tenants.posts.delivery import KIND as PUBLISH
from tenants.posts.release import release
from tenants.rights.exporting import folder
from workers.context import Context
from workers.recording import ACCOUNT_REASONS

log = logging.getLogger("octavo.cleanup")
KIND = "cleanup"
EVERY = timedelta(hours=1)
DELETE_MAX = 5_000
"""Rows of one statement; it is repeated while it finds as many."""
MEND_MAX = 5_000
ARCHIVES_MAX = 100
"""Archives that are asked of the store between two transactions."""
EXPIRED = (
    "delete from idempotency_records where agency_id = $1 and key in (select key from idempotency_records"
    " where agency_id = $1 and expires_at < now() limit $2)",
    "delete from connect_sessions where agency_id = $1 and id in (select id from connect_sessions"
    " where agency_id = $1 and expires_at < now() - interval '1 day' limit $2)",
    "update connect_sessions set sealed_credentials = null, sealed_verifier = null where agency_id = $1 and id in ("
    " select id from connect_sessions where agency_id = $1 and expires_at < now()"
    " and (sealed_credentials is not null or sealed_verifier is not null) limit $2)",
    "delete from access_tokens where agency_id = $1 and id in (select id from access_tokens"
    " where agency_id = $1 and expires_at < now() limit $2)",
    "delete from refresh_tokens where agency_id = $1 and id in (select id from refresh_tokens"
    " where agency_id = $1 and expires_at < now() limit $2)",
    "delete from grants where agency_id = $1 and id in (select id from grants"
    " where agency_id = $1 and least(expires_at, revoked_at) < now() - interval '30 days' limit $2)",
    "delete from pushed_requests where agency_id = $1 and id in (select id from pushed_requests"
    " where agency_id = $1 and expires_at < now() limit $2)",
    "delete from application_secrets where agency_id = $1 and id in (select id from application_secrets"
    " where agency_id = $1 and expires_at < now() - interval '1 day' limit $2)",
    "delete from operations where agency_id = $1 and id in (select id from operations"
    " where agency_id = $1 and expires_at < now() and storage_key is null limit $2)",
    "delete from share_links where agency_id = $1 and id in (select id from share_links"
    " where agency_id = $1 and expires_at < now() - interval '90 days' limit $2)",
)
SWEEP_TRIES = "delete from password_tries"
"""Of no agency: the policy `old` lets go what nobody has touched for 90 days, and nothing else is seen here."""
ARCHIVES = """
select id, workspace_id from operations where agency_id = $1 and expires_at < now() and storage_key is not null limit $2
"""
FORGET = "delete from operations where agency_id = $1 and id = any($2::uuid[])"
FORGOTTEN = """
select d.id, coalesce(d.next_at, d.due_at, now()) due_at, d.account_id from publications d
where d.agency_id = $1 and d.state in ('scheduled', 'retry_wait', 'claimed', 'preparing', 'publishing', 'outcome_unknown',
    'unpublishing')
  and not exists (select 1 from duties u where u.agency_id = d.agency_id and u.kind = 'publish' and u.subject_id = d.id)
order by d.id limit $2 for update
"""
STUCK = """
select distinct d.account_id from publications d join accounts a on a.agency_id = d.agency_id and a.id = d.account_id
where d.agency_id = $1 and d.state = 'blocked' and d.block_reason = any($2::text[]) and a.state in ('active', 'expiring')
limit 1000
"""


async def run(context: Context, agency_id: UUID, claimed: list[Claimed]) -> None:
    """Delete what has expired and mend what is stuck. Running twice finds nothing more."""
    async with context.database.connection(Tenant(agency_id)) as db:
        started = await duties.start(db, KIND, claimed, context.settings.lease)
    if not started:
        return
    for statement in EXPIRED:
        while await _deleted(context, agency_id, statement) >= DELETE_MAX:
            pass
    await _archives(context, agency_id)
    async with context.database.connection(Tenant(agency_id)) as db:
        await _mend(db, agency_id)
        await db.execute(SWEEP_TRIES)
        await duties.postpone(db, KIND, [(row["subject_id"], row["fence"], now() + EVERY) for row in started])


async def _deleted(context: Context, agency_id: UUID, statement: str) -> int:
    async with context.database.connection(Tenant(agency_id)) as db:
        answer = await db.execute(statement, agency_id, DELETE_MAX)
    return int(answer.rpartition(" ")[2])


async def _archives(context: Context, agency_id: UUID) -> None:
    """Delete the archives of exports, each before the row that knows of it. A store that is away is asked in an hour."""
    while True:
        async with context.database.connection(Tenant(agency_id)) as db:
            rows = await db.fetch(ARCHIVES, agency_id, ARCHIVES_MAX)
        try:
            for row in rows:
                await context.store.sweep(folder(agency_id, row["workspace_id"], row["id"]))
        except TemporarilyUnavailable:
            return
        async with context.database.connection(Tenant(agency_id)) as db:
            await db.execute(FORGET, agency_id, [row["id"] for row in rows])
        if len(rows) < ARCHIVES_MAX:
            return


async def _mend(db: asyncpg.Connection, agency_id: UUID) -> None:
    forgotten = await db.fetch(FORGOTTEN, agency_id, MEND_MAX)
    if forgotten:
        log.error("publications had no duty", extra={"agency_id": str(agency_id), "count": len(forgotten)})
        await duties.put(db, PUBLISH, agency_id, [tuple(row) for row in forgotten], now())
    for row in await db.fetch(STUCK, agency_id, list(ACCOUNT_REASONS)):
        count = await release(db, agency_id, row["account_id"], ACCOUNT_REASONS, now())
        log.error("publications were blocked for an account that is well", extra={"agency_id": str(agency_id), "count": count})
