"""Duties: everything that must happen later, as rows of one narrow table.

A duty is outbox, schedule and lease in one. It is written in the same transaction as the thing it is about, and holds ids
and times only. `claim` runs under the role octavo_worker, which sees this table across agencies and nothing else;
`put`, `finish`, `postpone` and `drop` run in the subject's own transaction under row-level security.

Statements that know their rows say `lease_until is not null` or `state || ''` where they could name the state: named, the
planner would walk the small partial index of that state instead of the primary key, and the index is small only in its
statistics (measured: one second for fifty rows).

States of a row:

    waiting   due at `due_at`                          -> ready | parked, by `claim`
    parked    due, but another of its serial key runs  -> waiting, when that one ends
    ready     stamped with a virtual turn              -> leased, by `claim`
    leased    a worker owns it until `lease_until`     -> gone (`finish`) | waiting (`postpone`, lease over)

Fair: each fifty due rows of an agency get the next turn after its last, and the lowest turns are claimed first, so an
agency with ten thousand due rows delays another by fifty and not by ten thousand. At most one row of a serial key (the account,
when publishing) is ready or leased, held by a unique index. Claims of one kind follow one another under an advisory lock:
they take milliseconds for a hundred rows, and two claimers can never meet on one serial key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

import asyncpg

PROMOTE_MAX = 1_000
"""Due rows that one claim stamps with a turn at most; more wait for the next claim, some milliseconds later."""
TURN_SIZE = 50
"""Rows of an agency in one turn: a message's worth, so that a worker does them in two transactions and not in a hundred."""
SYSTEM = UUID(int=0)
"""Stands where a duty belongs to no agency (the heartbeat)."""
CHANNEL = "octavo_duties"
"""LISTEN/NOTIFY channel: a row that is due now was written. The payload is the kind."""


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
set due_at = excluded.due_at, serial_key = excluded.serial_key, state = 'waiting', turn = null, lease_until = null,
    fence = d.fence + 1, starts = 0
"""
NOTIFY = "select pg_notify($1, $2)"
UNPARK = """
update duties d set state = 'waiting'
where d.agency_id = current_agency() and d.kind = $1 and d.subject_id = any (array (select subject_id from heirs))
  and d.state || '' = 'parked'
"""
HEIRS = """
heirs as materialized (
  select h.subject_id from (select distinct serial_key from mine where serial_key is not null) m
  cross join lateral (
    select p.subject_id from duties p where p.agency_id = current_agency() and p.kind = $1
      and p.serial_key = m.serial_key and p.state = 'parked' and p.subject_id <> all($2)
    order by p.due_at, p.subject_id limit 1) h)
"""
"""Who comes next: the first parked row of each serial key that `mine` ($2 their subjects) leaves free."""
WAKE = f"""
with heirs as materialized (
  select h.subject_id from (select distinct k from unnest($2::uuid[]) k where k is not null) m
  cross join lateral (
    select p.subject_id from duties p where p.agency_id = current_agency() and p.kind = $1 and p.serial_key = m.k
      and p.state = 'parked' order by p.due_at, p.subject_id limit 1) h
  where not exists (select 1 from duties b where b.agency_id = current_agency() and b.kind = $1 and b.serial_key = m.k
    and b.state in ('ready', 'leased')))
{UNPARK}"""

RECLAIM = """
update duties set state = 'waiting', turn = null, lease_until = null, fence = fence + 1
where (agency_id, kind, subject_id) in (
  select agency_id, kind, subject_id from duties
  where state = 'leased' and kind = $1 and lease_until < now() order by lease_until limit 1000 for update skip locked)
"""
UNPARK_LOST = """
with recursive keys as (
  (select serial_key from duties where kind = $1 and state = 'parked' order by serial_key limit 1)
  union all
  select (select d.serial_key from duties d where d.kind = $1 and d.state = 'parked' and d.serial_key > keys.serial_key
          order by d.serial_key limit 1) from keys where keys.serial_key is not null),
