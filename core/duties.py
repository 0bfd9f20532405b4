"""Duties: everything that must happen later, as rows of one narrow table.

A duty is outbox, schedule and lease in one. It is written in the same transaction as the thing it is about, and holds ids
and times only. `claim` runs under the role octavo_worker, which sees this table across agencies and nothing else;
`put`, `finish`, `postpone` and `drop` run in the subject's own transaction under row-level security.

States of a row:

    waiting   due at `due_at`                          -> leased, by `claim`
    leased    a worker owns it until `lease_until`     -> gone (`finish`) | waiting (`postpone`, lease over)

At most one row of a serial key (the account, when publishing) is leased, held by a unique index; the others of that key wait.
Fair: what an agency has leased and what it has due is counted in turns of fifty rows, and the lowest turns are claimed first,
so an agency with ten thousand due rows delays another by fifty and not by ten thousand. Among equals the lot decides. Claims
of one kind follow one another under an advisory lock: they take milliseconds for a hundred rows, and two claimers can never
meet on one serial key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

import asyncpg

FEW = 500
"""Due rows that one claim looks at as they are. When there are more, it asks each agency, and there each serial key, for its
first one: a queue of ten thousand rows of one account must hide nobody's."""
LOOKED_AT = 1.25
"""Rows that a claim looks at for each that it may lease, when there are more than `FEW`: no agency fills the look alone. Half of a
claim's time is this look, so it is no longer than that."""
REFILL = 0.5
"""Part of the queue that must be free before more is claimed: a claim of a hundred rows costs little more than one of ten."""
TURN_SIZE = 50
"""Rows of an agency in one turn: half a message's worth, so that a worker does them in two transactions and not in a hundred."""
SYSTEM = UUID(int=0)
"""Stands where a duty belongs to no agency (the heartbeat)."""
CHANNEL = "octavo_duties"
"""LISTEN/NOTIFY channel: a row that is due now was written. The payload is the kind."""


class LeaseLost(Exception):
    """Another worker owns the duty now: what was done here counts for nothing, and nothing of it may be recorded."""


class Claimed(NamedTuple):
    """A leased duty, as it travels in a message. Whoever repeats `fence` owns it."""

    agency_id: UUID
    subject_id: UUID
    fence: int


class Statements(Protocol):
    """What `asyncpg.Connection` offers here; both ways to the database end in one."""

    async def execute(self, query: str, *args: object) -> str: ...  # as in asyncpg
    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]: ...  # as in asyncpg
    async def fetchval(self, query: str, *args: object) -> object: ...  # as in asyncpg


@dataclass(frozen=True, slots=True)
class Late:
    """The oldest due duty of a kind that nobody has finished."""

    kind: str
    subject_id: UUID
    due_at: datetime
    state: str


PUT = """
insert into duties as d (agency_id, kind, subject_id, due_at, serial_key)
select a, $1, s, t, k from unnest($2::uuid[], $3::uuid[], $4::timestamptz[], $5::uuid[]) x(a, s, t, k)
on conflict (agency_id, kind, subject_id) do update
set due_at = excluded.due_at, serial_key = excluded.serial_key, state = 'waiting', lease_until = null,
    fence = d.fence + 1, starts = 0
"""
NOTIFY = "select pg_notify($1, $2)"
RECLAIM = """
update duties set state = 'waiting', lease_until = null, fence = fence + 1
where (agency_id, kind, subject_id) in (
  select agency_id, kind, subject_id from duties
  where state = 'leased' and kind = $1 and lease_until < now() order by lease_until limit 1000 for update skip locked)
"""
DUE = f"""
due as materialized (
  select agency_id, subject_id, due_at, serial_key from duties
  where kind = $1 and state = 'waiting' and due_at <= now() - $5::interval order by due_at limit {FEW})"""
