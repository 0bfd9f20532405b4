"""Who is in the agency and as what: listing, changing and ending memberships, and roles in workspaces.

Nobody gives or takes what he lacks, the last owner stays, and the keys of a member are narrowed with it and end with it.
"""

from datetime import datetime
from uuid import UUID

from core.db import Bare
from core.errors import Conflict, Fault, InvalidInput, Missing, PermissionDenied
from tenants.closed import require_open
from tenants.people.held import ROOMS, agency_role, named, stored, workspace_role
from tenants.people.made_keys import Narrowed, narrow_keys
from tenants.people.members import member_of, read_member
from tenants.people.roles import wanted_role
from tenants.people.schemas import MemberRead, RoomRole
from tenants.permissions import Actor, AgencyRole, CustomRole, Permission, WorkspaceRole, granted

WITHIN = """($3::uuid[] is null or exists (
  select from workspace_members b where b.agency_id = $1 and b.member_id = m.id and b.workspace_id = any ($3)))"""
"""A caller that is bound to workspaces sees those who were added to them."""
LIST = f"""
select m.id, m.user_id, u.name, u.email, m.role, m.custom_role_id, m.created_at, {ROOMS}
from members m join users u on u.id = m.user_id
where m.agency_id = $1 and m.state = 'active' and ($2::uuid is null or m.id < $2) and {WITHIN} order by m.id desc limit $4
"""
ONE = f"""
select m.id, m.role, m.custom_role_id from members m where m.agency_id = $1 and m.id = $2 and m.state = 'active' and {WITHIN}
"""
OWNERS = "select id from members where agency_id = $1 and role = 'owner' and state = 'active' order by id for update"
ROLE = "update members set role = $3, custom_role_id = $4 where agency_id = $1 and id = $2"
GONE = "state = 'removed', custom_role_id = null, role = case when custom_role_id is null then role else 'member' end"
"""A role of the agency's own is not held by who is gone: it can go too."""
END = f"update members set {GONE} where agency_id = $1 and id = $2"
END_INVITATIONS = """
update invitations i set state = 'revoked', ended_at = $3 from members m join users u on u.id = m.user_id
where i.agency_id = $1 and i.state = 'pending' and i.email = u.email and m.agency_id = $1 and m.id = $2
"""
"""Who was shown the door does not come back by an invitation of before."""
MADE = (
    "update grants set revoked_at = $3, revoked_reason = 'member_left'"
    " where agency_id = $1 and member_id = $2 and revoked_at is null",
    "update access_tokens set revoked_at = $3 where agency_id = $1 and member_id = $2 and revoked_at is null",
    "update share_links set revoked_at = $3 where agency_id = $1 and created_by_member = $2 and revoked_at is null",
    "update application_secrets set expires_at = $3 where agency_id = $1 and created_by_member = $2"
    " and (expires_at is null or expires_at > $3)",
)
"""What stands in the member's name besides its keys. It ends for good: who comes back is the same member with another role."""
LEAVE = "delete from workspace_members where agency_id = $1 and member_id = $2"
WORKSPACE = "select closed_at from workspaces where agency_id = $1 and id = $2 for key share"
ROOM = "select role, custom_role_id from workspace_members where agency_id = $1 and member_id = $2 and workspace_id = $3 for update"
ADD_ROOM = """
insert into workspace_members (agency_id, member_id, workspace_id, role, custom_role_id, created_at)
values ($1, $2, $3, $4, $5, $6)
on conflict (agency_id, member_id, workspace_id) do update set role = excluded.role, custom_role_id = excluded.custom_role_id
"""
DROP_ROOM = "delete from workspace_members where agency_id = $1 and member_id = $2 and workspace_id = $3"


async def list_members(db: Bare, actor: Actor, *, after: UUID | None, limit: int) -> list[MemberRead]:
    """The agency's members, newest first; of a caller that is bound to workspaces those of its workspaces."""
    rows = await db.fetch(LIST, actor.agency_id, after, actor.reach, limit)
    return [member_of(row, actor.workspace_ids) for row in rows]


