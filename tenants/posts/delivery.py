"""Writing of decisions: what `states.decide` said becomes rows, many at a time, in one transaction with the duties.

The duty's fence guards all of it: a worker that lost its lease writes nothing.
"""

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from core import duties
from core.duties import Statements
from core.ids import encode, new_id
from tenants.posts.states import Decision, Delivery

Row = dict[str, Any]
Rows = list[Row]
KIND = "publish"
"""The duty of a publication, over its whole life: what is to be done is read from its state."""

CLOSED = "publication_id uuid, outcome text, evidence text, error jsonb"
ARMED = ("workspace_id uuid, id uuid, publication_id uuid, number int, content_digest text", "attempts")
HAPPENED = ("workspace_id uuid, id uuid, type text, subject_id uuid, data jsonb", "events")
MADE = ("handles", "steps_done")
"""What a change may bring beside the decision; what it does not bring stays as it is."""
TYPES = {
    "attempts": "int", "retries": "int", "looks": "int", "steps_done": "int", "due_at": "timestamptz", "next_at": "timestamptz",
    "unknown_since": "timestamptz", "published_at": "timestamptz", "error": "jsonb", "handles": "jsonb",
}  # fmt: skip
"""Types of the moving columns that are not text."""
HANDLES = "update publications set handles = $3::text::jsonb, steps_done = $4 where agency_id = $1 and id = $2"
SILENT = frozenset({"publication.retry_wait"})


class Change(NamedTuple):
    """One decision about one publication, and whose it is. `fence` is the worker's; None for people."""

    id: UUID
    workspace_id: UUID
    post_id: UUID
    account_id: UUID
    before: Delivery
    decision: Decision
    fence: int | None = None
    digest: str = ""
    handles: dict[str, Any] | None = None
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


class Shape(NamedTuple):
    """What one write touches: attempts that end, attempts that begin, events, and these columns of publications."""

    closed: bool = False
    armed: bool = False
    happened: bool = False
    moved: tuple[str, ...] = ()


ARMING = Shape(armed=True, moved=("state", "attempts", *MADE))
ENDING = Shape(closed=True, happened=True, moved=("state", "external_id", "external_url", "published_at"))


@lru_cache(maxsize=64)
def _statement(shape: Shape) -> str:
    """All of it in one round trip, each table's rows as one JSON text: arrays of each column cost a fifth of a post more.

    $1 the agency, $2 the publications whose attempts end, then the texts of the parts that there are. Only the columns that
    change are named.
    """
    parts: list[str] = []
    texts = itertools.count(3)

    def rows(columns: str) -> str:
        return f"json_to_recordset(${next(texts)}::text::json) x({columns})"

    if shape.closed:
        parts.append(f"""closed as (
  update attempts a set outcome = x.outcome, evidence = x.evidence, error = x.error,
    finished_at = case when x.outcome = 'unknown' then null else now() end
  from {rows(CLOSED)}
  where a.agency_id = $1 and a.publication_id = any($2::uuid[]) and a.publication_id = x.publication_id
    and a.outcome in ('armed', 'unknown'))""")
    for wanted, (columns, table) in ((shape.armed, ARMED), (shape.happened, HAPPENED)):
        if wanted:
            names = ", ".join(column.split()[0] for column in columns.split(", "))
            parts.append(f"{table}_in as (insert into {table} (agency_id, {names}) select $1, {names} from {rows(columns)})")
    last = "select $1, $2::uuid[]"
    if shape.moved:
        columns = ", ".join(f"{name} {TYPES.get(name, 'text')}" for name in shape.moved)
        sets = ", ".join(f"{name} = " + (f"coalesce(x.{name}, p.{name})" if name in MADE else f"x.{name}") for name in shape.moved)
        last = f"""update publications p set {sets}, version = p.version + 1, updated_at = now()
from {rows("id uuid, " + columns)} where p.agency_id = $1 and p.id = x.id and $2::uuid[] is not null"""
    return f"with {', '.join(parts)} {last}" if parts else last


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
    for shape in (ARMING, ENDING):
        await _execute(db, duties.SYSTEM, shape, [], [], [], [])


async def begin(db: Statements, agency_id: UUID, changes: Sequence[Change]) -> None:
    """Write the start of work whose duty stays leased: claimed, preparing, publishing (with its attempts)."""
    await _write_rows(db, agency_id, changes)


async def _write_rows(db: Statements, agency_id: UUID, changes: Sequence[Change]) -> None:
    if not changes:
        return
    moving = [change for change in changes if change.decision.delivery != change.before or change.handles is not None]
    closed, armed, happened = _closed(changes), _armed(changes), _events(changes)
    shape = Shape(bool(closed), bool(armed), bool(happened), _moved(moving))
    if any(shape):
        await _execute(db, agency_id, shape, closed, armed, happened, [_row(change, shape.moved) for change in moving])


async def _execute(db: Statements, agency_id: UUID, shape: Shape, closed: Rows, armed: Rows, happened: Rows, moved: Rows) -> None:
    texts = [
        orjson.dumps(rows, default=str).decode()
        for wanted, rows in zip(shape, (closed, armed, happened, moved), strict=True)
        if wanted
    ]
    await db.execute(_statement(shape), agency_id, [row["publication_id"] for row in closed], *texts)


def _moved(changes: Sequence[Change]) -> tuple[str, ...]:
    """Columns in which at least one publication changes. The others write there what they have."""
    names = [
        name
        for place, name in enumerate(Delivery._fields)
        if any(change.before[place] != change.decision.delivery[place] for change in changes)
    ]
    return (*names, *MADE) if any(change.handles is not None for change in changes) else tuple(names)


def _row(change: Change, names: Sequence[str]) -> Row:
    new = change.decision.delivery._asdict() | {"handles": change.handles, "steps_done": change.steps_done}
    return {"id": change.id} | {name: new[name] for name in names}


def _closed(changes: Sequence[Change]) -> Rows:
    return [
        {
            "publication_id": change.id,
            "outcome": change.decision.attempt,
            "evidence": change.decision.evidence,
            "error": change.decision.delivery.error,
        }
        for change in changes
        if change.decision.attempt not in {None, "armed"}
    ]


def _armed(changes: Sequence[Change]) -> Rows:
    return [
        {
            "workspace_id": change.workspace_id,
            "id": new_id(),
            "publication_id": change.id,
            "number": change.decision.delivery.attempts,
            "content_digest": change.digest,
        }
        for change in changes
        if change.decision.attempt == "armed"
    ]


def _events(changes: Sequence[Change]) -> Rows:
    rows: Rows = []
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
            rows.append({"workspace_id": change.workspace_id, "id": new_id(), "type": type_, "subject_id": change.id, "data": data})
    return rows


async def store_handles(db: Statements, agency_id: UUID, publication_id: UUID, handles: dict[str, Any], steps_done: int) -> None:
    """Keep what a prepare step brought, before the next begins."""
    await db.execute(HANDLES, agency_id, publication_id, orjson.dumps(handles).decode(), steps_done)