DUE_OF_MANY = f"""
agencies(agency_id) as (
  (select agency_id from duties where kind = $1 and state = 'waiting' order by agency_id limit 1)
  union all
  select next.agency_id from agencies cross join lateral (
    select d.agency_id from duties d where d.kind = $1 and d.state = 'waiting' and d.agency_id > agencies.agency_id
    order by d.agency_id limit 1) next),
ordered as materialized (
  select agency_id from agencies left join held using (agency_id) order by coalesce(held.many, 0), random()),
due as materialized (
  select o.agency_id, first.subject_id, first.due_at, first.serial_key from ordered o cross join lateral (
    with recursive keys(serial_key, due_at, subject_id) as (
      (select d.serial_key, d.due_at, d.subject_id from duties d
       where d.kind = $1 and d.agency_id = o.agency_id and d.state = 'waiting' and d.serial_key is not null
       order by d.serial_key, d.due_at limit 1)
      union all
      select next.* from keys cross join lateral (
        select d.serial_key, d.due_at, d.subject_id from duties d
        where d.kind = $1 and d.agency_id = o.agency_id and d.state = 'waiting' and d.serial_key > keys.serial_key
        order by d.serial_key, d.due_at limit 1) next)
    select * from (
      select serial_key, due_at, subject_id from keys where due_at <= now() - $5::interval and (
        select true from duties b where b.kind = $1 and b.agency_id = o.agency_id and b.serial_key = keys.serial_key
          and b.state = 'leased' limit 1) is null
      union all
      (select d.serial_key, d.due_at, d.subject_id from duties d
       where d.kind = $1 and d.agency_id = o.agency_id and d.state = 'waiting' and d.serial_key is null
         and d.due_at <= now() - $5::interval order by d.due_at limit (select free from room))) each
    order by due_at limit (select free from room)) first
  limit {LOOKED_AT} * (select free from room))"""
CLAIM = """
with recursive
room as materialized (
  select greatest(0, least($2::bigint, $3::bigint - count(*))) free from duties
  where kind = $1 and state = 'leased' and not started),
held as materialized (
  select agency_id, count(*) many from duties where kind = $1 and state = 'leased' group by agency_id),
{due},
heads as (
  select *, row_number() over (partition by agency_id, serial_key order by due_at, subject_id) place from due where (
    select true from duties b where b.kind = $1 and b.agency_id = due.agency_id and b.serial_key = due.serial_key
      and b.state = 'leased' limit 1) is null),
turns as (
  select h.*, (coalesce(held.many, 0) - 1 + row_number() over (partition by agency_id order by due_at, subject_id)) / {size} turn
  from heads h left join held using (agency_id) where serial_key is null or place = 1),
lots as materialized (select agency_id, random() lot from (select distinct agency_id from turns) a),
chosen as materialized (
  select agency_id, subject_id, turn from turns join lots using (agency_id)
  order by turn, lot, due_at, subject_id limit (select free from room)),
ours as materialized (
  select d.agency_id, d.subject_id, c.turn from chosen c
  join duties d on d.agency_id = c.agency_id and d.kind = $1 and d.subject_id = c.subject_id
  where d.lease_until is null and d.due_at <= now() - $5::interval for update of d skip locked),
leased as (
  update duties d set state = 'leased', lease_until = now() + $4::interval, fence = fence + 1, started = false
  from ours o where d.agency_id = o.agency_id and d.kind = $1 and d.subject_id = o.subject_id
  returning d.agency_id, d.subject_id, d.fence, o.turn)
select agency_id, subject_id, fence from leased
order by turn, count(*) over (partition by agency_id, turn), agency_id, subject_id
"""
"""$2 rows at most, $3 leased and not begun at most, $4 the lease, $5 how late at least. The first row of each free serial key,
its turn, and the lease. Rows that a person is changing at this moment are passed over, and those that were moved since the
look. `limit 1` keeps the look for a busy key
a look: joined, it compares each row with each lease."""
CLAIM_OF_FEW = CLAIM.format(due=DUE, size=TURN_SIZE)
CLAIM_OF_MANY = CLAIM.format(due=DUE_OF_MANY, size=TURN_SIZE)
FOUND = f"""
select lost.there lost, queued.many queued, case when queued.many > $3 then 0 else (
    select count(*) from (
      select from duties where kind = $1 and state = 'waiting' and due_at <= now() - $2::interval limit {FEW}) d) end due
from (select exists (select 1 from duties where kind = $1 and state = 'leased' and lease_until < now()) there) lost,
  (select count(*) many from duties where kind = $1 and state = 'leased' and not started) queued
"""
"""What there is to claim; nothing is counted while the queue is fuller than $3."""
NEXT_DUE = "select min(due_at) from duties where kind = $1 and state = 'waiting'"
FENCED = """
where d.agency_id = current_agency() and d.kind = $1 and d.subject_id = any($2::uuid[])
  and d.fence = ($3::bigint[])[array_position($2::uuid[], d.subject_id)]"""
