"""Publishing: the duty of a publication, from claim to record. Transactions are short and none is open during a call.

    1  start the batch, load, decide, arm      one transaction per agency; the attempts are committed with it
    2  prepare | call | reconcile | delete     no transaction; prepare steps store their handles one by one
    3  record                                  one transaction for all that have answered within some milliseconds

What this file knows about outcomes is only how to name them: `tenants.posts.states` decides.
"""

import asyncio
import logging
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from core import duties, metrics
from core.clock import now
from core.crypto import SealBroken
from core.db import Tenant
from core.duties import Claimed
from networks.base import Call, Credentials, Draft, Network
from tenants.accounts.sealing import Vault, open_vault
from tenants.accounts.service import lose
from tenants.accounts.tokens import ask_refresh
from tenants.posts import states
from tenants.posts.delivery import KIND, Change, begin, record, store_handles
from tenants.posts.drafts import content_digest, draft_of, media_facts
from tenants.posts.release import hold
from tenants.posts.states import Decision, Delivery, decide, problem
from tenants.posts.work import Job, control_of, load
from workers.context import LEASE_MARGIN, Context
from workers.outcomes import after_call, after_look, after_step

log = logging.getLogger("octavo.publishing")
GATHER_S = 0.005
"""How long an answer waits for others to be recorded with it."""
RECORD_DELAYS_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 10.0)
"""Waits before each try to record, while the database is away; the lease outlives their sum."""
RECORD_AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
TOKEN_MARGIN = timedelta(seconds=10)
"""An access token that ends sooner than this is refreshed first."""


class LeaseLost(Exception):
    """Another worker owns the duty now: nothing may be recorded."""


@dataclass(slots=True)
class Task:
    """One job with what its call needs; `delivery` is what is committed, `fence` what proves that it is ours."""

    job: Job
    network: Network
    draft: Draft
    credentials: Credentials
    work: str
    delivery: Delivery
    fence: int
    handles: dict[str, Any] = field(default_factory=dict)
    started_at: datetime | None = None

    def call(self, **more: Any) -> Call:
        """What a connector may know."""
        job = self.job
        return Call(
            credentials=self.credentials,
            account=job.account,
            draft=self.draft,
            key=str(job.id),
            started_at=self.started_at or job.at,
            handles=self.handles,
            external_id=self.delivery.external_id,
            **more,
        )


async def run(context: Context, agency_id: UUID, claimed: list[Claimed]) -> None:
    """Do the batch of one agency."""
    lease_ends = asyncio.get_running_loop().time() + context.settings.lease_s - LEASE_MARGIN.total_seconds()
    async with context.database.connection(Tenant(agency_id)) as db:
        started = await duties.start(db, KIND, claimed, context.settings.lease)
        if not started:
            return
        jobs = await load(db, agency_id, started)
        await _finish_orphans(db, started, jobs)
        tasks, ended = await _begin(context, db, agency_id, jobs)
    await _effects(context, agency_id, ended, {job.id: job for job in jobs})
    if tasks:
        await _work(context, agency_id, tasks, lease_ends)


async def _finish_orphans(db: asyncpg.Connection, started: Sequence[asyncpg.Record], jobs: Sequence[Job]) -> None:
    found = {job.id for job in jobs}
    gone = [(row["subject_id"], row["fence"]) for row in started if row["subject_id"] not in found]
    await duties.finish(db, KIND, gone)


async def _begin(context: Context, db: asyncpg.Connection, agency_id: UUID, jobs: Sequence[Job]) -> tuple[list[Task], list[Change]]:
    """Decide each claim, arm what needs no preparation, record what needs no call."""
    vault = await open_vault(db, context.ring, agency_id)
    facts = await media_facts(db, agency_id, [job.content for job in jobs if job.content.media])
    tasks: list[Task] = []
    starting: list[Change] = []
    ending: list[Change] = []
    for job in jobs:
        claim = states.Claimed(job.late_policy, job.late_window, job.starts, job.hindrance)
        decision = decide(job.before, claim, job.at)
        task = _task(context, vault, job, facts, decision)
        if task is None:
            ending.append(_change(job, decision))
        elif isinstance(task, Decision):
            ending.append(_change(job, task))
        else:
            tasks.append(task)
            starting.append(_change(job, _arm_if_ready(task, decision), digest=job.digest))
    await begin(db, agency_id, starting)
    frozen = [(task.job.id, task.handles, task.job.steps_done) for task in tasks if task.handles != task.job.handles]
    await store_handles(db, agency_id, frozen)
    ended = await record(db, agency_id, ending)
    return tasks, ended


