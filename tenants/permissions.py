"""Who may do what: the one table. A route names one permission; a caller may do what its role, scopes and workspaces share.

The roles are those of product.md, section 3: a member has one role in the agency, and one in each workspace that it was added
to. docs/permissions.md is written from here and from the document of the API (`make openapi`); a test holds it current.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from core.db import Tenant
from core.errors import Missing, PermissionDenied


class Permission(StrEnum):
    """`noun:verb`. Scopes of keys are these strings."""

    AGENCY_READ = "agency:read"
    AGENCY_UPDATE = "agency:update"
    AGENCY_TRANSFER = "agency:transfer"
    ROLE_READ = "role:read"
    ROLE_MANAGE = "role:manage"
    AGENCY_EXPORT = "agency:export"
    AGENCY_CLOSE = "agency:close"
    MEMBER_READ = "member:read"
    MEMBER_MANAGE = "member:manage"
    MEMBER_ASSIGN = "member:assign"
    KEY_READ = "key:read"
    KEY_MANAGE = "key:manage"
    NETWORK_READ = "network:read"
    WORKSPACE_READ = "workspace:read"
    WORKSPACE_CREATE = "workspace:create"
    WORKSPACE_UPDATE = "workspace:update"
    WORKSPACE_EXPORT = "workspace:export"
    WORKSPACE_CLOSE = "workspace:close"
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
    LINK_READ = "link:read"
    LINK_MANAGE = "link:manage"
    EVENT_READ = "event:read"
    OPERATION_READ = "operation:read"
    AUDIT_READ = "audit:read"
    APPLICATION_READ = "application:read"
    APPLICATION_MANAGE = "application:manage"
    EMBED_CREATE = "embed:create"
    SIGN_ON_MANAGE = "sign_on:manage"


class Later(StrEnum):
    """Permissions of what is to come. Roles name them already; no route asks for one and no key can hold one.

    Whoever makes the resource moves its permissions to `Permission`, and no role changes.
    """

    WEBHOOK_READ = "webhook:read"
    WEBHOOK_MANAGE = "webhook:manage"
    BILLING_READ = "billing:read"
    BILLING_MANAGE = "billing:manage"
    PLAN_READ = "plan:read"
    PLAN_EDIT = "plan:edit"
    QUEUE_READ = "queue:read"
    QUEUE_EDIT = "queue:edit"
    APPROVAL_READ = "approval:read"
    APPROVAL_REQUEST = "approval:request"
    APPROVAL_DECIDE = "approval:decide"
    APPROVAL_MANAGE = "approval:manage"
    SHARED_READ = "shared:read"
    COMMENT_READ = "comment:read"
    COMMENT_WRITE = "comment:write"
    BRIEF_READ = "brief:read"
    BRIEF_EDIT = "brief:edit"
    PROOF_READ = "proof:read"
    PROOF_EDIT = "proof:edit"
    BRAND_READ = "brand:read"
    BRAND_EDIT = "brand:edit"
    STATS_READ = "stats:read"
    REPORT_READ = "report:read"
    REPORT_CREATE = "report:create"
    INBOX_READ = "inbox:read"
    INBOX_DRAFT = "inbox:draft"
    INBOX_REPLY = "inbox:reply"
    INBOX_MODERATE = "inbox:moderate"
    ADS_READ = "ads:read"
    ADS_EDIT = "ads:edit"
    ADS_SPEND = "ads:spend"


ALL = frozenset(Permission)
P, L = Permission, Later
EVERYTHING: frozenset[Permission | Later] = frozenset((*Permission, *Later))
OF_THE_OWNER: frozenset[Permission | Later] = frozenset({P.AGENCY_TRANSFER, P.AGENCY_CLOSE})
"""What owners do in person."""
KEY_MAY = ALL - OF_THE_OWNER
"""What a key can hold: what only an owner may is done in person, so that an admin can end every key."""
OF_THE_AGENCY: frozenset[Permission | Later] = frozenset({
    P.AGENCY_READ, P.AGENCY_EXPORT, P.KEY_READ, P.KEY_MANAGE, P.WORKSPACE_CREATE, P.WORKSPACE_CLOSE, P.AGENCY_UPDATE,
    *OF_THE_OWNER, P.MEMBER_MANAGE, P.ROLE_MANAGE, P.APPLICATION_READ, P.APPLICATION_MANAGE,
    P.SIGN_ON_MANAGE, L.WEBHOOK_READ, L.WEBHOOK_MANAGE, L.BILLING_READ, L.BILLING_MANAGE,
    P.AUDIT_READ,
})  # fmt: skip
"""What is about the agency as a whole: no role of a workspace has any of it."""
DELEGABLE = ALL - (OF_THE_AGENCY - {P.AGENCY_READ}) - {P.MEMBER_READ, P.MEMBER_ASSIGN, P.WORKSPACE_EXPORT}
"""What an application can be allowed: work in workspaces. Members, keys and applications of the agency are for its people."""
EMBEDDABLE = frozenset(one for one in DELEGABLE - {P.AGENCY_READ} if one.endswith(":read"))
"""What a token in somebody's page can be allowed: to read in one workspace."""
SHOWN_IN_PAGES = frozenset({P.WORKSPACE_READ, P.ACCOUNT_READ, P.POST_READ, P.PUBLICATION_READ, P.EVENT_READ})
"""What it is allowed if nothing is said: what a dashboard of one workspace shows. Else it is asked for by name."""


