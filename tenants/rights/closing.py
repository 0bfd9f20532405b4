"""Closing: an agency by its owner, a workspace when its client leaves. Both have a grace, in which they can be opened again.

An agency that is closed goes on as it is until its grace is over, so that nobody who closes it by mistake, or in somebody else's
place, stops what is due. A workspace closes at once: nothing new is taken, and nothing goes out.
"""

from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from core import duties
from core.db import Bare, stamp_agency
from core.errors import Conflict, Missing, PermissionDenied
from tenants.agencies.models import Workspace
from tenants.audit.entries import Entry, Origin, record
from tenants.permissions import Actor, Permission
from tenants.rights import erasing

KIND = "workspace_close"
"""The operation that takes a workspace's accounts and times away, and exports it."""
AGENCY_GRACE = timedelta(days=14)
WORKSPACE_GRACE = timedelta(days=30)
"""Stored answers about posts are kept as long (`api.idempotency.KEEP_POSTS`): none outlasts its workspace."""
BOTH = "select id from agencies where id = $1 or live_agency_id = $1 order by live_agency_id nulls first"
CLOSE = "update agencies set erase_at = $2 where id = $1 and erase_at is null returning erase_at"
KEEP = "update agencies set erase_at = null where id = $1 and closed_at is null returning id"
READ = "select erase_at from agencies where id = $1"
SHUT = """
update workspaces set closed_at = $3, version = version + 1, updated_at = $3
where agency_id = $1 and id = $2 and closed_at is null returning id
"""
DOOR = (
    "update api_keys set revoked_at = now() where agency_id = $1 and workspace_ids = array[$2::uuid] and revoked_at is null",
    "update api_keys set workspace_ids = array_remove(workspace_ids, $2) where agency_id = $1 and $2 = any (workspace_ids)"
    " and revoked_at is null",
    "update share_links set revoked_at = now() where agency_id = $1 and workspace_id = $2 and revoked_at is null",
    "update invitations set state = 'revoked', ended_at = now()"
    " where agency_id = $1 and $2 = any (workspace_ids) and state = 'pending'",
    "update applications set workspace_ids = array_remove(workspace_ids, $2) where agency_id = $1 and $2 = any (workspace_ids)",
    "update grants set revoked_at = coalesce(revoked_at, now()), revoked_reason = coalesce(revoked_reason, 'workspace_closed')"
    " where agency_id = $1 and workspace_ids = array[$2::uuid]",
    "update grants set workspace_ids = array_remove(workspace_ids, $2)"
    " where agency_id = $1 and $2 = any (workspace_ids) and workspace_ids <> array[$2::uuid]",
    "update access_tokens set revoked_at = now() where agency_id = $1 and $2 = any (workspace_ids) and revoked_at is null",
    "delete from connect_sessions where agency_id = $1 and workspace_id = $2",
)
"""What ends with a workspace at once: links, keys that reach it alone, invitations, what applications may do there, and connecting
that is under way. Keys before links, as who opens a link locks its maker first. Its people's roles open nothing from then on
(`people.held`)."""
LEAVE = "delete from workspace_members where agency_id = $1 and workspace_id = $2"
OPEN = """
update workspaces set closed_at = null, erase_at = null, version = version + 1, updated_at = $3
where agency_id = $1 and id = $2 and closed_at is not null returning id
"""
BUSY = """
select 1 from operations where agency_id = $1 and workspace_id = $2 and kind = $3 and state in ('queued', 'running') limit 1
"""
ENDING = """
update workspaces set erase_at = $3 where agency_id = $1 and id = $2 and closed_at is not null returning id
"""
ERASABLE = "select 1 from workspaces where agency_id = $1 and id = $2 and closed_at is not null and erase_at <= now() for update"
END = "delete from workspaces where agency_id = $1 and id = $2"
CANCELLABLE = """
select distinct post_id from publications where agency_id = $1 and workspace_id = $2 and ($3::uuid is null or post_id > $3)
  and state = any($4::text[]) order by post_id limit 100
"""
CONNECTED = """
select a.id, a.network, c.id connection_id, c.sealed from accounts a
left join connections c on c.agency_id = a.agency_id and c.account_id = a.id and c.state = 'active'
where a.agency_id = $1 and a.workspace_id = $2 and a.state <> 'disconnected' order by a.id
"""