def _task(context: Context, vault: Vault, job: Job, facts: Mapping[UUID, Any], decision: Decision) -> Task | Decision | None:
    """Make the task of a claim, or say how it ends without a call."""
    if decision.work is None:
        return None
    network = context.networks[job.network]
    if job.sealed is None or job.connection_id is None:
        return _without_token(decision, job, "The account has no authorisation.")
    try:
        credentials = vault.unseal(job.sealed, job.connection_id)
    except SealBroken:
        return _without_token(decision, job, "The stored authorisation cannot be opened.")
    stale = job.token_expires_at is not None and job.token_expires_at <= job.at + TOKEN_MARGIN
    if stale and decision.work == "publish" and network.capabilities.token != "static":  # a kind, no secret
        error = problem("token_expired", "The access token ran out; it is being refreshed.", "octavo", retryable=True)
        return decide(decision.delivery, states.Refused("expired", error), job.at)
    draft = draft_of(job.content, facts)
    job.digest = content_digest(job.content.text, job.content.media, job.content.options, job.account_id)
    return Task(job, network, draft, credentials, decision.work, decision.delivery, job.fence, job.handles, job.started_at)


def _without_token(decision: Decision, job: Job, detail: str) -> Decision:
    if decision.work != "publish":
        return decide(decision.delivery, states.SeenNothing(detail), job.at) if decision.work == "reconcile" else decision
    error = problem("authorisation_lost", detail, "agency", retryable=False)
    return replace(decide(decision.delivery, states.Refused("unauthorized", error), job.at), account_lost=False)


def _arm_if_ready(task: Task, decision: Decision) -> Decision:
    """Arm in the same transaction when nothing has to be prepared: the attempt is committed before the call either way."""
    if task.work != "publish" or task.job.steps_done < len(task.network.plan(task.draft)):
        return decision
    task.started_at = task.job.at
    task.handles = {**task.handles, **task.network.freeze(task.call())}
    armed = decide(decision.delivery, states.Armed(), task.job.at)
    task.delivery = armed.delivery
    return replace(armed, emits=decision.emits + armed.emits)


def _change(job: Job, decision: Decision, *, fence: int | None = None, digest: str = "") -> Change:
    return Change(
        job.id, job.workspace_id, job.post_id, job.account_id, job.before, decision,
        job.fence if fence is None else fence, digest,
    )  # fmt: skip


async def _work(context: Context, agency_id: UUID, tasks: Sequence[Task], lease_ends: float) -> None:
    """Make all calls at once and record answers as they come, a few milliseconds' worth at a time."""
    pending = {asyncio.create_task(_one(context, agency_id, task, lease_ends)) for task in tasks}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if pending:
            more, pending = await asyncio.wait(pending, timeout=GATHER_S)
            done |= more
        changes = [change for each in done for change in (each.result(),) if change is not None]
        await _record(context, agency_id, changes, {task.job.id: task.job for task in tasks})


async def _one(context: Context, agency_id: UUID, task: Task, lease_ends: float) -> Change | None:
    """Do one job's calls. Whatever is raised becomes an event; only a lost lease ends it without one."""
    async with context.calls:
        try:
            event = await _event(context, agency_id, task, lease_ends)
        except LeaseLost:
            log.warning("lease lost", extra={"publication_id": str(task.job.id)})
            return None
    decision = decide(task.delivery, event, now())
    return replace(_change(task.job, decision, fence=task.fence), before=task.delivery)


async def _event(context: Context, agency_id: UUID, task: Task, lease_ends: float) -> Any:
    network = task.network
    if task.work == "reconcile":
        return await _reconcile(context, agency_id, task)
    if task.work == "delete":
        return await after_step(network.delete(task.call()), random.random(), states.Deleted())
    if task.delivery.state != "publishing":
        failed = await _prepare(context, agency_id, task)
        if failed is not None:
            return failed
        lease_ends = asyncio.get_running_loop().time() + context.settings.lease_s - LEASE_MARGIN.total_seconds()
        await _arm(context, agency_id, task)
    left = lease_ends - asyncio.get_running_loop().time()
    if left < network.capabilities.call_deadline.total_seconds():
        error = problem("overloaded", "The worker came to it too late to call safely.", "octavo", retryable=True)
        return states.NotSent(error, random.random())
    return await after_call(network.publish(task.call()), random.random())