class AgencyRole(StrEnum):
    """What a member is in its agency. The first two reach every workspace, the others those that they were added to."""

    OWNER = "owner"
    ADMIN = "admin"
    BILLING = "billing"
    MEMBER = "member"


class WorkspaceRole(StrEnum):
    """What a member is in one workspace."""

    MANAGER = "manager"
    CONTENT = "content"
    DESIGN = "design"
    ADS = "ads"
    COMMUNITY = "community"
    ANALYST = "analyst"
    CLIENT = "client"
    VIEWER = "viewer"


_INSIDE: frozenset[Permission | Later] = frozenset({P.WORKSPACE_READ, P.NETWORK_READ})
_POSTS_SEEN: frozenset[Permission | Later] = frozenset({P.ACCOUNT_READ, P.MEDIA_READ, P.POST_READ, P.PUBLICATION_READ})
_VIEWED: frozenset[Permission | Later] = _INSIDE | _POSTS_SEEN | frozenset({
    P.EVENT_READ, P.OPERATION_READ, L.PLAN_READ, L.QUEUE_READ, L.APPROVAL_READ, L.COMMENT_READ, L.BRIEF_READ, L.PROOF_READ,
    L.BRAND_READ, L.STATS_READ, L.REPORT_READ,
})  # fmt: skip
"""What a viewer reads: not the private messages of the inbox, and not what is spent on ads."""

AGENCY_ROLES: dict[AgencyRole, frozenset[Permission | Later]] = {
    AgencyRole.OWNER: EVERYTHING,
    AgencyRole.ADMIN: EVERYTHING - OF_THE_OWNER,
    AgencyRole.BILLING: frozenset({P.AGENCY_READ, L.BILLING_READ, L.BILLING_MANAGE}),
    AgencyRole.MEMBER: frozenset({P.AGENCY_READ}),
}
WORKSPACE_ROLES: dict[WorkspaceRole, frozenset[Permission | Later]] = {
    WorkspaceRole.MANAGER: EVERYTHING - OF_THE_AGENCY,
    WorkspaceRole.CONTENT: _VIEWED | {
        P.MEDIA_CREATE, P.MEDIA_DELETE, P.POST_CREATE, P.POST_UPDATE, P.POST_SCHEDULE, P.POST_DELETE, P.PUBLICATION_RESOLVE,
        L.PLAN_EDIT, L.QUEUE_EDIT, L.APPROVAL_REQUEST, L.COMMENT_WRITE, L.INBOX_READ, L.INBOX_DRAFT,
    },
    WorkspaceRole.DESIGN: _INSIDE | _POSTS_SEEN | {
        P.MEDIA_CREATE, P.MEDIA_DELETE, L.BRIEF_READ, L.BRIEF_EDIT, L.PROOF_READ, L.PROOF_EDIT, L.BRAND_READ, L.BRAND_EDIT,
        L.COMMENT_READ, L.COMMENT_WRITE,
    },
    WorkspaceRole.ADS: _INSIDE | _POSTS_SEEN | {L.ADS_READ, L.ADS_EDIT, L.ADS_SPEND, L.STATS_READ},
    WorkspaceRole.COMMUNITY: _INSIDE | {P.ACCOUNT_READ, L.INBOX_READ, L.INBOX_DRAFT, L.INBOX_REPLY, L.INBOX_MODERATE},
    WorkspaceRole.ANALYST: _VIEWED | {L.INBOX_READ, L.ADS_READ, L.REPORT_CREATE},
    WorkspaceRole.CLIENT: frozenset({P.WORKSPACE_READ, L.SHARED_READ, L.APPROVAL_DECIDE, L.COMMENT_WRITE}),
    WorkspaceRole.VIEWER: _VIEWED,
}  # fmt: skip

REACH_ALL = frozenset({AgencyRole.OWNER, AgencyRole.ADMIN})
"""Their role holds in every workspace of the agency, without being added to it."""


@dataclass(frozen=True, slots=True)
class CustomRole:
    """A role that an agency made: a set of permissions, in the agency and all of its workspaces, or in one workspace."""

    id: UUID
    permissions: frozenset[Permission]


Role = AgencyRole | WorkspaceRole | CustomRole


def existing(permissions: frozenset[Permission | Later]) -> frozenset[Permission]:
    """What of a role's permissions there is today."""
    return frozenset(one for one in permissions if isinstance(one, Permission))