async def get_member(db: Bare, actor: Actor, member_id: UUID) -> MemberRead:
    """One member whom the caller sees. Raises Missing."""
    await _find(db, actor, member_id)
    read = await read_member(db, actor.agency_id, member_id)
    seen = actor.workspace_ids
    return read.model_copy(update={"workspaces": [one for one in read.workspaces if seen is None or one.workspace_id in seen]})


async def _find(db: Bare, actor: Actor, member_id: UUID, *, lock: bool = False) -> AgencyRole | CustomRole:
    """Find an active member's role. A lock waits for a key that the member is making, and keeps it from making one."""
    row = await db.fetchrow(ONE + (" for update of m" if lock else ""), actor.agency_id, member_id, actor.reach)
    if row is None:
        raise Missing
    return await agency_role(db, actor.agency_id, row["role"], row["custom_role_id"])


async def _require_grantable(db: Bare, actor: Actor, *roles: AgencyRole | CustomRole) -> None:
    """Refuse to give or take a role that holds more than the caller. Owners are a matter of owners in person."""
    if actor.workspace_ids is not None:
        _refuse("A caller that is bound to workspaces changes nothing about the agency.")
    for role in roles:
        if not granted(role) <= actor.permissions:
            _refuse("Nobody gives or takes a role that holds more than himself.")
        if role is AgencyRole.OWNER:
            mine = None if actor.member_id is None else await _find(db, actor, actor.member_id)
            if mine is not AgencyRole.OWNER:
                _refuse("Only an owner in person makes or unmakes owners.")


def _refuse(detail: str) -> None:
    raise PermissionDenied(detail, required_permission=Permission.MEMBER_MANAGE.value)


def _keep_an_owner(owners: list[UUID], member_id: UUID) -> None:
    if owners == [member_id]:
        raise Conflict("An agency has an owner: make somebody else one first.", code="last_owner")


async def change_role(
    db: Bare, actor: Actor, member_id: UUID, wanted: AgencyRole | UUID, now: datetime
) -> tuple[str, MemberRead, Narrowed]:  # fmt: skip
    """Give a member another role in the agency, a built-in one or one of its own. Returns the one before, and what became of keys.

    Raises Missing, InvalidInput (no such role), PermissionDenied, Conflict (last_owner).
    """
    await _find(db, actor, member_id)
    # The role before its members, as who changes a role does
    role = await wanted_role(db, actor.agency_id, wanted, "agency", "/role") if isinstance(wanted, UUID) else wanted
    owners, before = await _lock(db, actor, member_id)
    await _require_grantable(db, actor, before, role)
    if before is AgencyRole.OWNER and role is not AgencyRole.OWNER:
        _keep_an_owner(owners, member_id)
    await db.execute(ROLE, actor.agency_id, member_id, *stored(role))
    narrowed = await narrow_keys(db, actor, [member_id], now)
    return named(before), await get_member(db, actor, member_id), narrowed


async def hand_over(db: Bare, actor: Actor, member_id: UUID) -> MemberRead:
    """Make a member an owner and the caller, who is one, an admin: both or neither. Returns the new owner.

    Raises PermissionDenied for who is no owner in person, InvalidInput (no such member), Conflict for who is an owner already.
    """
    owners = [row["id"] for row in await db.fetch(OWNERS, actor.agency_id)]
    if actor.member_id not in owners:
        detail = "Only an owner in person hands the agency over."
        raise PermissionDenied(detail, required_permission=Permission.AGENCY_TRANSFER.value)
    try:
        await _find(db, actor, member_id, lock=True)
    except Missing as error:
        raise InvalidInput(faults=[Fault("/member_id", "not_found", "There is no such member.")]) from error
    if member_id in owners:
        raise Conflict("This member is an owner already.")
    await db.execute(ROLE, actor.agency_id, member_id, *stored(AgencyRole.OWNER))
    await db.execute(ROLE, actor.agency_id, actor.member_id, *stored(AgencyRole.ADMIN))
    return await read_member(db, actor.agency_id, member_id)