lost as materialized (
  select h.agency_id, h.subject_id from keys cross join lateral (
    select p.agency_id, p.subject_id from duties p where p.kind = $1 and p.state = 'parked'
      and p.serial_key = keys.serial_key order by p.due_at limit 1) h
  where keys.serial_key is not null and not exists (
    select 1 from duties b where b.agency_id = h.agency_id and b.kind = $1 and b.serial_key = keys.serial_key
      and b.state in ('ready', 'leased'))
  limit 1000)
update duties d set state = 'waiting' from lost
where d.agency_id = lost.agency_id and d.kind = $1 and d.subject_id = lost.subject_id and d.state || '' = 'parked'
"""
PROMOTE = """
with due as (
  select agency_id, subject_id, due_at, serial_key from duties
  where kind = $1 and state = 'waiting' and due_at <= now() - $3::interval order by due_at limit $2
  for update skip locked),
ranked as (
  select due.*, case when serial_key is null then 1
    else row_number() over (partition by serial_key order by due_at, subject_id) end place from due),
heads as (
  select r.*, (place = 1 and (serial_key is null or not exists (
    select 1 from duties b where b.agency_id = r.agency_id and b.kind = $1 and b.serial_key = r.serial_key
      and b.state in ('ready', 'leased')))) head from ranked r),
present as materialized (select coalesce(min(turn), 0) turn from duties where kind = $1 and state = 'ready'),
last as materialized (
  select a.agency_id, greatest((select turn - 1 from present), coalesce((
    select max(t.turn) from duties t
    where t.kind = $1 and t.agency_id = a.agency_id and t.state in ('ready', 'leased') and t.turn is not null), 0)) turn
  from (select distinct agency_id from heads where head) a),
stamped as (
  select h.agency_id, h.subject_id, h.head, case when h.head then last.turn
    + (row_number() over (partition by h.agency_id, h.head order by h.due_at, h.subject_id) + $4 - 1) / $4 end turn
  from heads h left join last using (agency_id))
update duties d set state = case when s.head then 'ready' else 'parked' end, turn = s.turn
from stamped s where d.agency_id = s.agency_id and d.kind = $1 and d.subject_id = s.subject_id
"""
LEASE = """
update duties d set state = 'leased', lease_until = now() + $3::interval, fence = fence + 1, started = false
from (select agency_id, subject_id from duties where kind = $1 and state = 'ready' and due_at <= now() - $4::interval
      order by turn, agency_id limit $2 for update skip locked) x
where d.agency_id = x.agency_id and d.kind = $1 and d.subject_id = x.subject_id
returning d.agency_id, d.subject_id, d.fence
"""
ANYTHING = """
select exists (select 1 from duties where kind = $1 and state = 'waiting' and due_at <= now() - $2::interval)
  or exists (select 1 from duties where kind = $1 and state = 'ready')
  or exists (select 1 from duties where kind = $1 and state = 'leased' and lease_until < now())
"""
QUEUED = "select count(*) from duties where kind = $1 and state = 'leased' and not started"
BUSY = "select exists (select 1 from duties where kind = $1 and state = 'leased')"
NEXT_DUE = "select min(due_at) from duties where kind = $1 and state = 'waiting'"
FRESH = 0.9
"""Share of a lease that is surely left when a batch has begun."""
START = f"""
update duties d set fence = d.fence + 1, starts = d.starts + $5, begun = d.begun + $5, started = true,
  lease_until = case when d.lease_until < now() + $4::interval * {FRESH} then now() + $4::interval else d.lease_until end
from unnest($2::uuid[], $3::bigint[]) x(subject_id, fence)
where d.agency_id = current_agency() and d.kind = $1 and d.subject_id = any($2) and d.subject_id = x.subject_id
  and d.fence = x.fence and d.lease_until > now()
