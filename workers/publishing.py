"""Publishing: the duty of a publication, from claim to record.

    1  start the batch, load, decide, arm      one transaction per agency; the attempts are committed with it
    2  prepare | call | reconcile | delete     `workers.tasks`: no transaction is open during a call
    3  record                                  `workers.recording`: all that answered within some milliseconds together

What these files know about outcomes is only how to name them: `tenants.posts.states` decides. One publication must never
harm another: what goes wrong with one row ends as that row's event, and a batch that fails whole is run row by row.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from core import duties
from core.clock import now
from core.db import Tenant
from core.duties import Claimed
from tenants.accounts.sealing import open_vault
from tenants.posts import moves
from tenants.posts.delivery import KIND, Change, begin, record
from tenants.posts.delivery import rehearse as rehearse_record
from tenants.posts.drafts import media_facts
from tenants.posts.states import STARTS_MAX, decide, problem
from tenants.posts.work import Job, load, load_bare
from workers import recording
from workers.context import Context
from workers.tasks import Clock, Task, arm_if_ready, change_of, do, make_task

log = logging.getLogger("octavo.publishing")
GATHER_S = 0.005
"""How long an answer waits for others to be recorded with it."""
REHEARSAL_S_MAX = 5.0
"""A server that gives no more connections must not keep those that it gave from the posts."""


async def run(context: Context, agency_id: UUID, claimed: list[Claimed]) -> None:
    """Do the batch of one agency."""
    try:
        await _batch(context, agency_id, claimed)
    except recording.AWAY as error:
        log.warning("database away", extra={"error": type(error).__name__, "count": len(claimed)})
    except Exception:
        log.exception("batch failed", extra={"agency_id": str(agency_id), "count": len(claimed)})
        if len(claimed) > 1:
            for row in claimed:
                await run(context, agency_id, [row])
        else:
            await _count_poison(context, agency_id, claimed[0])


async def rehearse(context: Context) -> None:
    """Open every connection and run the batch's statements on it with no rows: the first burst must not wait for their plans.

    Raises TimeoutError, or a group of what the database raised; every connection is free again then.
    """

    async def one(connections: asyncio.Barrier) -> None:
        async with context.database.connection(Tenant(duties.SYSTEM)) as db:
            await connections.wait()  # each holds its own until all have one
            await load(db, duties.SYSTEM, await duties.start(db, KIND, [], context.settings.lease))
            await rehearse_record(db)

    together = asyncio.Barrier(context.settings.database_pool_size)
    async with asyncio.timeout(REHEARSAL_S_MAX), asyncio.TaskGroup() as group:
        for _ in range(together.parties):
            group.create_task(one(together))


async def _count_poison(context: Context, agency_id: UUID, claimed: Claimed) -> None:
    """Commit the beginning of a row that cannot even be loaded, and end it when there were too many."""
    async with context.database.connection(Tenant(agency_id)) as db:
        started = await duties.start(db, KIND, [claimed], context.settings.lease)
    if not started or started[0]["starts"] < STARTS_MAX:
        return
    async with context.database.connection(Tenant(agency_id)) as db:
        for job in await load_bare(db, agency_id, started):
            claim = moves.Claimed("publish_late", context.settings.lease, starts=STARTS_MAX)
            await record(db, agency_id, [change_of(job, decide(job.before, claim, now()))])


async def _batch(context: Context, agency_id: UUID, claimed: Sequence[Claimed]) -> None:
    begun_s = asyncio.get_running_loop().time()
    async with context.database.connection(Tenant(agency_id)) as db:
        started = await duties.start(db, KIND, claimed, context.settings.lease)
        if not started:
            return
        jobs = await load(db, agency_id, started)
        await _finish_orphans(db, started, jobs)
        tasks, ended = await _begin(context, db, agency_id, jobs, begun_s)
    by_id = {job.id: job for job in jobs}
    if tasks:
        await _work(context, agency_id, tasks, begun_s + context.lease_left_s)
    recording.metrics_of(ended, by_id)
    await recording.tell_accounts(context, agency_id, ended, by_id)


async def _finish_orphans(db: asyncpg.Connection, started: Sequence[asyncpg.Record], jobs: Sequence[Job]) -> None:
    found = {job.id for job in jobs}
    gone = [(row["subject_id"], row["fence"]) for row in started if row["subject_id"] not in found]
    await duties.finish(db, KIND, gone)


async def _begin(
    context: Context, db: asyncpg.Connection, agency_id: UUID, jobs: Sequence[Job], begun_s: float
) -> tuple[list[Task], list[Change]]:
    """Decide each claim, arm what needs no preparation, record what needs no call."""
    if not jobs:
        return [], []
    vault = await open_vault(db, context.ring, agency_id)
    facts = await media_facts(db, agency_id, [job.content for job in jobs if job.content.media])
    clock = Clock(jobs[0].at, begun_s)
    tasks: list[Task] = []
    starting: list[Change] = []
    ending: list[Change] = []
    for job in jobs:
        claim = moves.Claimed(job.late_policy, job.late_window, job.starts, job.hindrance)
        decision = decide(job.before, claim, job.at)
        if decision.work is None:
            ending.append(change_of(job, decision))
            continue
        try:
            made = make_task(context, vault, job, facts, decision, clock)
            if isinstance(made, Task):
                armed = arm_if_ready(made, decision)
                kept = made.handles != job.handles or made.steps_done != job.steps_done
                change = change_of(job, armed, digest=made.digest)
                starting.append(change._replace(handles=made.handles, steps_done=made.steps_done) if kept else change)
                tasks.append(made)
                continue
        except Exception as error:
            log.exception("job failed", extra={"publication_id": str(job.id)})
            detail = f"{type(error).__name__} before the call."
            failed = problem("worker_failed", detail, "octavo", retryable=True)
            event = moves.SeenNothing(detail) if decision.work == "reconcile" else moves.NotSent(failed, random.random())
            made = decide(decision.delivery, event, job.at)
        ending.append(change_of(job, made))
    await begin(db, agency_id, starting)
    return tasks, await record(db, agency_id, ending)


async def _work(context: Context, agency_id: UUID, tasks: Sequence[Task], lease_ends: float) -> None:
    """Make all calls at once and record answers as they come, a few milliseconds' worth at a time."""
    jobs = {task.job.id: task.job for task in tasks}
    pending = {asyncio.create_task(do(context, agency_id, task, lease_ends)) for task in tasks}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if pending:
            more, pending = await asyncio.wait(pending, timeout=GATHER_S)
            done |= more
        changes = [change for each in done for change in (each.result(),) if change is not None]
        try:
            await recording.write(context, agency_id, changes, jobs)
        except Exception:
            log.exception("record failed", extra={"agency_id": str(agency_id), "count": len(changes)})
