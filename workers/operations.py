"""Operations: long work in steps. Each step is one transaction with its position, so a crash or a second delivery repeats none."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import orjson

from core import duties
from core.clock import now
from core.db import Tenant
from core.duties import Claimed
from core.errors import Problem, TemporarilyUnavailable
from core.store import NotStoredError
from networks.base import Network
from tenants.operations.service import ENDED, KIND, actor_of, end, load, move
from tenants.permissions import Actor
from tenants.posts import importing
from workers import whole
from workers.context import Context

log = logging.getLogger("octavo.operations")
STEP_MAX = 100
"""Parts that one transaction does."""
PARTS_PER_CLAIM = 1_000
"""Then the duty goes back to the end of the queue, so that a long operation does not keep others waiting."""
STORE_AWAY_WAIT = timedelta(seconds=30)
STARTS_MAX = 5
"""Starts within one share of the work after which something about it ends workers."""
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Work:
    """What a kind of operation does: reads its parts from what was stored, and does some of them in one transaction."""

    read: Callable[[bytes], Sequence[Any]]
    step: Callable[
        [asyncpg.Connection, Actor, Mapping[str, Network], asyncpg.Record, Sequence[Any], str], Awaitable[list[dict[str, Any]]]
    ]


WORKS: dict[str, Work] = {importing.KIND: Work(importing.read, importing.step)}
"""Kind of operation -> its work."""


async def run(context: Context, agency_id: UUID, claimed: list[Claimed]) -> None:
    """Move each operation on, one after the other: they are heavy. One that fails comes back with its lease."""
    for row in claimed:
        try:
            await _one(context, agency_id, row)
        except Exception:
            log.exception("operation failed", extra={"operation_id": str(row.subject_id), "agency_id": str(agency_id)})


async def _one(context: Context, agency_id: UUID, claimed: Claimed) -> None:
    async with context.database.connection(Tenant(agency_id)) as db:
        started = await duties.start(db, KIND, [claimed], context.settings.lease)
        if not started:
            return
        fence = started[0]["fence"]
        row = await load(db, agency_id, claimed.subject_id)
        if row is None or row["state"] in ENDED:
            await duties.finish(db, KIND, [(claimed.subject_id, fence)])
            return
    if started[0]["starts"] > STARTS_MAX:
        await _fail(context, agency_id, row, fence, Problem())
        return
    if row["kind"] in whole.WORKS:
        await whole.run(context, agency_id, row, Claimed(agency_id, claimed.subject_id, fence))
        return
    try:
        parts = await asyncio.to_thread(WORKS[row["kind"]].read, await context.store.get(row["storage_key"]))
    except TemporarilyUnavailable:
        async with context.database.connection(Tenant(agency_id)) as db:
            await duties.postpone(db, KIND, [(claimed.subject_id, fence, now() + STORE_AWAY_WAIT)])
        return
    except (Problem, NotStoredError) as error:
        problem = error if isinstance(error, Problem) else Problem("What it reads is no longer there.")
        await _fail(context, agency_id, row, fence, problem)
        return
    if await _steps(context, agency_id, Claimed(agency_id, claimed.subject_id, fence), parts):
        await context.store.discard(row["storage_key"])


async def _fail(context: Context, agency_id: UUID, row: asyncpg.Record, fence: int, problem: Problem) -> None:
    async with context.database.connection(Tenant(agency_id)) as db:
        if not await end(db, agency_id, row, fence, "failed", {}, problem.describe(context.settings.public_url)):
            return
    if row["storage_key"] is not None:
        await context.store.discard(row["storage_key"])


async def _steps(context: Context, agency_id: UUID, claimed: Claimed, parts: Sequence[Any]) -> bool:
    """Do the parts that are left, up to the share of one claim. True when it ended here."""
    for _ in range(-(-PARTS_PER_CLAIM // STEP_MAX) + 1):
        async with context.database.connection(Tenant(agency_id)) as db:
            fence = await duties.renew(db, KIND, claimed, context.settings.lease)
            row = None if fence is None else await load(db, agency_id, claimed.subject_id)
            if fence is None or row is None:
                return False
            claimed = claimed._replace(fence=fence)
            position = row["position"]
            result: dict[str, Any] = orjson.loads(row["result"]) if row["result"] else {"succeeded": 0, "failed": 0, "rows": []}
            if position >= len(parts):
                counts = {"succeeded": result["succeeded"], "failed": result["failed"]}
                if not parts:
                    await move(db, agency_id, row["id"], 0, 0, result)
                await end(db, agency_id, row, fence, "succeeded", counts)
                return True
            some = parts[position : position + STEP_MAX]
            actor = actor_of(agency_id, row)
            done = await WORKS[row["kind"]].step(db, actor, context.networks, row, some, context.settings.public_url)
            failed = sum(1 for one in done if one["status"] >= 400)
            result["rows"] += done
            result |= {"failed": result["failed"] + failed, "succeeded": result["succeeded"] + len(done) - failed}
            await move(db, agency_id, row["id"], position + len(some), len(parts), result)
    async with context.database.connection(Tenant(agency_id)) as db:
        await duties.postpone(db, KIND, [(claimed.subject_id, claimed.fence, now())])
    return False
