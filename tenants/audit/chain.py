"""The chain of an agency's entries: sealing them in order, and proving that none was changed, taken away or put between.

    hash(n) = HMAC-SHA-256(key, hash(n - 1) || canonical JSON of entry n with its number)        hash(0) = 32 zero bytes

The key is derived from the agency's data key, which lies in the database only wrapped: who can write to the tables alone
cannot forge a link. It outlasts a rotation of the key ring (the data key stays), and ends with the agency's erasure.
An entry is written without a number and without a lock, so writers of one agency never wait for one another; the duty
`audit` gives the numbers, one sealer at a time.
"""

import hmac
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from core.crypto import KEY_BYTES, derive_key, same
from core.duties import Statements

PURPOSE = "audit-chain"
START = bytes(KEY_BYTES)
"""What stands before the first entry."""
SEAL_MAX = 1_000
"""Entries of one transaction."""
STEP = 500
"""Entries that are recomputed without a breath: some milliseconds of the event loop."""
VERIFY_MAX = 5_000
"""Links of one call."""
LOOK_BACK = timedelta(minutes=10)
"""How much older than the last sealed entry one may be that is committed only now. Its id is minted at the end of a request,
so what lies between is the request's deadline (30 s) and the difference between the clocks of API machines."""
ENTRY = """e.id, e.workspace_id, e.action, e.actor_type, e.actor_id, e.on_behalf_of, e.subject_type, e.subject_id, e.address,
e.user_agent, e.request_id, e.credential_type, e.credential_id, e.before::text before, e.after::text after, e.at"""
HEAD = "select sequence, hash, sealed_at, entry_id from audit_seals where agency_id = $1 order by sequence desc limit 1"
UNSEALED = """from audit_entries e where e.agency_id = $1 and e.id > $2
  and not exists (select 1 from audit_seals s where s.agency_id = $1 and s.entry_id = e.id)"""
NEXT = f"select {ENTRY} {UNSEALED} order by e.id limit {SEAL_MAX}"
SINCE_0018 = {"credential_type", "credential_id"}
"""Columns that entries had not always. An empty one is no part of what is hashed, so seals that are older than it hold."""
COUNT = f"select count(*) {UNSEALED}"
INSERT = """
insert into audit_seals (agency_id, sequence, entry_id, hash)
select $1, s, e, h from unnest($2::bigint[], $3::uuid[], $4::bytea[]) x(s, e, h)
"""
LINKS = f"""
select s.sequence, s.hash, {ENTRY} from audit_seals s left join audit_entries e on e.agency_id = $1 and e.id = s.entry_id
where s.agency_id = $1 and s.sequence >= $2 and s.sequence < $3 order by s.sequence
"""
BEFORE = "select hash from audit_seals where agency_id = $1 and sequence = $2"
SLIPPED_IN = """
select coalesce((select n.sequence from audit_seals n where n.agency_id = $1 and n.entry_id > e.id order by n.entry_id limit 1), $2)
from audit_entries e where e.agency_id = $1 and e.id <= $5
  and e.id > coalesce((select f.entry_id from audit_seals f where f.agency_id = $1 and f.sequence = $3 - 1), $6)
  and e.id <= coalesce((select l.entry_id from audit_seals l where l.agency_id = $1 and l.sequence = $4 and $4 < $2), $5)
  and not exists (select from audit_seals s where s.agency_id = $1 and s.entry_id = e.id) order by e.id limit 1
"""
"""Before which number of a part ($3 to $4, of $2) an entry stands that has no seal and waits for none: its id is too old ($5).
The part is that between the entries of its ends, so parts that go on from one another leave no gap."""


class Head(NamedTuple):
    """The end of a chain: how far it reaches, its last hash, when that was sealed, and how many entries wait for a seal."""

    sequence: int
    hash: bytes
    at: datetime | None
    unsealed: int


class Verdict(NamedTuple):
    """What recomputing a range of a chain gave. `checked`: links that were recomputed; `reason` says what is wrong."""

    to: int
    checked: int
    broken: int | None
    reason: str | None
    head: Head


def chain_key(agency_id: UUID, data_key: bytes) -> bytes:
    """Derive the key of an agency's chain from the key of its data."""
    return derive_key(data_key, f"{PURPOSE}/{agency_id}")


def canonical(sequence: int, row: asyncpg.Record) -> bytes:
    """Write an entry as the bytes that are hashed: keys in order, instants to the microsecond, no blanks."""
    told = {name: value if value is None or isinstance(value, str) else str(value) for name, value in row.items()}
    for name in ("before", "after"):
        told[name] = None if row[name] is None else orjson.loads(row[name])
    told["at"] = row["at"].isoformat(timespec="microseconds")
    wanted: dict[str, Any] = {name: value for name, value in told.items() if name not in {"sequence", "hash"}}
    for name in SINCE_0018:
        if wanted[name] is None:
            del wanted[name]
    return orjson.dumps(wanted | {"sequence": sequence}, option=orjson.OPT_SORT_KEYS)


