"""Roles as the tables hold them, each in two columns: the name of a built-in one, or the id of one of the agency's own."""

from collections.abc import Iterable
from uuid import UUID

from core.db import Bare, Row
from core.ids import encode
from core.wire import PREFIXES
from tenants.people.models import CUSTOM
from tenants.permissions import (
    AGENCY_ROLES,
    OF_THE_AGENCY,
    OF_THE_OWNER,
    AgencyRole,
    CustomRole,
    Permission,
    WorkspaceRole,
    existing,
)

ROOMS = ",".join(
    f"array(select w.{column} from workspace_members w join workspaces o on o.agency_id = w.agency_id and o.id = w.workspace_id"
    f" where w.agency_id = $1 and w.member_id = m.id and o.closed_at is null order by w.workspace_id) {name}"
    for column, name in (("workspace_id", "rooms"), ("role", "room_roles"), ("custom_role_id", "room_role_ids"))
)
"""A workspace that is closed keeps the rows of its people for the archive, and they open nothing."""
SEVERAL = "select id, scope, permissions from roles where agency_id = $1 and id = any ($2)"
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


def custom_role(row: Row) -> CustomRole:
    """Read one of the agency's own roles."""
    held = frozenset(one for one in ALLOWED[row["scope"]] if one.value in set(row["permissions"]))
    return CustomRole(row["id"], held | EVERY_MEMBERS if row["scope"] == "agency" else held)


async def custom_roles(db: Bare, agency_id: UUID, ids: Iterable[UUID | None]) -> dict[UUID, CustomRole]:
    """Read the agency's own roles among `ids`. Most members have none, and then nothing is asked."""
    wanted = [id for id in ids if id is not None]
    rows = await db.fetch(SEVERAL, agency_id, wanted) if wanted else []
    return {row["id"]: custom_role(row) for row in rows}


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


async def roles_of(
    db: Bare, agency_id: UUID, row: Row
) -> tuple[AgencyRole | CustomRole, dict[UUID, WorkspaceRole | CustomRole]]:  # fmt: skip
    """Read the roles of a member from the columns that hold them: in the agency, and in its workspaces."""
    known = await custom_roles(db, agency_id, [row["custom_role_id"], *row["room_role_ids"]])
    rooms = {
        room: WorkspaceRole(role) if id is None else known[id]
        for room, role, id in zip(row["rooms"], row["room_roles"], row["room_role_ids"], strict=True)
    }
    return (AgencyRole(row["role"]) if row["custom_role_id"] is None else known[row["custom_role_id"]]), rooms
