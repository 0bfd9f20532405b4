"""Wire shapes of agencies, workspaces and API keys."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from core.wire import AgencyId, ApplicationId, Input, Instant, KeyId, MemberId, Name, Output, Patch, WorkspaceId
from core.zones import is_zone
from tenants.people.schemas import MemberRead
from tenants.permissions import Permission

LATE_WINDOW_S_MIN = 60
LATE_WINDOW_S_MAX = 30 * 24 * 3600
KEY_LIFETIME_DAYS_MAX = 3650
WORKSPACES_PER_KEY_MAX = 500


def _zone(value: str) -> str:
    if not is_zone(value):
        raise ValueError("an IANA time zone such as Europe/Berlin is wanted")
    return value


TimeZone = Annotated[str, AfterValidator(_zone), Field(min_length=1, max_length=64, examples=["Europe/Berlin"])]
LatePolicy = Literal["publish_late", "skip", "ask"]
FourEyes = Annotated[
    bool,
    Field(
        strict=True,
        description="A post goes out only if somebody else than who changed its content last sends it on its way. Otherwise the"
        " answer is 403 `four_eyes`. What is scheduled when this is switched on stays so.",
        examples=[False],
    ),
]
LateWindow = Annotated[int, Field(ge=LATE_WINDOW_S_MIN, le=LATE_WINDOW_S_MAX, strict=True, examples=[21600])]


class WorkspaceCreate(Input):
    """A new workspace: one client of the agency."""

    name: Name
    time_zone: TimeZone
    late_policy: LatePolicy = Field("ask", description="What happens to a post whose time passed by more than the window.")
    late_window_s: LateWindow = 21_600
    four_eyes: FourEyes = False


class WorkspaceUpdate(Patch):
    """Changes to a workspace, as a JSON merge patch."""

    name: Name | None = None
    time_zone: TimeZone | None = None
    late_policy: LatePolicy | None = None
    late_window_s: LateWindow | None = None
    four_eyes: FourEyes | None = None


class WorkspaceRead(Output):
    """A workspace."""

    id: WorkspaceId
    name: str
    time_zone: str
    late_policy: str
    late_window_s: int
    four_eyes: FourEyes
    closed_at: Instant | None = Field(None, description="When it was closed: nothing new is taken, and nothing goes out.")
    erase_at: Instant | None = Field(None, description="When what is in it is deleted, unless it is opened again.")
    version: int
    created_at: Instant
    updated_at: Instant


class KeyCreate(Input):
    """A new API key. It cannot hold what its maker lacks."""

    name: Name
    scopes: list[Permission] = Field(min_length=1, max_length=len(Permission))
    workspace_ids: list[WorkspaceId] | None = Field(
        None,
        min_length=1,
        max_length=WORKSPACES_PER_KEY_MAX,
        description="Null: every workspace that the maker reaches.",
    )
    expires_at: Instant | None = None


class KeyRead(Output):
    """An API key, without the key."""

    id: KeyId
    name: str
    hint: str = Field(description="The last four characters of the key.")
    scopes: list[str]
    workspace_ids: list[WorkspaceId] | None
    expires_at: Instant | None
    last_used_at: Instant | None
    revoked_at: Instant | None
    created_at: Instant


class KeyCreated(KeyRead):
    """An API key, with the key: shown this once."""

    key: str


class NamedApplication(Output):
    """An application by its id and name."""

    id: ApplicationId
    name: str


class Me(Output):
    """Who is calling."""

    type: Literal["key", "member", "application"] = Field(
        description="What is calling: a key, a person who is signed in, or an application.", examples=["key"]
    )
    actor: KeyRead | MemberRead | NamedApplication = Field(
        description="The key that calls, what the person is in the agency, or the application."
    )
    agency: "AgencyRead"
    livemode: bool
    permissions: list[str]
    workspaces: list[WorkspaceRead]


class AgencyUpdate(Patch):
    """Changes to the agency, as a JSON merge patch."""

    name: Name | None = None
    second_factor_required: bool | None = Field(
        None, description="Let only members with a second factor in. Keys are not concerned.", examples=[True]
    )


class AgencyTransfer(Input):
    """To whom the agency is handed over."""

    member_id: MemberId = Field(description="A member, who becomes an owner.")


class AgencyRead(Output):
    """The agency of the caller."""

    id: AgencyId
    name: str
    second_factor_required: bool = Field(description="It lets only members with a second factor in.", examples=[False])