def require_owner(actor: Actor) -> None:
    """Refuse whoever is no person, and the test data by themselves. Raises PermissionDenied, Conflict."""
    if actor.member_id is None:
        raise PermissionDenied("Only an owner in person closes an agency.", required_permission=Permission.AGENCY_CLOSE.value)
    if not actor.livemode:
        raise Conflict("Test data go with their agency: close that one.")


async def close_agency(db: Bare, actor: Actor, now: datetime) -> datetime:
    """Let an agency and its test data be erased when the grace is over. Returns when; closing twice changes nothing."""
    erase_at = now + AGENCY_GRACE
    for row in await db.fetch(BOTH, actor.agency_id):
        await stamp_agency(db, row["id"])
        if await db.fetchval(CLOSE, row["id"], erase_at) is not None:
            await duties.put(db, erasing.KIND, row["id"], [(row["id"], erase_at, None)], now)
    await stamp_agency(db, actor.agency_id)
    found: datetime = await db.fetchval(READ, actor.agency_id)
    return found


async def keep_agency(db: Bare, actor: Actor) -> None:
    """Call it off, for both."""
    for row in await db.fetch(BOTH, actor.agency_id):
        await stamp_agency(db, row["id"])
        if await db.fetchval(KEEP, row["id"]) is not None:
            await duties.drop(db, erasing.KIND, [row["id"]])
    await stamp_agency(db, actor.agency_id)


async def read_closure(db: Bare, agency_id: UUID) -> datetime | None:
    """Say when the agency is erased, if it is closed."""
    found: datetime | None = await db.fetchval(READ, agency_id)
    return found


async def shut_workspace(db: Bare, agency_id: UUID, workspace_id: UUID, now: datetime) -> None:
    """Close a workspace at once, with everything by which its people and its client's get in. Raises Conflict."""
    if await db.fetchval(SHUT, agency_id, workspace_id, now) is None:
        raise Conflict("The workspace is closed already.")
    for statement in DOOR:
        await db.execute(statement, agency_id, workspace_id)


async def open_workspace(db: Bare, workspace: Workspace, now: datetime) -> None:
    """Open a locked workspace again. Accounts are connected and people added anew. Raises Conflict."""
    place = (workspace.agency_id, workspace.id)
    if workspace.closed_at is None:
        raise Conflict("The workspace is open.")
    if await db.fetchval(BUSY, *place, KIND) is not None:
        raise Conflict("It is being closed at this moment: wait for its operation.")
    if workspace.erase_at is not None and workspace.erase_at <= now:
        raise Missing
    await db.execute(LEAVE, *place)
    await db.fetchval(OPEN, *place, now)
    await duties.drop(db, erasing.KIND, [workspace.id])


async def posts_to_cancel(
    db: Bare, agency_id: UUID, workspace_id: UUID, after: UUID | None, states: list[str]
) -> list[UUID]:  # fmt: skip
    """Some of the posts of a workspace that have a delivery in one of `states`."""
    return [row["post_id"] for row in await db.fetch(CANCELLABLE, agency_id, workspace_id, after, states)]


async def connected(db: Bare, agency_id: UUID, workspace_id: UUID) -> list[asyncpg.Record]:
    """The accounts of a workspace that are not disconnected, each with its sealed authorisation."""
    rows: list[asyncpg.Record] = await db.fetch(CONNECTED, agency_id, workspace_id)
    return rows


async def begin_grace(db: Bare, agency_id: UUID, workspace_id: UUID, erase_at: datetime, now: datetime) -> None:
    """Let a closed workspace be erased when its grace is over."""
    if await db.fetchval(ENDING, agency_id, workspace_id, erase_at) is not None:
        await duties.put(db, erasing.KIND, agency_id, [(workspace_id, erase_at, None)], now)


async def is_erasable(db: Bare, agency_id: UUID, workspace_id: UUID) -> bool:
    """Say whether a workspace is closed and its grace over."""
    return await db.fetchval(ERASABLE, agency_id, workspace_id) is not None


async def end_workspace(db: Bare, agency_id: UUID, workspace_id: UUID) -> None:
    """Delete the workspace's own row, and tell it to the agency's log."""
    await db.execute(END, agency_id, workspace_id)
    entry = Entry("workspace", workspace_id, workspace_id, before={}, after=None)
    await record(db, agency_id, "workspace.erase", Origin("agency", agency_id, request_id=""), entry)
