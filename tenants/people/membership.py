"""Who is in the agency and as what: listing, changing and ending memberships, and roles in workspaces.

Nobody gives or takes what he lacks, the last owner stays, and the keys of a member end when it may no longer make them.
"""

from datetime import datetime
from uuid import UUID

from core.db import Bare
from core.errors import Conflict, Missing, PermissionDenied
from tenants.people.members import ROOMS, read_member
from tenants.people.schemas import MemberRead, RoomRole
from tenants.permissions import AGENCY_ROLES, WORKSPACE_ROLES, Actor, AgencyRole, Permission, WorkspaceRole, existing

WITHIN = """($3::uuid[] is null or exists (
  select from workspace_members b where b.agency_id = $1 and b.member_id = m.id and b.workspace_id = any ($3)))"""
"""A caller that is bound to workspaces sees those who were added to them."""
LIST = f"""
select m.id, m.user_id, u.name, u.email, m.role, m.created_at, {ROOMS}
from members m join users u on u.id = m.user_id
where m.agency_id = $1 and m.state = 'active' and ($2::uuid is null or m.id < $2) and {WITHIN} order by m.id desc limit $4
"""
ONE = f"select m.id, m.role from members m where m.agency_id = $1 and m.id = $2 and m.state = 'active' and {WITHIN}"
OWNERS = "select id from members where agency_id = $1 and role = 'owner' and state = 'active' order by id for update"
ROLE = "update members set role = $3 where agency_id = $1 and id = $2"
END = "update members set state = 'removed' where agency_id = $1 and id = $2"
LEAVE = "delete from workspace_members where agency_id = $1 and member_id = $2"
END_KEYS = """
with recursive ending as (
  select id from api_keys where agency_id = $1 and created_by_member = $2
  union select k.id from api_keys k join ending e on k.agency_id = $1 and k.created_by = e.id)
update api_keys set revoked_at = $3 where agency_id = $1 and id in (select id from ending) and revoked_at is null
"""
WORKSPACE = "select 1 from workspaces where agency_id = $1 and id = $2 for key share"
ROOM = "select role from workspace_members where agency_id = $1 and member_id = $2 and workspace_id = $3 for update"
ADD_ROOM = """
insert into workspace_members (agency_id, member_id, workspace_id, role, created_at) values ($1, $2, $3, $4, $5)
on conflict (agency_id, member_id, workspace_id) do update set role = excluded.role
"""
DROP_ROOM = "delete from workspace_members where agency_id = $1 and member_id = $2 and workspace_id = $3"


def _reach(actor: Actor) -> list[UUID] | None:
    return None if actor.workspace_ids is None else list(actor.workspace_ids)


async def list_members(db: Bare, actor: Actor, *, after: UUID | None, limit: int) -> list[MemberRead]:
    """The agency's members, newest first; of a caller that is bound to workspaces those of its workspaces."""
    rows = await db.fetch(LIST, actor.agency_id, after, _reach(actor), limit)
    return [
        MemberRead(
            **{name: row[name] for name in ("id", "user_id", "name", "email", "role", "created_at")},
            workspaces=_rooms(actor, row["rooms"], row["room_roles"]),
        )
        for row in rows
    ]


def _rooms(actor: Actor, rooms: list[UUID], roles: list[str]) -> list[RoomRole]:
    pairs = zip(rooms, roles, strict=True)
    seen = actor.workspace_ids
    return [RoomRole(workspace_id=id, role=role) for id, role in pairs if seen is None or id in seen]


async def get_member(db: Bare, actor: Actor, member_id: UUID) -> MemberRead:
    """One member whom the caller sees. Raises Missing."""
    await _find(db, actor, member_id)
    read = await read_member(db, actor.agency_id, member_id)
    seen = actor.workspace_ids
    return read.model_copy(update={"workspaces": [one for one in read.workspaces if seen is None or one.workspace_id in seen]})


async def _find(db: Bare, actor: Actor, member_id: UUID, *, lock: bool = False) -> AgencyRole:
    """Find an active member's role. A lock waits for a key that the member is making, and keeps it from making one."""
    role = await db.fetchrow(ONE + (" for update of m" if lock else ""), actor.agency_id, member_id, _reach(actor))
    if role is None:
        raise Missing
    return AgencyRole(role["role"])


