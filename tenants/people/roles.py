"""Roles that an agency makes for itself, beside the built-in ones: sets of permissions, for the agency or for a workspace.

Nobody makes, changes or gives one that holds more than himself. A change holds from the commit on, for everybody who has it.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal
from uuid import UUID

from core.db import Bare, Row
from core.errors import Conflict, Fault, InvalidInput, Missing, PermissionDenied
from core.ids import encode, new_id
from core.wire import PREFIXES
from tenants.people.models import CUSTOM
from tenants.permissions import (
    AGENCY_ROLES,
    OF_THE_AGENCY,
    OF_THE_OWNER,
    WORKSPACE_ROLES,
    Actor,
    AgencyRole,
    CustomRole,
    Permission,
    WorkspaceRole,
    existing,
    lost,
)

Scope = Literal["agency", "workspace"]
ROLES_MAX = 100
"""Of one agency: more than anybody can tell apart, and few enough for one page."""
COLUMNS = "id, name, scope, permissions, created_at"
LIST = f"select {COLUMNS} from roles where agency_id = $1 order by id"
ONE = f"select {COLUMNS} from roles where agency_id = $1 and id = $2"
SEVERAL = "select id, scope, permissions from roles where agency_id = $1 and id = any ($2)"
COUNT = "select count(*) from roles where agency_id = $1"
TURN = "select pg_advisory_xact_lock(hashtextextended('roles/' || $1::uuid, 7))"
"""Roles of an agency are made one after another, so that the count of them holds."""
INSERT = f"""
insert into roles (agency_id, id, name, scope, permissions, created_at) values ($1, $2, $3, $4, $5, $6) returning {COLUMNS}
"""
UPDATE = f"update roles set name = $3, permissions = $4 where agency_id = $1 and id = $2 returning {COLUMNS}"
DELETE = "delete from roles where agency_id = $1 and id = $2"
USED = """
select exists (select 1 from members where agency_id = $1 and custom_role_id = $2)
  or exists (select 1 from workspace_members where agency_id = $1 and custom_role_id = $2)
  or exists (select 1 from invitations where agency_id = $1 and state = 'pending' and expires_at > now()
    and (role = $3 or $3 = any (workspace_roles)))
"""
HOLDERS = "select id from members where agency_id = $1 and custom_role_id = $2 and state = 'active' order by id for update"
END_KEYS = """
with recursive ending as (
  select id from api_keys where agency_id = $1 and created_by_member = any ($2)
  union select k.id from api_keys k join ending e on k.agency_id = $1 and k.created_by = e.id)
update api_keys set revoked_at = $3 where agency_id = $1 and id in (select id from ending) and revoked_at is null
"""
"""The keys that members made, and those that these made."""
ALLOWED: dict[str, frozenset[Permission]] = {
    "agency": frozenset(Permission) - OF_THE_OWNER,
    "workspace": frozenset(Permission) - OF_THE_AGENCY,
}
"""What a role can hold: ownership is of owners alone, and no role of a workspace reaches the agency."""
EVERY_MEMBERS = existing(AGENCY_ROLES[AgencyRole.MEMBER])
"""What a member has who has nothing: each role of the agency has it too."""


def role_name(role: str, custom_role_id: UUID | None) -> str:
    """Write a role as it stands on the wire: by the name of a built-in one, or by the id of one of the agency's own."""
    return role if custom_role_id is None else encode(PREFIXES["role"], custom_role_id)


def stored(role: AgencyRole | WorkspaceRole | CustomRole) -> tuple[str, UUID | None]:
    """Write a role as the two columns that hold one."""
    return (CUSTOM, role.id) if isinstance(role, CustomRole) else (role.value, None)


def named(role: AgencyRole | WorkspaceRole | CustomRole) -> str:
    """Write a role as it stands on the wire."""
    return role_name(*stored(role))


def _custom(row: Row) -> CustomRole:
    held = frozenset(one for one in ALLOWED[row["scope"]] if one.value in set(row["permissions"]))
    return CustomRole(row["id"], held | EVERY_MEMBERS if row["scope"] == "agency" else held)


async def custom_roles(db: Bare, agency_id: UUID, ids: Iterable[UUID | None]) -> dict[UUID, CustomRole]:
    """Read the agency's own roles among `ids`. Most members have none, and then nothing is asked."""
    wanted = [id for id in ids if id is not None]
    rows = await db.fetch(SEVERAL, agency_id, wanted) if wanted else []
    return {row["id"]: _custom(row) for row in rows}


async def agency_role(db: Bare, agency_id: UUID, role: str, custom_role_id: UUID | None) -> AgencyRole | CustomRole:
    """Read a role of the agency from the two columns that hold it."""
    if custom_role_id is None:
        return AgencyRole(role)
    return (await custom_roles(db, agency_id, [custom_role_id]))[custom_role_id]


async def workspace_role(db: Bare, agency_id: UUID, role: str, custom_role_id: UUID | None) -> WorkspaceRole | CustomRole:
    """Read a role in a workspace from the two columns that hold it."""
    if custom_role_id is None:
        return WorkspaceRole(role)
    return (await custom_roles(db, agency_id, [custom_role_id]))[custom_role_id]


