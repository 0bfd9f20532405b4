"""Wire shapes of invitations."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from core.wire import Input, Instant, InvitationId, MemberId, Name, Output, WorkspaceId
from tenants.invitations.tokens import TOKEN_LENGTH
from tenants.people.schemas import EMAIL_LENGTH_MAX, AgencyOfPerson, AnyAgencyRole, AnyWorkspaceRole, NewPassword, RoomRole
from tenants.permissions import AgencyRole

EMAIL = r"^[!-?A-~]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$"
"""An address that every mail server takes: ASCII, with a name of at most 64 characters (RFC 5321 section 4.5.3.1.1)."""
WORKSPACES_MAX = 100
Delivery = Literal["email", "link"]
EXAMPLE = "0" * TOKEN_LENGTH
Token = Annotated[
    SecretStr,
    Field(min_length=1, max_length=TOKEN_LENGTH, description="What the link of the invitation ends in.", examples=[EXAMPLE]),
]


class InvitedRoom(Input):
    """What somebody is to be in one workspace."""

    workspace_id: WorkspaceId
    role: AnyWorkspaceRole = Field(description="The role in the workspace.", examples=["content"])


class InvitationCreate(Input):
    """Whom to invite, and as what. Nobody invites to more than he holds."""

    email: str = Field(
        max_length=EMAIL_LENGTH_MAX,
        pattern=EMAIL,
        description="The address that the invitation is for, in any case of letters.",
        examples=["ben@agency.example"],
    )
    role: AnyAgencyRole = Field(AgencyRole.MEMBER, description="The role in the agency.", examples=["member"])
    workspaces: list[InvitedRoom] = Field(
        default_factory=list, max_length=WORKSPACES_MAX, description="The roles in workspaces; each workspace once."
    )
    delivery: Delivery = Field(
        "email",
        description="`email`: we send the link, to the address alone. `link`: the answer shows it once, and you send it. It proves"
        " nothing about the address then, so only who has an account with this address, verified, can accept.",
        examples=["email"],
    )


class InvitationRead(Output):
    """An invitation, without its link."""

    id: InvitationId
    email: str = Field(description="The address that it is for.", examples=["ben@agency.example"])
    role: str = Field(description="The role in the agency, by name or by id. The set is open.", examples=["member"])
    workspaces: list[RoomRole] = Field(max_length=WORKSPACES_MAX, description="The roles in workspaces.")
    delivery: str = Field(description="How its link gets there: `email` or `link`.", examples=["email"])
    state: str = Field(description="`pending`, `accepted`, `revoked` or `expired`. The set is open.", examples=["pending"])
    invited_by: str = Field(
        max_length=30, description="Id of the member or of the key that invites.", examples=["mem_01kazm3v9sfa4t2tq9gk1x7c5e"]
    )
    member_id: MemberId | None = Field(description="Who came by it; null: nobody has yet.")
    expires_at: Instant
    created_at: Instant


class InvitationSent(InvitationRead):
    """An invitation, with its link where it is not sent by mail."""

    accept_url: str | None = Field(
        max_length=500,
        description="The page to accept it on, shown this once; null: it is sent by mail, and shown to nobody here.",
        examples=[None],
    )


class InvitationToken(Input):
    """The token of an invitation."""

    token: Token


class InvitationJoin(InvitationToken):
    """A new person who accepts an invitation."""

    name: Annotated[Name, Field(description="The name of the person.", examples=["Ben Baker"])]
    password: NewPassword


class RoomShown(Output):
    """A workspace that an invitation leads into."""

    name: str = Field(description="The workspace.", examples=["Bakery"])
    role: str = Field(description="The role there, as people call it.", examples=["content"])


class InvitationShown(Output):
    """What an invitation says to who holds its token."""

    agency_name: str = Field(description="Who invites.", examples=["Corner Agency"])
    email: str = Field(description="The address that it is for.", examples=["ben@agency.example"])
    role: str = Field(description="The role in the agency, as people call it.", examples=["member"])
    workspaces: list[RoomShown] = Field(description="The workspaces that it leads into.")
    new_person: bool = Field(description="True: who has no account yet can make one with it.", examples=[True])
    expires_at: Instant


class InvitationAccepted(Output):
    """Where somebody belongs now."""

    member_id: MemberId
    agency: AgencyOfPerson = Field(description="The agency.")
