"""Wire shapes of roles."""

from typing import Annotated, Literal

from pydantic import Field

from core.wire import Input, Instant, Name, Output, Patch
from tenants.people.roles import ROLES_MAX
from tenants.permissions import AgencyRole, Permission, WorkspaceRole

LISTED_MAX = ROLES_MAX + len(AgencyRole) + len(WorkspaceRole)
EXAMPLES = ["post:read", "post:create"]
RoleName = Annotated[Name, Field(examples=["Junior writer"])]
Permissions = Annotated[
    list[Permission],
    Field(
        min_length=1, max_length=len(Permission), description="What it holds: nothing that its maker lacks.", examples=[EXAMPLES]
    ),
]


class RoleCreate(Input):
    """A new role of the agency's own."""

    name: RoleName
    scope: Literal["agency", "workspace"] = Field(
        description="Where it holds: in the agency and all of its workspaces, or in a workspace.", examples=["workspace"]
    )
    permissions: Permissions


class RoleUpdate(Patch):
    """Changes to a role, as a JSON merge patch."""

    name: RoleName | None = None
    permissions: Permissions | None = None


class RoleRead(Output):
    """A role: a set of permissions."""

    id: str = Field(description="What a member's `role` says: the name of a built-in role, or an id.", examples=["content"])
    name: str = Field(description="Its name, for people.", examples=["content"])
    scope: str = Field(description="Where it holds: `agency` or `workspace`.", examples=["workspace"])
    built_in: bool = Field(description="True: it is the same in every agency, and nobody can change it.", examples=[True])
    permissions: list[str] = Field(max_length=len(Permission), description="What it holds.", examples=[EXAMPLES])
    created_at: Instant | None = Field(description="When it was made; null: it is built in.")


class RoleList(Output):
    """The roles of an agency: all of them, since there are never many."""

    data: list[RoleRead] = Field(max_length=LISTED_MAX)
    next_cursor: str | None = Field(None, max_length=200, description="Null: there is one page.")