returning d.subject_id, d.fence, d.starts, d.begun
"""
FINISH = f"""
with mine as (
  delete from duties d using unnest($2::uuid[], $3::bigint[]) x(subject_id, fence)
  where d.agency_id = current_agency() and d.kind = $1 and d.subject_id = any($2) and d.subject_id = x.subject_id
    and d.fence = x.fence and d.lease_until is not null
  returning d.subject_id, d.serial_key),
{HEIRS},
unparked as ({UNPARK})
select subject_id from mine
"""
POSTPONE = f"""
with mine as (
  update duties d set state = 'waiting', turn = null, lease_until = null, due_at = x.due_at, fence = d.fence + 1,
    starts = 0
  from unnest($2::uuid[], $3::bigint[], $4::timestamptz[]) x(subject_id, fence, due_at)
  where d.agency_id = current_agency() and d.kind = $1 and d.subject_id = any($2) and d.subject_id = x.subject_id
    and d.fence = x.fence and d.lease_until is not null
  returning d.subject_id, d.serial_key),
{HEIRS},
unparked as ({UNPARK})
select subject_id from mine
"""
DROP = f"""
with mine as (
  delete from duties where agency_id = current_agency() and kind = $1 and subject_id = any($2::uuid[])
  returning serial_key),
{HEIRS}
{UNPARK}
"""
OLDEST = """
select kind, subject_id, due_at, state from (
  (select kind, subject_id, due_at, state from duties where kind = $1 and state = 'waiting' and due_at <= now()
   order by due_at limit 1)
  union all
  (select kind, subject_id, due_at, state from duties where kind = $1 and state in ('parked', 'ready', 'leased')
   order by due_at limit 1)) late order by due_at limit 1
"""
RELEASE = """
update duties d set state = 'waiting', turn = null, lease_until = null, fence = d.fence + 1
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
    await db.execute(WAKE, kind, [row[2] for row in rows])
    if min(row[1] for row in rows) <= now + timedelta(seconds=1):
        await db.execute(NOTIFY, CHANNEL, kind)


async def claim(
    db: asyncpg.Connection, kind: str, limit: int, lease: timedelta, queued_max: int, late: timedelta = timedelta(0)
) -> list[Claimed]:
    """Lease up to `limit` duties of `kind` that are due (by `late` or more), fairly over agencies.

    One transaction; `db` is the worker role's. No more than `queued_max` of a kind are
    leased and not begun: a longer queue in the broker would only age, and stand before whoever's turn comes next.
    """
    if not await db.fetchval(ANYTHING, kind, late):
        return []
    async with db.transaction():
        await db.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"octavo-claim-{kind}")
        await db.execute(RECLAIM, kind)
        room = min(limit, queued_max - await db.fetchval(QUEUED, kind))
        if room <= 0:
            return []
        await db.execute(PROMOTE, kind, PROMOTE_MAX, late, TURN_SIZE)
        rows = await db.fetch(LEASE, kind, room, lease, late)
    return [Claimed(*row) for row in rows]


async def unpark_lost(db: asyncpg.Connection, kind: str) -> None:
    """Mend parked rows whose predecessor ended while they were being parked (two transactions that could not see each other)."""
    await db.execute(UNPARK_LOST, kind)


async def busy(db: asyncpg.Connection, kind: str) -> bool:
    """Say whether workers hold duties of `kind`: when one ends, the next of its serial key is due at once."""
    value: bool = await db.fetchval(BUSY, kind)
    return value


async def next_due(db: asyncpg.Connection, kind: str) -> datetime | None:
    """When the next waiting duty of `kind` is due."""
    value: datetime | None = await db.fetchval(NEXT_DUE, kind)
    return value


async def start(db: Statements, kind: str, claimed: Iterable[Claimed], lease: timedelta) -> list[asyncpg.Record]:
    """Begin one agency's batch: renew leases that have run a tenth, count the start, and drop what is no longer ours.

    A lease that is fresh stays as it is, because it is indexed: an update of none of the indexed columns is half as dear.

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
    """End duties (subject, fence) and let the next of their serial keys come. Returns those that were still ours."""
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