async def wanted_role(db: Bare, agency_id: UUID, role_id: UUID, scope: Scope, pointer: str) -> CustomRole:
    """Find a role of the agency's own that somebody is to get, and keep it from going. Raises InvalidInput."""
    row = await db.fetchrow(f"{ONE} for key share", agency_id, role_id)
    if row is None:
        raise InvalidInput(faults=[Fault(pointer, "not_found", "There is no such role.")])
    if row["scope"] != scope:
        raise InvalidInput(faults=[Fault(pointer, "validation_failed", f"It is a role of the {row['scope']}.")])
    return _custom(row)


async def list_roles(db: Bare, actor: Actor) -> list[Row]:
    """The agency's own roles, oldest first."""
    rows: list[Row] = await db.fetch(LIST, actor.agency_id)
    return rows


async def get_role(db: Bare, actor: Actor, role_id: UUID) -> Row:
    """One of the agency's own roles. Raises Missing."""
    row = await db.fetchrow(ONE, actor.agency_id, role_id)
    if row is None:
        raise Missing
    return row


def _require(actor: Actor, permissions: Iterable[Permission]) -> None:
    if actor.workspace_ids is not None:
        _refuse("A caller that is bound to workspaces changes nothing about the agency.")
    lacking = sorted(one.value for one in permissions if one not in actor.permissions)
    if lacking:
        _refuse(f"Nobody makes or changes a role that holds more than himself: {', '.join(lacking)}.")


def _refuse(detail: str) -> None:
    raise PermissionDenied(detail, required_permission=Permission.ROLE_MANAGE.value)


def _require_allowed(scope: str, permissions: list[Permission]) -> None:
    faults = [
        Fault(f"/permissions/{place}", "validation_failed", f"No custom role of the {scope} can hold it.")
        for place, one in enumerate(permissions)
        if one not in ALLOWED[scope]
    ]
    if faults:
        raise InvalidInput(faults=faults)


def _listed(permissions: Iterable[Permission]) -> list[str]:
    return sorted({one.value for one in permissions})


async def create_role(db: Bare, actor: Actor, name: str, scope: Scope, permissions: list[Permission], now: datetime) -> Row:
    """Make a role. Raises InvalidInput, PermissionDenied for what the caller lacks, Conflict when there are too many."""
    _require_allowed(scope, permissions)
    _require(actor, permissions)
    await db.execute(TURN, actor.agency_id)
    if await db.fetchval(COUNT, actor.agency_id) >= ROLES_MAX:
        raise Conflict(f"An agency has at most {ROLES_MAX} roles of its own.")
    return await db.fetchrow(INSERT, actor.agency_id, new_id(), name, scope, _listed(permissions), now)


async def update_role(
    db: Bare, actor: Actor, role_id: UUID, name: str | None, permissions: list[Permission] | None, now: datetime
) -> tuple[Row, Row]:  # fmt: skip
    """Change a role for everybody who has it. Returns it before and after.

    Raises Missing, InvalidInput, and PermissionDenied for what the caller lacks, of what it holds and of what it shall hold. Keys
    of members who lose something by it end, as those of a member who gets a smaller role do.
    """
    await get_role(db, actor, role_id)
    holders = [row["id"] for row in await db.fetch(HOLDERS, actor.agency_id, role_id)]  # before the role, as `change_role` does
    before = await db.fetchrow(f"{ONE} for update", actor.agency_id, role_id)
    if before is None:
        raise Missing
    wanted = [Permission(one) for one in before["permissions"]] if permissions is None else permissions
    _require_allowed(before["scope"], wanted)
    _require(actor, {*wanted, *_custom(before).permissions - EVERY_MEMBERS})
    after = await db.fetchrow(UPDATE, actor.agency_id, role_id, name or before["name"], _listed(wanted))
    if lost(_custom(before), _custom(after)):
        await db.execute(END_KEYS, actor.agency_id, holders, now)
    return before, after


async def delete_role(db: Bare, actor: Actor, role_id: UUID) -> Row:
    """Take a role away that nobody has. Returns what it was. Raises Missing, PermissionDenied, Conflict (resource_in_use)."""
    row = await db.fetchrow(f"{ONE} for update", actor.agency_id, role_id)
    if row is None:
        raise Missing
    _require(actor, _custom(row).permissions - EVERY_MEMBERS)
    if await db.fetchval(USED, actor.agency_id, role_id, role_name(CUSTOM, role_id)):
        raise Conflict("Members have this role, or somebody is invited with it.", code="resource_in_use")
    await db.execute(DELETE, actor.agency_id, role_id)
    return row


def built_in() -> list[tuple[Scope, str, list[str]]]:
    """The built-in roles: where they hold, their names, and what they hold today."""
    agency: list[tuple[Scope, str, list[str]]] = [("agency", role, _listed(existing(held))) for role, held in AGENCY_ROLES.items()]
    return agency + [("workspace", role, _listed(existing(held))) for role, held in WORKSPACE_ROLES.items()]
