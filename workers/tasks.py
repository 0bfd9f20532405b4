"""One publication in a worker's hands: what is to be done with it, and the calls that do it.

Transactions are short and none is open during a call. Time is the database's: its `now()` at the claim, plus what this
process's monotonic clock has counted since.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from core import duties
from core.crypto import SealBroken
from core.db import Tenant
from core.duties import Claimed, LeaseLost
from networks.base import Call, Credentials, Draft, Network
from tenants.accounts.sealing import Vault
from tenants.posts import moves
from tenants.posts.delivery import KIND, Change, begin, store_handles
from tenants.posts.drafts import MediaMissing, content_digest, draft_of
from tenants.posts.states import Decision, Delivery, decide, problem
from tenants.posts.work import Job, control_of
from workers.context import Context
from workers.outcomes import after_call, after_look, after_step

log = logging.getLogger("octavo.publishing")
TOKEN_MARGIN = timedelta(seconds=10)
"""An access token that ends sooner than this is refreshed first."""
DIGEST = "content_digest"
"""Name among the handles: which content they were made for. Handles of another content are not used."""
FILES = "select id, storage_key from asset_versions where agency_id = $1 and id = any($2::uuid[])"


@dataclass(frozen=True, slots=True)
class Clock:
    """The database's time: its instant at the start, and our monotonic second at the same moment."""

    at: datetime
    monotonic_s: float

    def now(self) -> datetime:
        """The database's time now."""
        return self.at + timedelta(seconds=asyncio.get_running_loop().time() - self.monotonic_s)


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
    digest: str
    clock: Clock
    handles: dict[str, Any] = field(default_factory=dict)
    steps_done: int = 0
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


def change_of(job: Job, decision: Decision, *, fence: int | None = None, digest: str = "") -> Change:
    """Make the change that writes `decision`."""
    owned = job.fence if fence is None else fence
    return Change(job.id, job.workspace_id, job.post_id, job.account_id, job.before, decision, owned, digest)


def make_task(
    context: Context, vault: Vault, job: Job, facts: Mapping[UUID, Any], decision: Decision, clock: Clock
) -> Task | Decision:
    """Make the task of a claim, or say how it ends without a call. Raises nothing that its content could cause."""
    network = context.networks[job.network]
    if job.sealed is None or job.connection_id is None:
        return _without_token(decision, job, "The account has no authorisation.")
    try:
        credentials = vault.unseal(job.sealed, job.connection_id)
    except SealBroken:
        return _without_token(decision, job, "The stored authorisation cannot be opened.")
    stale = job.token_expires_at is not None and job.token_expires_at <= job.at + TOKEN_MARGIN
    if stale and decision.work == "publish" and network.capabilities.token != "static":
        error = problem("token_expired", "The access token ran out; it is being refreshed.", "octavo", retryable=True)
        return decide(decision.delivery, moves.Refused("expired", error, spread=random.random()), job.at)
    try:
        draft = draft_of(job.content, facts)
    except MediaMissing:
        if decision.work == "publish":
            error = problem("media_missing", "A file of the post is not there any more.", "agency", retryable=False)
            return decide(decision.delivery, moves.Refused("rejected", error), job.at)
        draft = Draft(job.content.text)
    digest = content_digest(job.content.text, job.content.media, job.content.options, job.account_id)
    handles, steps_done = job.handles, job.steps_done
    if decision.work == "publish" and handles and handles.get(DIGEST) != digest:
        # The content was edited between tries. Every try before is proven absent in the states that allow an edit.
        handles, steps_done = {}, 0
    elif job.before.state == "scheduled":
        steps_done = 0  # a time was given anew: what was uploaded for the last one may be swept away by now
    return Task(
        job, network, draft, credentials, str(decision.work), decision.delivery, job.fence, digest, clock, handles,
        steps_done, job.started_at,
    )  # fmt: skip


def _without_token(decision: Decision, job: Job, detail: str) -> Decision:
    if decision.work == "reconcile":
        return decide(decision.delivery, moves.SeenNothing(detail), job.at)
    error = problem("authorisation_lost", detail, "agency", retryable=False)
    return decide(decision.delivery, moves.Refused("unauthorized", error), job.at)._replace(account_lost=False)


def arm_if_ready(task: Task, decision: Decision) -> Decision:
    """Arm in the claim's transaction when nothing has to be prepared: the attempt is committed before the call either way."""
    if task.work != "publish" or task.steps_done < len(task.network.plan(task.draft)):
        return decision
    task.started_at = task.job.at
    task.handles = {**task.handles, **task.network.freeze(task.call()), DIGEST: task.digest}
    armed = decide(decision.delivery, moves.Armed(), task.job.at)
    task.delivery = armed.delivery
    return armed._replace(emits=decision.emits + armed.emits)