async def _require_grantable(db: Bare, actor: Actor, *roles: AgencyRole) -> None:
    """Refuse to give or take a role that holds more than the caller. Owners are a matter of owners in person."""
    if actor.workspace_ids is not None:
        _refuse("A caller that is bound to workspaces changes nothing about the agency.")
    for role in roles:
        if not existing(AGENCY_ROLES[role]) <= actor.permissions:
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


async def change_role(db: Bare, actor: Actor, member_id: UUID, role: AgencyRole, now: datetime) -> tuple[AgencyRole, MemberRead]:
    """Give a member another role in the agency. Returns the one before. Raises Missing, PermissionDenied, Conflict (last_owner)."""
    await _find(db, actor, member_id)
    owners, before = await _lock(db, actor, member_id)
    await _require_grantable(db, actor, before, role)
    if before is AgencyRole.OWNER and role is not AgencyRole.OWNER:
        _keep_an_owner(owners, member_id)
    await db.execute(ROLE, actor.agency_id, member_id, role.value)
    if not existing(AGENCY_ROLES[before]) <= existing(AGENCY_ROLES[role]):
        await db.execute(END_KEYS, actor.agency_id, member_id, now)
    return before, await get_member(db, actor, member_id)


async def _lock(db: Bare, actor: Actor, member_id: UUID) -> tuple[list[UUID], AgencyRole]:
    """Lock the owners first, in one order for all: two owners who unmake one another must not both succeed."""
    owners = [row["id"] for row in await db.fetch(OWNERS, actor.agency_id)]
    return owners, await _find(db, actor, member_id, lock=True)


async def end_membership(db: Bare, actor: Actor, member_id: UUID, now: datetime) -> AgencyRole:
    """End a membership with its roles and keys. It holds from the commit on. Returns the role. Raises as `change_role` does."""
    await _find(db, actor, member_id)
    owners, role = await _lock(db, actor, member_id)
    await _require_grantable(db, actor, role)
    if role is AgencyRole.OWNER:
        _keep_an_owner(owners, member_id)
    await db.execute(END, actor.agency_id, member_id)
    await db.execute(LEAVE, actor.agency_id, member_id)
    await db.execute(END_KEYS, actor.agency_id, member_id, now)
    return role


async def _room(db: Bare, actor: Actor, workspace_id: UUID, member_id: UUID) -> WorkspaceRole | None:
    actor.see(workspace_id)
    if await db.fetchrow(WORKSPACE, actor.agency_id, workspace_id) is None:
        raise Missing
    role = await db.fetchval(ROOM, actor.agency_id, member_id, workspace_id)
    return None if role is None else WorkspaceRole(role)


def _require_within(actor: Actor, *roles: WorkspaceRole) -> None:
    for role in roles:
        if not existing(WORKSPACE_ROLES[role]) <= actor.permissions:
            detail = "Nobody gives or takes a role that holds more than himself."
            raise PermissionDenied(detail, required_permission=Permission.MEMBER_ASSIGN.value)


async def assign(
    db: Bare, actor: Actor, workspace_id: UUID, member_id: UUID, role: WorkspaceRole, now: datetime
) -> tuple[WorkspaceRole | None, RoomRole]:  # fmt: skip
    """Give a member a role in a workspace, or another one. Returns the role before. Raises Missing, PermissionDenied."""
    before = await _room(db, actor, workspace_id, member_id)
    if before is None and actor.workspace_ids is not None:
        raise Missing  # who is bound to workspaces knows those who are in them
    await _find(db, actor, member_id)
    _require_within(actor, role, *([before] if before else []))
    await db.execute(ADD_ROOM, actor.agency_id, member_id, workspace_id, role.value, now)
    return before, RoomRole(workspace_id=workspace_id, role=role.value)


async def unassign(db: Bare, actor: Actor, workspace_id: UUID, member_id: UUID) -> WorkspaceRole:
    """Take a member out of a workspace. Returns the role that it had. Raises Missing, PermissionDenied."""
    before = await _room(db, actor, workspace_id, member_id)
    if before is None:
        raise Missing
    _require_within(actor, before)
    await db.execute(DROP_ROOM, actor.agency_id, member_id, workspace_id)
    return before