def link(key: bytes, previous: bytes, sequence: int, row: asyncpg.Record) -> bytes:
    """Compute the hash of one entry from that of the one before."""
    return hmac.new(key, previous + canonical(sequence, row), sha256).digest()


def _since(head: asyncpg.Record | None) -> UUID:
    """The least id that may wait for a seal. A UUIDv7 begins with its milliseconds.

    Not after the last seal either: an id of a machine whose clock runs ahead must hide nobody's.
    """
    if head is None:
        return UUID(int=0)
    newest = min(head["entry_id"].int >> 80, int(head["sealed_at"].timestamp() * 1000))
    return UUID(int=max(newest - int(LOOK_BACK.total_seconds() * 1000), 0) << 80)


async def last_seal(db: Statements, agency_id: UUID) -> asyncpg.Record | None:
    """Read the last seal of the agency: sequence, hash, sealed_at, entry_id."""
    rows = await db.fetch(HEAD, agency_id)
    return rows[0] if rows else None


async def seal(db: Statements, key: bytes, agency_id: UUID) -> int:
    """Chain the entries that wait, in the order of their ids. Returns how many; at most `SEAL_MAX`.

    The caller holds the agency's duty. Should two run all the same, the numbers' key lets one of them commit.
    """
    last = await last_seal(db, agency_id)
    rows = await db.fetch(NEXT, agency_id, _since(last))
    if not rows:
        return 0
    sequence, previous = (last["sequence"], last["hash"]) if last else (0, START)
    hashes = []
    for number, row in enumerate(rows, sequence + 1):
        previous = link(key, previous, number, row)
        hashes.append(previous)
    numbers = list(range(sequence + 1, sequence + 1 + len(rows)))
    await db.execute(INSERT, agency_id, numbers, [row["id"] for row in rows], hashes)
    return len(rows)


async def read_head(db: Statements, agency_id: UUID) -> Head:
    """Say how far the chain reaches, and how many entries of what the caller sees wait for a seal."""
    return await _head(db, agency_id, await last_seal(db, agency_id))


async def _head(db: Statements, agency_id: UUID, last: asyncpg.Record | None) -> Head:
    waiting = await db.fetchval(COUNT, agency_id, _since(last))
    assert isinstance(waiting, int)
    if last is None:
        return Head(0, START, None, waiting)
    return Head(last["sequence"], last["hash"], last["sealed_at"], waiting)


async def verify(db: Statements, key: bytes, agency_id: UUID, first: int, limit: int, *, whole: bool) -> Verdict:
    """Recompute `limit` links from number `first` on, up to the first that does not hold.

    `whole`: the caller sees every entry of the agency, so one that is not there was taken away. Others check what they see.
    A number beyond the next one misses the seal before it: who goes on from one that was kept is told that the end was cut off.
    """
    newest = await last_seal(db, agency_id)
    head = await _head(db, agency_id, newest)
    end = min(first + limit, head.sequence + 1)
    previous, checked, expected = START, 0, first
    if first > 1:
        before = await db.fetchval(BEFORE, agency_id, first - 1)
        if not isinstance(before, bytes):
            return Verdict(first - 1, 0, first - 1, "seal_missing", head)
        previous = before
    while expected < end:
        rows = await db.fetch(LINKS, agency_id, expected, min(expected + STEP, end))
        for number in range(expected, min(expected + STEP, end)):
            row = rows[number - expected] if number - expected < len(rows) else None
            reason = _fault(key, previous, number, row, whole=whole)
            if row is None or reason is not None:
                return Verdict(number, checked, number, reason, head)
            checked += row["id"] is not None
            previous = row["hash"]
        expected = min(expected + STEP, end)
    slipped = None if newest is None else await _slipped_in(db, agency_id, first, end - 1, newest)
    return Verdict(end - 1, checked, slipped, "entry_unsealed" if slipped else None, head)


async def _slipped_in(db: Statements, agency_id: UUID, first: int, last: int, newest: asyncpg.Record) -> int | None:
    """Find an entry in a part of the chain that never got a seal. The sealer passes by what comes with an id that is too old."""
    number = await db.fetchval(SLIPPED_IN, agency_id, newest["sequence"], first, last, _since(newest), UUID(int=0))
    assert number is None or isinstance(number, int)
    return number


def _fault(key: bytes, previous: bytes, number: int, row: asyncpg.Record | None, *, whole: bool) -> str | None:
    if row is None or row["sequence"] != number:
        return "seal_missing"
    if row["id"] is None:
        return "entry_missing" if whole else None
    return None if same(row["hash"], link(key, previous, number, row)) else "hash_differs"


def going_on(verdict: Verdict) -> int | None:
    """The number from which the next call goes on; None at the end of the chain and behind what is broken."""
    over = verdict.broken is not None or verdict.to >= verdict.head.sequence
    return None if over else verdict.to + 1
