"""Recording of what the calls brought, and what it says about the account behind them.

An answer in hand must not become an unknown outcome because of its neighbours: while the database is away the record is
tried again, and an answer that cannot be written is written alone, as a question to a person.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import asyncpg

from core import metrics
from core.clock import now
from core.db import Tenant
from tenants.accounts.losing import lose
from tenants.accounts.tokens import ask_refresh
from tenants.posts.delivery import Change, record
from tenants.posts.moves import Conflicting
from tenants.posts.release import hold, release
from tenants.posts.states import decide
from tenants.posts.work import HINDRANCES, Job
from workers.context import Context

log = logging.getLogger("octavo.publishing")
DELAYS_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 10.0)
"""Waits before each try. What is not recorded when the lease ends is found out from the network."""
AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""The database is away, full, over its time, or undid a deadlock: the same again may work."""
USABLE = ("active", "expiring")
ACCOUNT_REASONS = frozenset(HINDRANCES.values())
STATE = "select state from accounts where agency_id = $1 and id = $2"


async def write(context: Context, agency_id: UUID, changes: Sequence[Change], jobs: Mapping[UUID, Job]) -> None:
    """Record what has come in, together; one that cannot be recorded is recorded alone."""
    if not changes:
        return
    kept = await _tried(context, agency_id, changes)
    metrics_of(kept, jobs)
    await tell_accounts(context, agency_id, kept, jobs)


async def _tried(context: Context, agency_id: UUID, changes: Sequence[Change]) -> list[Change]:
    for delay in DELAYS_S:
        await asyncio.sleep(delay)
        try:
            async with context.database.connection(Tenant(agency_id)) as db:
                return await record(db, agency_id, changes)
        except AWAY as error:
            log.warning("record waits", extra={"error": type(error).__name__, "count": len(changes)})
        except asyncpg.PostgresError as error:
            log.warning("record refused", extra={"error": type(error).__name__, "count": len(changes)})
            return await _one_by_one(context, agency_id, changes, type(error).__name__)
    log.error("record given up; the leases run out and the network is asked", extra={"count": len(changes)})
    return []


async def _one_by_one(context: Context, agency_id: UUID, changes: Sequence[Change], reason: str) -> list[Change]:
    if len(changes) > 1:
        return [kept for change in changes for kept in await _tried(context, agency_id, [change])]
    (change,) = changes
    asked = change._replace(decision=decide(change.before, Conflicting(reason), now()))
    async with context.database.connection(Tenant(agency_id)) as db:
        return await record(db, agency_id, [asked])


def metrics_of(changes: Iterable[Change], jobs: Mapping[UUID, Job]) -> None:
    """Count what publications became."""
    for change in changes:
        row = change.decision.delivery
        late = (row.published_at - row.due_at).total_seconds() if row.published_at and row.due_at else None
        metrics.delivered(jobs[change.id].network, row.state, late if row.state == "published" else None)


async def tell_accounts(context: Context, agency_id: UUID, changes: Iterable[Change], jobs: Mapping[UUID, Job]) -> None:
    """Tell accounts what calls said about their authorisation, and let go what was blocked by a state that has passed.

    Apart from the record, because others lock the account first and the duties then. What is lost with the process here
    is heard again at the next call, or mended by the hourly upkeep.
    """
    for change in changes:
        decision, job = change.decision, jobs[change.id]
        blocked = decision.delivery.state == "blocked"
        if not (decision.account_lost or decision.refresh_token or blocked):
            continue
        try:
            async with context.database.connection(Tenant(agency_id)) as db:
                await _tell(db, agency_id, change, job)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            log.warning("account not told", extra={"error": type(error).__name__, "account_id": str(job.account_id)})


async def _tell(db: asyncpg.Connection, agency_id: UUID, change: Change, job: Job) -> None:
    decision, version = change.decision, job.connection_version
    if decision.refresh_token and job.connection_id is not None:
        await ask_refresh(db, agency_id, job.connection_id, now(), version=version)
    if decision.account_lost and job.connection_id is not None:
        reason = (decision.delivery.error or {}).get("class", "authorisation_lost")
        if await lose(db, agency_id, job.account_id, job.connection_id, reason, now(), version=version):
            await hold(db, agency_id, job.account_id, "auth", now())
            return
    if decision.delivery.state == "blocked" and await db.fetchval(STATE, agency_id, job.account_id) in USABLE:
        # It was resumed or reconnected while we held the row, when there was nothing to release yet.
        await release(db, agency_id, job.account_id, ACCOUNT_REASONS, now())