def granted(role: Role) -> frozenset[Permission]:
    """What a role holds today."""
    if isinstance(role, CustomRole):
        return role.permissions
    return existing(AGENCY_ROLES[role] if isinstance(role, AgencyRole) else WORKSPACE_ROLES[role])


@dataclass(frozen=True, slots=True)
class Holding:
    """What a key holds, or what its maker can give to one: scopes, the same in each of these workspaces (None: all)."""

    scopes: frozenset[Permission]
    workspace_ids: tuple[UUID, ...] | None


def shared(key: Holding, maker: Holding) -> Holding:
    """Narrow what a key holds, or shall hold, to its maker. Pure."""
    if key.workspace_ids is None or maker.workspace_ids is None:
        within = maker.workspace_ids if key.workspace_ids is None else key.workspace_ids
    else:
        within = tuple(id for id in key.workspace_ids if id in maker.workspace_ids)
    return Holding(key.scopes & maker.scopes & KEY_MAY, within)


def holding_for(
    role: AgencyRole | CustomRole, rooms: Mapping[UUID, WorkspaceRole | CustomRole], wanted: Sequence[UUID] | None
) -> Holding:  # fmt: skip
    """What a member can give to a key for the workspaces that are `wanted` (None: all that it reaches). Pure.

    A key holds the same everywhere, so it is what the member may in every one of those that it reaches: less where it is less in
    one of them, and never more.
    """
    everywhere = granted(role)
    reaches_all = role in REACH_ALL or isinstance(role, CustomRole)
    if reaches_all:
        within = None if wanted is None else tuple(wanted)
    else:
        within = tuple(room for room in rooms if wanted is None or room in wanted)
    held = [everywhere | granted(rooms[room]) if room in rooms else everywhere for room in within or ()]
    return Holding(frozenset.intersection(*held) if held else everywhere, within)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is calling: the agency (live or its test twin), what it may do, and in which workspaces (None: all)."""

    agency_id: UUID
    agency_name: str
    livemode: bool
    key_id: UUID | None
    key_name: str
    permissions: frozenset[Permission] = ALL
    workspace_ids: tuple[UUID, ...] | None = None
    member_id: UUID | None = None
    """Of a person; then `key_name` is its name, and there is no key."""
    application_id: UUID | None = None
    """Of an application that calls with a token: for `member_id`, or for its own agency. `key_name` is the application's name."""
    token_id: UUID | None = None
    """The token by which it calls, if it does."""
    eyes: UUID | None = None
    """Whose eyes see what it writes: those of a member, whichever of its keys and tokens calls, or else of the operator's key."""
    session_id: UUID | None = None
    """The session of a person who calls by cookie."""
    grant_id: UUID | None = None
    """The grant that stands behind a token."""

    @property
    def id(self) -> UUID | None:
        """The key, the member or the application that calls, as tables write it into `created_by`."""
        return self.key_id or self.member_id or self.application_id

    @property
    def tenant(self) -> Tenant:
        """The stamp of this caller's transactions."""
        return Tenant(self.agency_id, self.workspace_ids)

    @property
    def reach(self) -> list[UUID] | None:
        """The workspaces that it reaches, as statements take them (None: all)."""
        return None if self.workspace_ids is None else list(self.workspace_ids)

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


def actor_of_member(
    base: Actor, role: AgencyRole | CustomRole, rooms: Mapping[UUID, WorkspaceRole | CustomRole], permission: Permission,
    workspace_id: UUID | None,
) -> Actor:  # fmt: skip
    """Narrow a member to what one request may do: the permission that its route names, in the workspace of its path. Pure.

    With a workspace in the path it is the roles in the agency and there. Without one, it reaches the workspaces where it holds
    the permission, and may else do what it may in all of these: so no row is shown, and no action offered, beyond a role.
    What a role holds in the whole agency, a role in a workspace adds to and takes nothing from.
    Raises Missing for a workspace that it was not added to, as for one that never was.
    """
    everywhere = granted(role)
    held = {room: everywhere | granted(what) for room, what in rooms.items()}
    if role in REACH_ALL or (isinstance(role, CustomRole) and permission in everywhere):
        there = everywhere if workspace_id is None else held.get(workspace_id, everywhere)
        return replace(base, permissions=there, workspace_ids=None)
    if workspace_id is not None:
        if workspace_id not in held:
            raise Missing
        return replace(base, permissions=held[workspace_id], workspace_ids=(workspace_id,))
    within = {room: permissions for room, permissions in held.items() if permission in permissions}
    shared = frozenset.intersection(*within.values()) if within else everywhere
    return replace(base, permissions=shared, workspace_ids=tuple(within))


def owned_sql(table: str) -> str:
    """Begin every bare statement over tenant data: $1 is the agency, $2 the workspace."""
    return f"{table}.agency_id = $1 and {table}.workspace_id = $2"