"""The duties $2 with their fences $3. Joined to a table of both, the planner would walk all that the agency has waiting."""
START = f"""
update duties d set fence = d.fence + 1, starts = d.starts + $5, begun = d.begun + $5, started = true,
  lease_until = now() + $4::interval
{FENCED} and d.lease_until > now()
returning d.subject_id, d.fence, d.starts, d.begun
"""
FINISH = f"delete from duties d {FENCED} and d.lease_until is not null returning d.subject_id"
POSTPONE = f"""
update duties d set state = 'waiting', lease_until = null, fence = d.fence + 1, starts = 0,
  due_at = ($4::timestamptz[])[array_position($2::uuid[], d.subject_id)]
{FENCED} and d.lease_until is not null
returning d.subject_id
"""
DROP = "delete from duties where agency_id = current_agency() and kind = $1 and subject_id = any($2::uuid[])"
OLDEST = """
select kind, subject_id, due_at, state from (
  (select kind, subject_id, due_at, state from duties where kind = $1 and state = 'waiting' and due_at <= now()
   order by due_at limit 1)
  union all
  (select kind, subject_id, due_at, state from duties where kind = $1 and state = 'leased' order by due_at limit 1)
) late order by due_at limit 1
"""
WORKED_ON = "select exists (select 1 from duties where kind = $1 and state = 'leased' and lease_until > now())"
RELEASE = """
update duties d set state = 'waiting', lease_until = null, fence = d.fence + 1
from unnest($2::uuid[], $3::uuid[], $4::bigint[]) x(agency_id, subject_id, fence)
where d.agency_id = x.agency_id and d.kind = $1 and d.subject_id = x.subject_id and d.fence = x.fence
  and d.lease_until is not null
"""
ENSURE = """
insert into duties (agency_id, kind, subject_id, due_at) values ($1, $2, $1, now())
on conflict (agency_id, kind, subject_id) do nothing
"""
LOCK = """
select 1 from duties where agency_id = current_agency() and kind = $1 and subject_id = any($2::uuid[])
order by subject_id for update
"""


async def put(
    db: Statements, kind: str, agency_id: UUID, rows: Sequence[tuple[UUID, datetime, UUID | None]], now: datetime
) -> None:
    """Write duties (subject, due_at, serial key) in the subject's transaction; one that exists is moved. Wakes the scheduler.

    A duty that was leased changes its fence, so whoever worked on it can record nothing any more.
    """
    if not rows:
        return
    await db.execute(
        PUT, kind, [agency_id] * len(rows), [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
    )
    if min(row[1] for row in rows) <= now + timedelta(seconds=1):
        await db.execute(NOTIFY, CHANNEL, kind)


async def claim(
    db: asyncpg.Connection, kind: str, limit: int, lease: timedelta, queued_max: int, late: timedelta = timedelta(0)
) -> list[Claimed]:
    """Lease up to `limit` duties of `kind` that are due (by `late` or more), fairly over agencies.

    One transaction; `db` is the worker role's. No more than `queued_max` of a kind are leased and not begun: a longer queue
    in the broker would only age, and stand before whoever's turn comes next. In the order in which they are to be handed on:
    by turns, and in a turn the smaller parts first.
    """
    found = await db.fetchrow(FOUND, kind, late, int(queued_max * REFILL))
    if not found["lost"] and not found["due"]:
        return []
    async with db.transaction():
        await db.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"octavo-claim-{kind}")
        if found["lost"]:
            await db.execute(RECLAIM, kind)
        rows = await db.fetch(CLAIM_OF_FEW if found["due"] < FEW else CLAIM_OF_MANY, kind, limit, queued_max, lease, late)
    return [Claimed(*row) for row in rows]


