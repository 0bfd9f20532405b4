"""What somebody who invites may give: looked at when it invites, and again, as it is then, when the invitation is accepted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn
from uuid import UUID

from core.db import Bare
from core.errors import PermissionDenied
from tenants.people.held import ROOMS, roles_of
from tenants.permissions import Actor, AgencyRole, CustomRole, Permission, WorkspaceRole, actor_of_member, granted

KEY = """
select scopes, workspace_ids from api_keys where agency_id = $1 and id = $2 and revoked_at is null
  and (expires_at is null or expires_at > now()) for share
"""
MEMBER = f"""
select m.id, m.role, m.custom_role_id, {ROOMS} from members m where m.agency_id = $1 and m.id = $2 and m.state = 'active'
for share of m
"""
"""Both wait for an end that is under way, and then see it."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What an invitation gives: a role in the agency, and roles in workspaces."""

    role: AgencyRole | CustomRole
    rooms: Mapping[UUID, WorkspaceRole | CustomRole]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a key or a member may now. A key has no `role`: it may the same everywhere in its reach."""

    base: Actor
    role: AgencyRole | CustomRole | None
    rooms: Mapping[UUID, WorkspaceRole | CustomRole]

    def at(self, permission: Permission, workspace_id: UUID | None = None) -> Actor:
        """Narrow it to one place, where it must hold `permission`. Raises Missing, PermissionDenied."""
        actor = self.base
        if self.role is not None:
            actor = actor_of_member(self.base, self.role, self.rooms, permission, workspace_id)
        elif workspace_id is not None:
            actor.see(workspace_id)
        actor.require(permission)
        return actor


async def standing_of(db: Bare, agency_id: UUID, key_id: UUID | None, member_id: UUID | None) -> Standing | None:
    """Read what a key or a member may now. None: it is gone, revoked, or expired."""
    base = Actor(agency_id, "", True, key_id, "", member_id=member_id)
    if member_id is not None:
        row = await db.fetchrow(MEMBER, agency_id, member_id)
        return None if row is None else Standing(base, *await roles_of(db, agency_id, row))
    row = await db.fetchrow(KEY, agency_id, key_id)
    if row is None:
        return None
    held = frozenset(one for one in Permission if one.value in set(row["scopes"]))
    within = None if row["workspace_ids"] is None else tuple(row["workspace_ids"])
    return Standing(Actor(agency_id, "", True, key_id, "", held, within), None, {})


def require_grantable(standing: Standing, grant: Grant) -> None:
    """Refuse to give what the inviter lacks. Raises PermissionDenied, and Missing for a workspace that it does not reach.

    Who may only give roles in workspaces invites into these, as a member that has nothing else.
    """
    if grant.role is not AgencyRole.MEMBER or not grant.rooms:
        actor = standing.at(Permission.MEMBER_MANAGE)
        if actor.workspace_ids is not None or not granted(grant.role) <= actor.permissions:
            _refuse("Nobody invites to a role that holds more than himself.", Permission.MEMBER_MANAGE)
        if grant.role is AgencyRole.OWNER and standing.role is not AgencyRole.OWNER:
            _refuse("Only an owner in person makes owners.", Permission.MEMBER_MANAGE)
    for workspace_id, role in grant.rooms.items():
        if not granted(role) <= standing.at(Permission.MEMBER_ASSIGN, workspace_id).permissions:
            _refuse("Nobody invites to a role that holds more than himself.", Permission.MEMBER_ASSIGN)


def _refuse(detail: str, permission: Permission) -> NoReturn:
    raise PermissionDenied(detail, required_permission=permission.value)