async def _lock(db: Bare, actor: Actor, member_id: UUID) -> tuple[list[UUID], AgencyRole | CustomRole]:
    """Lock the owners first, in one order for all: two owners who unmake one another must not both succeed."""
    owners = [row["id"] for row in await db.fetch(OWNERS, actor.agency_id)]
    return owners, await _find(db, actor, member_id, lock=True)


async def end_membership(db: Bare, actor: Actor, member_id: UUID, now: datetime) -> tuple[str, Narrowed]:
    """End a membership with its roles and all that stands in its name. It holds from the commit on. Returns the role and the keys.

    Raises as `change_role` does.
    """
    await _find(db, actor, member_id)
    owners, role = await _lock(db, actor, member_id)
    await _require_grantable(db, actor, role)
    if role is AgencyRole.OWNER:
        _keep_an_owner(owners, member_id)
    await db.execute(END, actor.agency_id, member_id)
    await db.execute(LEAVE, actor.agency_id, member_id)
    for statement in (END_INVITATIONS, *MADE):
        await db.execute(statement, actor.agency_id, member_id, now)
    return named(role), await narrow_keys(db, actor, [member_id], now)


async def _require_workspace(db: Bare, actor: Actor, workspace_id: UUID) -> datetime | None:
    """Lock a workspace that the caller sees. Returns when it was closed, if it was. Raises Missing."""
    actor.see(workspace_id)
    row = await db.fetchrow(WORKSPACE, actor.agency_id, workspace_id)
    if row is None:
        raise Missing
    closed_at: datetime | None = row["closed_at"]
    return closed_at


async def _room(db: Bare, actor: Actor, workspace_id: UUID, member_id: UUID) -> WorkspaceRole | CustomRole | None:
    row = await db.fetchrow(ROOM, actor.agency_id, member_id, workspace_id)
    return None if row is None else await workspace_role(db, actor.agency_id, row["role"], row["custom_role_id"])


def _require_within(actor: Actor, *roles: WorkspaceRole | CustomRole) -> None:
    for role in roles:
        if not granted(role) <= actor.permissions:
            detail = "Nobody gives or takes a role that holds more than himself."
            raise PermissionDenied(detail, required_permission=Permission.MEMBER_ASSIGN.value)


async def assign(
    db: Bare, actor: Actor, workspace_id: UUID, member_id: UUID, wanted: WorkspaceRole | UUID, now: datetime
) -> tuple[str | None, RoomRole, Narrowed]:  # fmt: skip
    """Give a member a role in a workspace, or another one. Returns the role before, and what became of keys.

    Raises Missing, InvalidInput (no such role), PermissionDenied, Conflict for a workspace that is closed.
    """
    require_open(await _require_workspace(db, actor, workspace_id))
    await _find(db, actor, member_id)
    role = await wanted_role(db, actor.agency_id, wanted, "workspace", "/role") if isinstance(wanted, UUID) else wanted
    await _find(db, actor, member_id, lock=True)
    before = await _room(db, actor, workspace_id, member_id)
    if before is None and actor.workspace_ids is not None:
        raise Missing  # who is bound to workspaces knows those who are in them
    _require_within(actor, role, *([before] if before else []))
    await db.execute(ADD_ROOM, actor.agency_id, member_id, workspace_id, *stored(role), now)
    narrowed = await narrow_keys(db, actor, [member_id], now)
    return (None if before is None else named(before)), RoomRole(workspace_id=workspace_id, role=named(role)), narrowed


async def unassign(db: Bare, actor: Actor, workspace_id: UUID, member_id: UUID, now: datetime) -> tuple[str, Narrowed]:
    """Take a member out of a workspace. Returns the role that it had, and what became of keys. Raises Missing, PermissionDenied."""
    await _require_workspace(db, actor, workspace_id)
    await _find(db, actor, member_id, lock=True)
    before = await _room(db, actor, workspace_id, member_id)
    if before is None:
        raise Missing
    _require_within(actor, before)
    await db.execute(DROP_ROOM, actor.agency_id, member_id, workspace_id)
    return named(before), await narrow_keys(db, actor, [member_id], now)
