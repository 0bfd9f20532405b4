"""Writing of decisions: what `states.decide` said becomes rows, many at a time, in one transaction with the duties.

The duty's fence guards all of it: a worker that lost its lease writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from core import duties
from core.duties import Statements
from core.ids import encode, new_id
from tenants.posts.states import Decision, Delivery

KIND = "publish"
"""The duty of a publication, over its whole life: what is to be done is read from its state."""

WRITE = """
with closed as (
  update attempts a set outcome = x.outcome, evidence = x.evidence, error = x.error::jsonb,
    finished_at = case when x.outcome = 'unknown' then null else now() end
  from unnest($18::uuid[], $19::text[], $20::text[], $21::text[]) x(publication_id, outcome, evidence, error)
  where a.agency_id = $1 and a.publication_id = any($18) and a.publication_id = x.publication_id
    and a.outcome in ('armed', 'unknown')),
armed as (
  insert into attempts (agency_id, workspace_id, id, publication_id, number, content_digest)
  select $1, x.w, x.i, x.p, x.n, x.d from unnest($22::uuid[], $23::uuid[], $24::uuid[], $25::int[], $26::text[]) x(w, i, p, n, d)),
happened as (
  insert into events (agency_id, workspace_id, id, type, subject_id, data)
  select $1, x.w, x.i, x.t, x.s, x.d::jsonb
  from unnest($27::uuid[], $28::uuid[], $29::text[], $30::uuid[], $31::text[]) x(w, i, t, s, d))
update publications p set state = x.state, due_at = x.due_at, next_at = x.next_at, attempts = x.attempts,
  retries = x.retries, looks = x.looks, unknown_since = x.unknown_since, block_reason = x.block_reason,
  error = x.error::jsonb, resolution = x.resolution, external_id = x.external_id, external_url = x.external_url,
  published_at = x.published_at, handles = coalesce(x.handles::jsonb, p.handles),
  steps_done = coalesce(x.steps_done, p.steps_done), version = p.version + 1, updated_at = now()
from unnest($2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::int[], $7::int[], $8::int[],
  $9::timestamptz[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::timestamptz[], $16::text[],
  $17::int[])
  x(id, state, due_at, next_at, attempts, retries, looks, unknown_since, block_reason, error, resolution, external_id,
    external_url, published_at, handles, steps_done)
where p.agency_id = $1 and p.id = x.id
"""
"""Publications, attempts and events in one round trip: a worker's batch of one agency is two of these."""
HANDLES = "update publications set handles = $3::text::jsonb, steps_done = $4 where agency_id = $1 and id = $2"
SILENT = frozenset({"publication.retry_wait"})


@dataclass(frozen=True, slots=True)
class Change:
    """One decision about one publication, and whose it is. `fence` is the worker's; None for people."""

    id: UUID
    workspace_id: UUID
    post_id: UUID
    account_id: UUID
    before: Delivery
    decision: Decision
    fence: int | None = None
    digest: str = ""
    handles: Mapping[str, Any] | None = None
    steps_done: int | None = None


def delivery_of(row: Mapping[str, Any] | asyncpg.Record) -> Delivery:
    """The moving columns of a publication's row."""
    return Delivery(
        state=row["state"],
        due_at=row["due_at"],
        next_at=row["next_at"],
        attempts=row["attempts"],
        retries=row["retries"],
        looks=row["looks"],
        unknown_since=row["unknown_since"],
        block_reason=row["block_reason"],
        error=None if row["error"] is None else orjson.loads(row["error"]),
        resolution=row["resolution"],
        external_id=row["external_id"],
        external_url=row["external_url"],
        published_at=row["published_at"],
    )


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


async def write(db: Statements, agency_id: UUID, changes: Sequence[Change], now: datetime) -> list[Change]:
    """Write what people decided: their duties, publications, attempts, events. The rows are locked by the caller."""
    await duties.drop(db, KIND, [change.id for change in changes if change.decision.duty is None])
    coming = [(change.id, change.decision.duty, change.account_id) for change in changes if change.decision.duty is not None]
    await duties.put(db, KIND, agency_id, coming, now)
    await _write_rows(db, agency_id, changes)
    return list(changes)


async def record(db: Statements, agency_id: UUID, changes: Sequence[Change]) -> list[Change]:
    """Write what a worker found out, and end or postpone its duties by their fences. Returns what was still ours."""
    ending = [(change.id, change.fence) for change in changes if change.decision.duty is None]
    coming = [(change.id, change.fence, change.decision.duty) for change in changes if change.decision.duty is not None]
    ours = await duties.finish(db, KIND, ending)  # type: ignore[arg-type]  # a worker's change has its fence
    ours |= await duties.postpone(db, KIND, coming)  # type: ignore[arg-type]  # as above, and its time
    kept = [change for change in changes if change.id in ours]
    await _write_rows(db, agency_id, kept)
    return kept


async def rehearse(db: Statements) -> None:
    """Run the statements of a record with no rows, so that their plans are there when it counts."""
    await db.fetch(duties.FINISH, KIND, [], [])
    await db.execute(WRITE, duties.SYSTEM, *_columns([], 16), *_columns([], 4), *_columns([], 5), *_columns([], 5))


async def begin(db: Statements, agency_id: UUID, changes: Sequence[Change]) -> None:
    """Write the start of work whose duty stays leased: claimed, preparing, publishing (with its attempts)."""
    await _write_rows(db, agency_id, changes)


async def _write_rows(db: Statements, agency_id: UUID, changes: Sequence[Change]) -> None:
    if not changes:
        return
    moved = [_row(change) for change in changes if change.decision.delivery != change.before or change.handles is not None]
    closed, armed = _attempts(changes)
    await db.execute(
        WRITE, agency_id, *_columns(moved, 16), *_columns(closed, 4), *_columns(armed, 5), *_columns(_events(changes), 5)
    )


def _row(change: Change) -> tuple[Any, ...]:
    new = change.decision.delivery
    return (
        change.id, new.state, new.due_at, new.next_at, new.attempts, new.retries, new.looks, new.unknown_since,
        new.block_reason, _json(new.error), new.resolution, new.external_id, new.external_url, new.published_at,
        None if change.handles is None else _json(dict(change.handles)), change.steps_done,
    )  # fmt: skip


def _attempts(changes: Sequence[Change]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    closed: list[tuple[Any, ...]] = []
    armed: list[tuple[Any, ...]] = []
    for change in changes:
        decision = change.decision
        if decision.attempt == "armed":
            armed.append((change.workspace_id, new_id(), change.id, decision.delivery.attempts, change.digest))
        elif decision.attempt is not None:
            closed.append((change.id, decision.attempt, decision.evidence, _json(decision.delivery.error)))
    return closed, armed


def _events(changes: Sequence[Change]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for change in changes:
        for type_ in change.decision.emits:
            if type_ in SILENT:
                continue
            new = change.decision.delivery
            data: dict[str, Any] = {
                "post_id": encode("pst", change.post_id),
                "account_id": encode("acc", change.account_id),
                "state": new.state,
                "external_url": new.external_url,
            }
            if new.error is not None:
                data["error"] = new.error
            rows.append((change.workspace_id, new_id(), type_, change.id, _json(data)))
    return rows


async def store_handles(db: Statements, agency_id: UUID, publication_id: UUID, handles: Mapping[str, Any], steps_done: int) -> None:
    """Keep what a prepare step brought, before the next begins."""
    await db.execute(HANDLES, agency_id, publication_id, _json(dict(handles)), steps_done)