async def do(context: Context, agency_id: UUID, task: Task, lease_ends: float) -> Change | None:
    """Do one job's calls and name what came of them. None when the lease was lost; whatever else is raised is an event."""
    async with context.calls:
        try:
            event = await _event(context, agency_id, task, lease_ends)
        except LeaseLost:
            log.warning("lease lost", extra={"publication_id": str(task.job.id)})
            return None
        except Exception as error:
            log.exception("task failed", extra={"publication_id": str(task.job.id)})
            event = _defect(task, error)
    decision = decide(task.delivery, event, task.clock.now())
    return change_of(task.job, decision, fence=task.fence)._replace(before=task.delivery)


def _defect(task: Task, error: Exception) -> Any:
    """An error of ours: before the call nothing was sent; from the call on, nobody knows; a look or a deletion may be repeated."""
    name = type(error).__name__
    if task.work == "reconcile":
        return moves.SeenNothing(name)
    if task.delivery.state == "publishing":
        return moves.Ambiguous(problem("worker_failed", f"{name} around the call.", "octavo", retryable=False, maybe=True))
    return moves.NotSent(problem("worker_failed", f"{name} before the call.", "octavo", retryable=True), random.random())


async def _event(context: Context, agency_id: UUID, task: Task, lease_ends: float) -> Any:
    network = task.network
    if task.work == "reconcile":
        return await _reconcile(context, agency_id, task)
    if task.work == "delete":
        return await after_step(network.delete(task.call()), context.step_deadline_s, random.random(), moves.Deleted())
    if task.delivery.state != "publishing":
        failed = await _prepare(context, agency_id, task)
        if failed is not None:
            return failed
        lease_ends = asyncio.get_running_loop().time() + context.lease_left_s
        await _arm(context, agency_id, task)
    left = lease_ends - asyncio.get_running_loop().time()
    if left < network.capabilities.call_deadline.total_seconds():
        error = problem("overloaded", "The worker came to it too late to call safely.", "octavo", retryable=True)
        return moves.NotSent(error, random.random())
    return await after_call(network.publish(task.call()), random.random())


async def _prepare(context: Context, agency_id: UUID, task: Task) -> Any:
    """Do the steps that are left; each stores its handles and renews the lease. Returns the event of a step that failed."""
    steps = list(task.network.plan(task.draft))
    data = await _media_data(context, agency_id, task.draft)
    for position in range(task.steps_done, len(steps)):
        made: dict[str, Any] = {}

        async def step(name: str = steps[position], made: dict[str, Any] = made) -> None:
            made.update(await task.network.prepare(name, task.call(media_data=data)))

        failed = await after_step(step(), context.step_deadline_s, random.random(), None)
        if failed is not None:
            return failed
        task.handles = {**task.handles, **made, DIGEST: task.digest}
        task.steps_done = position + 1
        async with context.database.connection(Tenant(agency_id)) as db:
            fence = await _renew(context, db, agency_id, task)
            await store_handles(db, agency_id, task.job.id, task.handles, task.steps_done)
            decision = decide(task.delivery, moves.StepDone(), task.clock.now())
            if task.delivery.state != "preparing":
                await begin(db, agency_id, [change_of(task.job, decision)._replace(before=task.delivery)])
        task.fence, task.delivery = fence, decision.delivery
    return None


async def _renew(context: Context, db: asyncpg.Connection, agency_id: UUID, task: Task) -> int:
    """Keep the lease. The task takes the new fence once the transaction is committed: what is rolled back has moved none."""
    fence = await duties.renew(db, KIND, Claimed(agency_id, task.job.id, task.fence), context.settings.lease)
    if fence is None:
        raise LeaseLost
    return fence


async def _arm(context: Context, agency_id: UUID, task: Task) -> None:
    """Commit the attempt and what it will send, before the one call."""
    async with context.database.connection(Tenant(agency_id)) as db:
        fence = await _renew(context, db, agency_id, task)
        task.started_at = await db.fetchval("select now()")
        task.handles = {**task.handles, **task.network.freeze(task.call()), DIGEST: task.digest}
        decision = decide(task.delivery, moves.Armed(), task.clock.now())
        change = change_of(task.job, decision, digest=task.digest)
        await begin(db, agency_id, [change._replace(before=task.delivery)])
        await store_handles(db, agency_id, task.job.id, task.handles, task.steps_done)
    task.fence, task.delivery = fence, decision.delivery


async def _media_data(context: Context, agency_id: UUID, draft: Draft) -> dict[str, bytes]:
    if not draft.media:
        return {}
    ids = [UUID(item.asset_version_id) for item in draft.media]
    async with context.database.connection(Tenant(agency_id)) as db:
        rows = await db.fetch(FILES, agency_id, ids)
    return {str(row["id"]): await context.store.get(row["storage_key"]) for row in rows}


async def _reconcile(context: Context, agency_id: UUID, task: Task) -> Any:
    started_at = task.started_at or task.job.at
    async with context.database.connection(Tenant(agency_id)) as db:
        control = await control_of(db, agency_id, task.job, started_at)
        looked_at = await db.fetchval("select now()")
    return await after_look(task.network.reconcile(task.call(control=control)), looked_at, task.network.capabilities)
