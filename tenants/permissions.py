"""Who may do what: the one table. A route names one permission; a caller may do what its role, scopes and workspaces share.

People and roles come with the identity side; until then every caller is an API key, whose scopes are permission strings.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from core.db import Tenant
from core.errors import Missing, PermissionDenied


class Permission(StrEnum):
    """`noun:verb`. Scopes of keys are these strings."""

    AGENCY_READ = "agency:read"
    KEY_READ = "key:read"
    KEY_MANAGE = "key:manage"
    NETWORK_READ = "network:read"
    WORKSPACE_READ = "workspace:read"
    WORKSPACE_CREATE = "workspace:create"
    WORKSPACE_UPDATE = "workspace:update"
    ACCOUNT_READ = "account:read"
    ACCOUNT_CONNECT = "account:connect"
    ACCOUNT_MANAGE = "account:manage"
    MEDIA_READ = "media:read"
    MEDIA_CREATE = "media:create"
    MEDIA_DELETE = "media:delete"
    POST_READ = "post:read"
    POST_CREATE = "post:create"
    POST_UPDATE = "post:update"
    POST_SCHEDULE = "post:schedule"
    POST_DELETE = "post:delete"
    PUBLICATION_READ = "publication:read"
    PUBLICATION_RESOLVE = "publication:resolve"
    EVENT_READ = "event:read"
    OPERATION_READ = "operation:read"


ALL = frozenset(Permission)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is calling: the agency (live or its test twin), what it may do, and in which workspaces (None: all)."""

    agency_id: UUID
    agency_name: str
    livemode: bool
    key_id: UUID
    key_name: str
    permissions: frozenset[Permission] = ALL
    workspace_ids: tuple[UUID, ...] | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def tenant(self) -> Tenant:
        """The stamp of this caller's transactions."""
        return Tenant(self.agency_id, self.workspace_ids)

    def may(self, permission: Permission) -> bool:
        """Say whether the caller holds `permission`."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Refuse with 403 `permission_denied`, naming what is missing."""
        if permission not in self.permissions:
            raise PermissionDenied(f"This needs the permission {permission.value}.", required_permission=permission.value)

    def see(self, workspace_id: UUID) -> UUID:
        """Refuse a workspace outside the caller's list, with the 404 of one that never was."""
        if not sees(self, workspace_id):
            raise Missing
        return workspace_id


def sees(actor: Actor, workspace_id: UUID) -> bool:
    """Say whether the caller's list of workspaces has this one."""
    return actor.workspace_ids is None or workspace_id in actor.workspace_ids


def owned_sql(table: str) -> str:
    """Begin every bare statement over tenant data: $1 is the agency, $2 the workspace."""
    return f"{table}.agency_id = $1 and {table}.workspace_id = $2"
