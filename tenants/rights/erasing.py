"""Erasing an agency, or a workspace of one: which rows go, in which order, and what is left behind.

Of an agency the data key goes first: from that commit on nothing that was sealed can be opened by anybody (crypto-shredding), a
copy in a backup included. Then every row of every table goes that has an agency, found by the catalogue of the models, so a new
table is erased without being named here. One transaction each, opened by the caller; all of it may be done twice.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from core.db import Bare, stamp_person
from tenants.people.membership import GONE
from tenants.tables import METADATA, Agency, Erasure, Member

KIND = "erase"
"""The duty; its subject is the agency itself, or a workspace of it."""
BATCH = 2_000
"""Rows of one statement: some tenths of a second."""
SETTLE = timedelta(minutes=2)
"""Between the first sweep and the last: longer than the deadline of any request and of any call that was under way."""
OWN = frozenset({Agency.__tablename__, Erasure.__tablename__, Member.__tablename__, "duties"})
"""Tables that have a moment of their own below."""
KEPT_OF_A_WORKSPACE = {
    "audit_entries": "The log is the agency's: it outlasts what it is about, and goes with the agency.",
}
"""Tables with a workspace whose rows stay when it is erased, each with its reason."""

DUE = "select erase_at, closed_at from agencies where id = $1 and erase_at <= now() for update"
HEAD = """
insert into erasures (agency_id, audit_sequence, audit_hash)
select $1, s.sequence, s.hash from (select 1) one
left join lateral (select sequence, hash from audit_seals where agency_id = $1 order by sequence desc limit 1) s on true
on conflict (agency_id) do nothing
"""
CLOSE = (
    "update agencies set closed_at = now() where id = $1",
    "delete from agency_keys where agency_id = $1",
    "update api_keys set created_by = null, revoked_at = coalesce(revoked_at, now()) where agency_id = $1",
    "delete from duties where agency_id = $1 and kind <> 'erase'",
)
LEFT = f"""
update members set {GONE}
where agency_id = $1 and (state = 'active' or custom_role_id is not null)
"""
"""Members go last, so they let go of the roles that go before; at each sweep, since who was let in before still gives some."""
SOME = "delete from {table} where ctid = any (array(select ctid from {table} where agency_id = $1{more} limit {batch}))"
PEOPLE = "select user_id from members where agency_id = $1 order by id limit 100"
LEAVE = "delete from members where agency_id = $1 and user_id = $2"
ALONE = "select 1 from users where id = $1 for update"
"""Of two agencies that are erased at once, each would see the person in the other still."""
FORGET = "delete from users where id = $1"
ELSEWHERE = "select 1 from members where user_id = $1 limit 1"
AGENCY = "delete from agencies where id = $1"
DUTIES = "delete from duties where agency_id = $1"
OURS = "t.agency_id = $1 and ($2::uuid is null or t.workspace_id = $2) and t.network = 'sandbox'"
PLAYED = f"""
select t.external_id id from publications t where {OURS} and t.external_id is not null
union select t.control_external_id from accounts t where {OURS} and t.control_external_id is not null
union select one ->> 'newest_external_id' from connect_sessions t, jsonb_array_elements(t.targets) one where {OURS}
"""
MARKERS = f"select t.id::text marker from publications t where {OURS}"
"""What the sandbox knows their posts by: one whose call was cut has no id of its own here."""
PROFILES = "select distinct profile_id from sandbox_posts where id = any($1::uuid[]) or marker = any($2::text[])"
UNPLAY = (
    "delete from sandbox_posts where profile_id = any($1::uuid[])",
    "delete from sandbox_profiles where id = any($1::uuid[])",
)
"""The sandbox plays a foreign network, but in this database."""


def tables(*, column: str = "agency_id") -> list[str]:
    """Every table that has `column`, the ones that refer to others first."""
    found = [table.name for table in reversed(METADATA.sorted_tables) if column in table.columns]
    return [name for name in found if name not in OWN]


async def close_door(db: Bare, agency_id: UUID) -> bool:
    """Begin an erasure that is due: keep the head of the log, destroy the data key, and let nobody in any more.

    True when it was begun before; then nothing changes but for members that were made since. Raises LookupError for an agency
    whose time has not come.
    """
    row = await db.fetchrow(DUE, agency_id)
    if row is None:
        raise LookupError("the agency is not to be erased")
    await db.execute(LEFT, agency_id)
    if row["closed_at"] is not None:
        return True
    await db.execute(HEAD, agency_id)
    await unplay(db, agency_id)
    for statement in CLOSE:
        await db.execute(statement, agency_id)
    return False


async def unplay(db: Bare, agency_id: UUID, workspace_id: UUID | None = None) -> None:
    """Delete what the sandbox shows of an agency, or of a workspace: by the rows that are deleted next, so it comes first."""
    ids = [id for row in await db.fetch(PLAYED, agency_id, workspace_id) if row["id"] and (id := _uuid(row["id"]))]
    markers = [row["marker"] for row in await db.fetch(MARKERS, agency_id, workspace_id)]
    profiles = [row["profile_id"] for row in await db.fetch(PROFILES, ids, markers)]
    for statement in UNPLAY:
        await db.execute(statement, profiles)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


async def delete_some(db: Bare, table: str, agency_id: UUID, workspace_id: UUID | None = None) -> bool:
    """Delete a batch of one table's rows, the agency's or a workspace's. True when there may be more.

    Raises ForeignKeyViolationError while rows of another table refer to them.
    """
    more, place = ("", [agency_id]) if workspace_id is None else (" and workspace_id = $2", [agency_id, workspace_id])
    done = await db.execute(SOME.format(table=table, more=more, batch=BATCH), *place)
    return int(done.rpartition(" ")[2]) >= BATCH


async def people_of(db: Bare, agency_id: UUID) -> Sequence[UUID]:
    """Some of the people who are, or were, members."""
    return [row["user_id"] for row in await db.fetch(PEOPLE, agency_id)]


async def forget_person(db: Bare, agency_id: UUID, user_id: UUID) -> None:
    """End a membership and, in the same transaction, the person that is left in no agency, with all that is its own."""
    await stamp_person(db, user_id)
    await db.execute(ALONE, user_id)
    await db.execute(LEAVE, agency_id, user_id)
    if await db.fetchval(ELSEWHERE, user_id) is None:
        await db.execute(FORGET, user_id)


async def end_agency(db: Bare, agency_id: UUID) -> None:
    """Delete what is left, the agency's own row and its duties. Raises ForeignKeyViolationError while its twin is there."""
    await db.execute(AGENCY, agency_id)
    await db.execute(DUTIES, agency_id)


def prefix(agency_id: UUID, workspace_id: UUID | None = None) -> str:
    """Name the folder of the media store where everything of an agency, or of a workspace, lies."""
    return f"{agency_id}/" if workspace_id is None else f"{agency_id}/{workspace_id}/"
