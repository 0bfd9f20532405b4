"""Wire shapes of people, their sessions and what they are in an agency."""

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, PlainValidator, SecretStr, WithJsonSchema

from core.ids import decode
from core.wire import PREFIXES, AgencyId, Input, Instant, MemberId, Output, Patch, SessionId, UserId, WorkspaceId, id_schema
from tenants.people.passwords import LENGTH_MAX, LENGTH_MIN
from tenants.people.sessions import SESSIONS_MAX
from tenants.permissions import AgencyRole, WorkspaceRole

EMAIL_LENGTH_MAX = 254
"""RFC 5321 section 4.5.3.1.3, without the brackets."""
AGENCIES_SHOWN_MAX = 100


def _read_role(built_in: type[StrEnum]) -> PlainValidator:
    def read(value: Any) -> StrEnum | UUID:
        if isinstance(value, UUID | built_in):
            return value
        if isinstance(value, str) and value in set(built_in):
            return built_in(value)
        try:
            return decode(PREFIXES["role"], value if isinstance(value, str) else "")
        except ValueError as error:
            raise ValueError("the name of a role, or the id of one of the agency's own, is wanted") from error

    return PlainValidator(read)


def _role_schema(built_in: type[StrEnum]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "string", "enum": [*built_in]}, id_schema("role")]})


AnyAgencyRole = Annotated[Any, _read_role(AgencyRole), _role_schema(AgencyRole)]
AnyWorkspaceRole = Annotated[Any, _read_role(WorkspaceRole), _role_schema(WorkspaceRole)]
"""A role that somebody is to get: the name of a built-in one, or the id of one of the agency's own."""


NewPassword = Annotated[
    SecretStr,
    Field(
        min_length=LENGTH_MIN,
        max_length=LENGTH_MAX,
        description=f"At least {LENGTH_MIN} characters of any kind. There are no rules of composition.",
        examples=["nine quiet lanterns over the bay"],
    ),
]


class SignIn(Input):
    """An e-mail and its password."""

    email: str = Field(
        min_length=1, max_length=EMAIL_LENGTH_MAX, description="In any case of letters.", examples=["ada@agency.example"]
    )
    password: SecretStr = Field(
        min_length=1, max_length=LENGTH_MAX, description="The password.", examples=["correct horse battery"]
    )


class PasswordChange(Input):
    """The password of now, and the one that follows it."""

    current_password: SecretStr = Field(
        min_length=1, max_length=LENGTH_MAX, description="The password of now.", examples=["correct horse battery"]
    )
    new_password: NewPassword


class PersonRead(Output):
    """A person."""

    id: UserId
    name: str
    email: str = Field(description="The e-mail that the person signs in by.", examples=["ada@agency.example"])


class AgencyOfPerson(Output):
    """An agency that a person is a member of; its `id` is what the header Octavo-Agency takes."""

    id: AgencyId
    name: str
    livemode: bool


class SessionCreated(Output):
    """A session that has begun. What opens it is in the cookie alone."""

    id: SessionId
    state: str = Field(
        description="`active`, or `second_factor_needed`: then it can be completed, and nothing else. The set is open.",
        examples=["active"],
    )
    second_factors: list[str] = Field(
        max_length=10, description="What completes it: `totp`, `passkey`, `recovery_code`. The set is open.", examples=[[]]
    )
    person: PersonRead = Field(description="Who has signed in.")
    agencies: list[AgencyOfPerson] = Field(
        max_length=AGENCIES_SHOWN_MAX, description="The agencies of this person, once it is active."
    )
    expires_at: Instant


class SessionRead(Output):
    """A browser that is signed in."""

    id: SessionId
    current: bool = Field(description="It is the one that asks.", examples=[True])
    address: str | None = Field(description="The address that it began from.", examples=["192.0.2.7"])
    user_agent: str = Field(description="What the browser calls itself.", examples=["Mozilla/5.0"])
    created_at: Instant
    last_seen_at: Instant = Field(description="When it was used last, to the minute or so.")
    expires_at: Instant


class SessionList(Output):
    """The sessions of a person: all of them, since there are never many."""

    data: list[SessionRead] = Field(max_length=SESSIONS_MAX)
    next_cursor: str | None = Field(None, max_length=200, description="Null: there is one page.")


class RoomRole(Output):
    """What a member is in one workspace."""

    workspace_id: WorkspaceId
    role: str = Field(description="The role in the workspace, by name or by id. The set is open.", examples=["content"])


class MemberUpdate(Patch):
    """Changes to a member, as a JSON merge patch."""

    role: AnyAgencyRole | None = Field(None, description="The role in the agency.", examples=["admin"])


class RoomUpdate(Input):
    """What a member is to be in the workspace."""

    role: AnyWorkspaceRole = Field(description="The role in the workspace.", examples=["content"])


class MemberRead(Output):
    """A person in the agency."""

    id: MemberId
    user_id: UserId = Field(description="Id of the person.")
    name: str
    email: str = Field(description="The e-mail that the person signs in by.", examples=["ada@agency.example"])
    role: str = Field(description="The role in the agency, by name or by id. The set is open.", examples=["owner"])
    workspaces: list[RoomRole] = Field(max_length=1_000, description="The roles in workspaces; owner and admin need none.")
    created_at: Instant
