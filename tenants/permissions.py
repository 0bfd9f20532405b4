"""Who may do what: the one table. A route names one permission; a caller may do what its role, scopes and workspaces share.

People and roles come with the identity side; until then every caller is an API key, whose scopes are permission strings.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

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
Model = TypeVar("Model", bound=SQLModel)


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


def owned(model: type[Model], actor: Actor) -> SelectOfScalar[Model]:
    """Begin every query of tenant data: the agency's rows, within the caller's workspaces."""
    query = select(model).where(model.agency_id == actor.agency_id)  # type: ignore[attr-defined]  # every tenant table has it
    if actor.workspace_ids is None:
        return query
    allowed = list(actor.workspace_ids)
    bound = getattr(model, "workspace_ids", None)
    if bound is not None:
        return query.where(col(bound).op("<@")(allowed))  # the keys that reach no further than the caller
    column = model.id if model.__tablename__ == "workspaces" else getattr(model, "workspace_id", None)  # type: ignore[attr-defined]  # as above
    return query if column is None else query.where(col(column).in_(allowed))


def owned_sql(table: str) -> str:
    """Begin every bare statement over tenant data: $1 is the agency, $2 the workspace."""
    return f"{table}.agency_id = $1 and {table}.workspace_id = $2"


async def find(
    session: AsyncSession, model: type[Model], actor: Actor, id: UUID, *, workspace_id: UUID | None = None,
    lock: bool = False,
) -> Model:  # fmt: skip
    """Get one row of the caller's. Raises Missing for what is not there and for what is not theirs, alike."""
    query = owned(model, actor).where(model.id == id)  # type: ignore[attr-defined]  # every table that is looked up has an id
    if workspace_id is not None:
        query = query.where(model.workspace_id == workspace_id)  # type: ignore[attr-defined]  # asked for workspace tables only
    row = (await session.exec(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise Missing
    return row