async def next_due(db: asyncpg.Connection, kind: str) -> datetime | None:
    """When the next waiting duty of `kind` is due."""
    value: datetime | None = await db.fetchval(NEXT_DUE, kind)
    return value


async def start(db: Statements, kind: str, claimed: Iterable[Claimed], lease: timedelta) -> list[asyncpg.Record]:
    """Begin one agency's batch: renew the leases, count the start, and drop what is no longer ours.

    The fence moves on, so the same message delivered twice starts nothing the second time. Rows: subject_id, fence, starts
    (how often it was begun without having been finished or postponed: what happens to poison), begun (how often at all).
    """
    rows = list(claimed)
    return await db.fetch(START, kind, [row.subject_id for row in rows], [row.fence for row in rows], lease, 1)


async def renew(db: Statements, kind: str, claimed: Claimed, lease: timedelta) -> int | None:
    """Keep a lease between two steps. Returns the new fence; None when it is no longer ours."""
    rows = await db.fetch(START, kind, [claimed.subject_id], [claimed.fence], lease, 0)
    return rows[0]["fence"] if rows else None


async def finish(db: Statements, kind: str, rows: Sequence[tuple[UUID, int]]) -> set[UUID]:
    """End duties (subject, fence). Returns those that were still ours."""
    if not rows:
        return set()
    done = await db.fetch(FINISH, kind, [row[0] for row in rows], [row[1] for row in rows])
    return {row["subject_id"] for row in done}


async def postpone(db: Statements, kind: str, rows: Sequence[tuple[UUID, int, datetime]]) -> set[UUID]:
    """Give duties (subject, fence, due_at) back until a later time. Returns those that were still ours."""
    if not rows:
        return set()
    done = await db.fetch(POSTPONE, kind, [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
    return {row["subject_id"] for row in done}


async def drop(db: Statements, kind: str, subject_ids: Sequence[UUID]) -> None:
    """Take duties away because their subject needs nothing any more; works on leased ones too."""
    if subject_ids:
        await db.execute(DROP, kind, list(subject_ids))


async def oldest_due(db: asyncpg.Connection, kind: str) -> Late | None:
    """Name the oldest duty of `kind` that is due and not done."""
    row = await db.fetchrow(OLDEST, kind)
    return Late(**dict(row)) if row else None


async def is_worked_on(db: asyncpg.Connection, kind: str) -> bool:
    """Say whether a worker has a duty of `kind`, or is about to."""
    value: bool = await db.fetchval(WORKED_ON, kind)
    return value


async def lock(db: Statements, kind: str, subject_ids: Sequence[UUID]) -> None:
    """Lock duties before their subjects are locked: everybody takes them in this order, so nobody waits in a circle."""
    await db.execute(LOCK, kind, list(subject_ids))


async def release(db: asyncpg.Connection, kind: str, claimed: Sequence[Claimed]) -> None:
    """Give claimed duties back untouched, because they could not be handed on. `db` is the worker role's."""
    columns = [list(column) for column in zip(*claimed, strict=True)]
    await db.execute(RELEASE, kind, *columns)


async def ensure_system(db: asyncpg.Connection, kind: str) -> None:
    """Make sure that a duty of the system itself exists. `db` is the worker role's."""
    await db.execute(ENSURE, SYSTEM, kind)
