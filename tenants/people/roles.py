"""Roles that an agency makes for itself, beside the built-in ones: sets of permissions, for the agency or for a workspace.

Nobody makes, changes or gives one that holds more than himself. A change holds from the commit on, for everybody who has it.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal
from uuid import UUID

from core.db import Bare, Row, take_turn
from core.errors import Conflict, Fault, InvalidInput, Missing, PermissionDenied
from core.ids import new_id
from tenants.people.held import ALLOWED, EVERY_MEMBERS, custom_role, role_name
from tenants.people.made_keys import Narrowed, narrow_keys
from tenants.people.models import CUSTOM
from tenants.permissions import AGENCY_ROLES, WORKSPACE_ROLES, Actor, CustomRole, Permission, existing

Scope = Literal["agency", "workspace"]
ROLES_MAX = 100
"""Of one agency: more than anybody can tell apart, and few enough for one page."""
COLUMNS = "id, name, scope, permissions, created_at"
LIST = f"select {COLUMNS} from roles where agency_id = $1 order by id"
ONE = f"select {COLUMNS} from roles where agency_id = $1 and id = $2"
COUNT = "select count(*) from roles where agency_id = $1"
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
HOLDERS = """
select m.id from members m where m.agency_id = $1 and m.state = 'active' and (m.custom_role_id = $2 or exists (
  select from workspace_members w where w.agency_id = $1 and w.member_id = m.id and w.custom_role_id = $2))
order by m.id for update of m
"""
"""Read when the role is locked: who gives it to somebody holds it until that is written."""


async def wanted_role(db: Bare, agency_id: UUID, role_id: UUID, scope: Scope, pointer: str) -> CustomRole:
    """Find a role of the agency's own that somebody is to get, and keep it from going. Raises InvalidInput."""
    row = await db.fetchrow(f"{ONE} for key share", agency_id, role_id)
    if row is None:
        raise InvalidInput(faults=[Fault(pointer, "not_found", "There is no such role.")])
    if row["scope"] != scope:
        raise InvalidInput(faults=[Fault(pointer, "validation_failed", f"It is a role of the {row['scope']}.")])
    return custom_role(row)


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
    await take_turn(db, "roles", actor.agency_id)
    if await db.fetchval(COUNT, actor.agency_id) >= ROLES_MAX:
        raise Conflict(f"An agency has at most {ROLES_MAX} roles of its own.")
    return await db.fetchrow(INSERT, actor.agency_id, new_id(), name, scope, _listed(permissions), now)


async def update_role(
    db: Bare, actor: Actor, role_id: UUID, name: str | None, permissions: list[Permission] | None, now: datetime
) -> tuple[Row, Row, Narrowed]:  # fmt: skip
    """Change a role for everybody who has it. Returns it before and after.

    Raises Missing, InvalidInput, and PermissionDenied for what the caller lacks, of what it holds and of what it shall hold. Keys
    of those who have it are narrowed, and what became of them comes third.
    """
    before = await db.fetchrow(f"{ONE} for update", actor.agency_id, role_id)
    if before is None:
        raise Missing
    wanted = [Permission(one) for one in before["permissions"]] if permissions is None else permissions
    _require_allowed(before["scope"], wanted)
    _require(actor, {*wanted, *custom_role(before).permissions - EVERY_MEMBERS})
    after = await db.fetchrow(UPDATE, actor.agency_id, role_id, name or before["name"], _listed(wanted))
    holders = [row["id"] for row in await db.fetch(HOLDERS, actor.agency_id, role_id)]
    return before, after, await narrow_keys(db, actor, holders, now)


async def delete_role(db: Bare, actor: Actor, role_id: UUID) -> Row:
    """Take a role away that nobody has. Returns what it was. Raises Missing, PermissionDenied, Conflict (resource_in_use)."""
    row = await db.fetchrow(f"{ONE} for update", actor.agency_id, role_id)
    if row is None:
        raise Missing
    _require(actor, custom_role(row).permissions - EVERY_MEMBERS)
    if await db.fetchval(USED, actor.agency_id, role_id, role_name(CUSTOM, role_id)):
        raise Conflict("Members have this role, or somebody is invited with it.", code="resource_in_use")
    await db.execute(DELETE, actor.agency_id, role_id)
    return row


def built_in() -> list[tuple[Scope, str, list[str]]]:
    """The built-in roles: where they hold, their names, and what they hold today."""
    agency: list[tuple[Scope, str, list[str]]] = [("agency", role, _listed(existing(held))) for role, held in AGENCY_ROLES.items()]
    return agency + [("workspace", role, _listed(existing(held))) for role, held in WORKSPACE_ROLES.items()]