async def _prepare(context: Context, agency_id: UUID, task: Task) -> Any:
    """Do the steps that are left; each stores its handles and renews the lease. Returns the event of a step that failed."""
    steps = list(task.network.plan(task.draft))
    data = await _media_data(context, agency_id, task.draft)
    for position in range(task.job.steps_done, len(steps)):
        made: dict[str, Any] = {}

        async def step(name: str = steps[position], made: dict[str, Any] = made) -> None:
            made.update(await task.network.prepare(name, task.call(media_data=data)))

        failed = await after_step(step(), random.random(), None)
        if failed is not None:
            return failed
        task.handles = {**task.handles, **made}
        task.job.steps_done = position + 1
        async with context.database.connection(Tenant(agency_id)) as db:
            await _renew(context, db, agency_id, task)
            await store_handles(db, agency_id, [(task.job.id, task.handles, position + 1)])
            if task.delivery.state != "preparing":
                decision = decide(task.delivery, states.StepDone(), now())
                await begin(db, agency_id, [replace(_change(task.job, decision), before=task.delivery)])
                task.delivery = decision.delivery
    return None


async def _renew(context: Context, db: asyncpg.Connection, agency_id: UUID, task: Task) -> None:
    fence = await duties.renew(db, KIND, Claimed(agency_id, task.job.id, task.fence), context.settings.lease)
    if fence is None:
        raise LeaseLost
    task.fence = fence


async def _arm(context: Context, agency_id: UUID, task: Task) -> None:
    """Commit the attempt and what it will send, before the one call."""
    async with context.database.connection(Tenant(agency_id)) as db:
        await _renew(context, db, agency_id, task)
        task.started_at = await db.fetchval("select now()")
        task.handles = {**task.handles, **task.network.freeze(task.call())}
        decision = decide(task.delivery, states.Armed(), now())
        change = _change(task.job, decision, digest=task.job.digest)
        await begin(db, agency_id, [replace(change, before=task.delivery)])
        await store_handles(db, agency_id, [(task.job.id, task.handles, task.job.steps_done)])
    task.delivery = decision.delivery


async def _media_data(context: Context, agency_id: UUID, draft: Draft) -> dict[str, bytes]:
    if not draft.media:
        return {}
    ids = [UUID(item.asset_version_id) for item in draft.media]
    async with context.database.connection(Tenant(agency_id)) as db:
        rows = await db.fetch(
            "select id, storage_key from asset_versions where agency_id = $1 and id = any($2::uuid[])", agency_id, ids
        )
    return {str(row["id"]): await context.store.get(row["storage_key"]) for row in rows}


async def _reconcile(context: Context, agency_id: UUID, task: Task) -> Any:
    started_at = task.started_at or task.job.at
    async with context.database.connection(Tenant(agency_id)) as db:
        control = await control_of(db, agency_id, task.job, started_at)
    capabilities = task.network.capabilities
    settled_at = started_at + capabilities.call_deadline + capabilities.settle
    return await after_look(task.network.reconcile(task.call(control=control)), settled_at, capabilities.call_deadline)


async def _record(context: Context, agency_id: UUID, changes: list[Change], jobs: Mapping[UUID, Job]) -> None:
    """Record, and try again while the database is away: an answer that is in hand must not become an unknown outcome."""
    if not changes:
        return
    for delay in RECORD_DELAYS_S:
        await asyncio.sleep(delay)
        try:
            async with context.database.connection(Tenant(agency_id)) as db:
                kept = await record(db, agency_id, changes)
            _count(kept, jobs)
            await _effects(context, agency_id, kept, jobs)
            return
        except RECORD_AWAY as error:
            log.warning("record waits", extra={"error": type(error).__name__, "count": len(changes)})
    log.error("record given up; the leases run out and the network is asked", extra={"count": len(changes)})


def _count(changes: Iterable[Change], jobs: Mapping[UUID, Job]) -> None:
    for change in changes:
        row = change.decision.delivery
        late = (row.published_at - row.due_at).total_seconds() if row.published_at and row.due_at else None
        metrics.delivered(jobs[change.id].network, row.state, late if row.state == "published" else None)


async def _effects(context: Context, agency_id: UUID, changes: Iterable[Change], jobs: Mapping[UUID, Job]) -> None:
    """Tell the account what a call said about its authorisation.

    Apart from the record, because others lock the account first and the duties then; if it is lost with the process, the
    next publication of the account hears the same from the network.
    """
    for change in changes:
        job = jobs[change.id]
        if job.connection_id is None or not (change.decision.account_lost or change.decision.refresh_token):
            continue
        async with context.database.connection(Tenant(agency_id)) as db:
            if change.decision.refresh_token:
                await ask_refresh(db, agency_id, job.connection_id, now(), version=job.connection_version)
                continue
            reason = (change.decision.delivery.error or {}).get("class", "authorisation_lost")
            version = job.connection_version
            if await lose(db, agency_id, job.account_id, job.connection_id, reason, now(), version=version):
                await hold(db, agency_id, job.account_id, "auth", now())
