"""Wire shapes of accounts and connect sessions. None of them ever carries a secret out."""

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from core.wire import AccountId, ConnectionId, ConnectSessionId, Input, Instant, Name, Output, Patch, WorkspaceId
from tenants.accounts.capabilities import AccountCapabilities, FieldRead

METADATA_KEYS_MAX = 50
METADATA_KEY_LENGTH_MAX = 40
METADATA_VALUE_LENGTH_MAX = 500
CREDENTIALS_MAX = 20
CREDENTIAL_NAME_LENGTH_MAX = 64
CREDENTIAL_LENGTH_MAX = 8_192
TARGETS_MAX = 100
EXTERNAL_ID_LENGTH_MAX = 512
URL_LENGTH_MAX = 2_000
NETWORK_LENGTH_MAX = 32

MetadataKey = Annotated[str, Field(min_length=1, max_length=METADATA_KEY_LENGTH_MAX)]
MetadataValue = Annotated[str, Field(max_length=METADATA_VALUE_LENGTH_MAX)]
CredentialValues = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=CREDENTIAL_NAME_LENGTH_MAX)],
        Annotated[SecretStr, Field(max_length=CREDENTIAL_LENGTH_MAX)],
    ],
    Field(max_length=CREDENTIALS_MAX, description="The network's fields, filled in. They are sealed and never shown."),
]
Targets = Annotated[
    Literal["all"]
    | Annotated[
        list[Annotated[str, Field(min_length=1, max_length=EXTERNAL_ID_LENGTH_MAX)]],
        Field(min_length=1, max_length=TARGETS_MAX),
    ],
    Field(description='The external ids to connect, or "all".'),
]
AccountState = Literal["pending", "active", "expiring", "needs_reconnect", "paused", "disconnected"]


class ConnectionRead(Output):
    """The authorisation under an account."""

    id: ConnectionId
    state: str = Field(examples=["active"])
    expires_at: Instant | None = Field(description="When the access token ends; it is renewed before that.")
    scopes: list[str]
    refreshed_at: Instant | None


class AccountRead(Output):
    """A connected page, channel, group or profile. Its id stays over every reconnect."""

    id: AccountId
    workspace_id: WorkspaceId
    network: str
    external_id: str = Field(description="The network's id of it.")
    name: str
    handle: str | None
    url: str | None
    state: str = Field(examples=["active"])
    state_reason: str | None = Field(description="Why it is in this state, where there is more to say.")
    capabilities: AccountCapabilities | None = Field(description="Null when the network is not served here any more.")
    connection: ConnectionRead | None = Field(description="Null: the account needs a new authorisation.")
    metadata: dict[str, str]
    version: int
    created_at: Instant
    updated_at: Instant
    allowed_actions: list[str] = Field(description="What this caller may do with it now.")


class AccountUpdate(Patch):
    """Changes to an account, as a JSON merge patch: a key of `metadata` set to null is removed."""

    NULLABLE = frozenset({"metadata"})

    name: Name | None = None
    metadata: dict[MetadataKey, MetadataValue | None] | None = Field(None, max_length=METADATA_KEYS_MAX)


class Reconnect(Input):
    """A new authorisation for an account. Without credentials a person is sent, or asked."""

    method: Literal["credentials", "redirect"] | None = None
    credentials: CredentialValues | None = None
    link: bool = Field(
        False,
        description="Make a page for a person who needs no account here, such as a client: `url` is its address, shown once. It "
        "asks for the credentials, or sends the person to the network, and offers the choice. It lasts three days.",
        examples=[True],
    )
    return_url: str | None = Field(None, max_length=URL_LENGTH_MAX)


class ConnectSessionCreate(Reconnect):
    """A way to new accounts."""

    network: str = Field(max_length=NETWORK_LENGTH_MAX, examples=["sandbox"])
    method: Literal["credentials", "redirect"] | None = Field(
        None, description="For networks that know both ways; by default credentials, where the network takes them."
    )
    targets: Targets | None = None
    return_url: str | None = Field(
        None,
        max_length=URL_LENGTH_MAX,
        description="Where the person goes after the redirect: https, with `connect_session` and `state` added.",
    )


class ConnectSessionComplete(Input):
    """What was still missing: the credentials, or the choice of targets."""

    credentials: CredentialValues | None = None
    targets: Targets | None = None


class TargetRead(Output):
    """Something that the authorisation reaches and that can become an account."""

    external_id: str
    name: str
    handle: str | None = None
    url: str | None = None


class SessionError(Output):
    """Why connecting failed."""

    code: str
    detail: str


class ConnectSessionRead(Output):
    """The way to an account, and how far it got."""

    id: ConnectSessionId
    workspace_id: WorkspaceId
    network: str
    state: str = Field(description="`awaiting_user`, `awaiting_credentials`, `choosing`, `completed` or `failed`.")
    account_id: AccountId | None = Field(description="The account that is being reconnected.")
    url: str | None = Field(description="Where to send the person: the page of `link`, or the network's own; shown once.")
    authorize_url: str | None = Field(description="The network's own page; shown once, when the session is made.")
    fields: list[FieldRead] = Field(description="What `credentials` wants, while it waits for them.")
    targets: list[TargetRead] = Field(description="What can be chosen, while it waits for the choice.")
    accounts: list[AccountRead] = Field(description="What came of it.")
    error: SessionError | None
    expires_at: Instant
    created_at: Instant
    allowed_actions: list[str]


Details = dict[str, Any]
"""The column `accounts.details`: `metadata` (the agency's), `network` (the target's), `named` (the name was given here),
`grant` (the session that brought the authorisation: its accounts hold one token)."""
