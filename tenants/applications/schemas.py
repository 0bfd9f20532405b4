"""Wire shapes of applications, grants and embed tokens."""

from collections.abc import Collection
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictBool, WithJsonSchema

from core.wire import ApplicationId, EmbedTokenId, GrantId, Input, Instant, MemberId, Name, Output, Patch, WorkspaceId
from tenants.agencies.schemas import WORKSPACES_PER_KEY_MAX, NamedApplication
from tenants.permissions import DELEGABLE, EMBEDDABLE, Permission

URI_LENGTH_MAX = 2_000
URIS_MAX = 20
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
EMBED_S_MIN, EMBED_S, EMBED_S_MAX = 60, 300, 900
"""A page asks its own server for a new one: minutes are enough, and a token that leaks is old soon."""


def _redirect_uri(value: str) -> str:
    if not is_redirect_uri(value):
        raise ValueError("an https address (or http on loopback) without fragment, user and wildcard is wanted")
    return value


def is_redirect_uri(value: str) -> bool:
    """Say whether an application may register this address. It is compared character by character later."""
    if not value.isascii() or not value.isprintable() or any(one in value for one in ' #*\\"<>') or len(value) > URI_LENGTH_MAX:
        return False
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    if not parts.hostname or "@" in parts.netloc or port == 0:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


def _one_of(permissions: Collection[Permission]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": sorted(permissions)})


def _delegable(value: list[Permission]) -> list[Permission]:
    if not DELEGABLE.issuperset(value):
        raise ValueError("an application can be allowed work in workspaces, and nothing of the agency's members, keys and log")
    return sorted(set(value))


def _embeddable(value: list[Permission]) -> list[Permission]:
    if not EMBEDDABLE.issuperset(value):
        raise ValueError("an embed token can read in its workspace, and nothing else")
    return sorted(set(value))


def _distinct(value: list[Any]) -> list[Any]:
    return list(dict.fromkeys(value))


RedirectUri = Annotated[
    str,
    AfterValidator(_redirect_uri),
    Field(min_length=1, max_length=URI_LENGTH_MAX, examples=["https://dashboard.example/callback"]),
]
RedirectUris = Annotated[
    list[RedirectUri],
    AfterValidator(_distinct),
    Field(
        max_length=URIS_MAX,
        description="Where people come back to. A request names one of them exactly; only the port of a loopback address is free.",
    ),
]
Scopes = Annotated[
    list[Annotated[Permission, _one_of(DELEGABLE)]],
    AfterValidator(_delegable),
    Field(min_length=1, max_length=len(Permission), description="All that it can ever ask for.", examples=[["post:read"]]),
]
OwnWorkspaces = Annotated[
    list[WorkspaceId],
    AfterValidator(_distinct),
    Field(
        max_length=WORKSPACES_PER_KEY_MAX,
        description="Where it works by itself, without a person (client credentials). Empty: nowhere.",
    ),
]
Offered = Annotated[
    StrictBool, Field(description="Members of other agencies may grant it something too, in theirs.", examples=[False])
]


class ApplicationCreate(Input):
    """A new application."""

    name: Name
    confidential: StrictBool = Field(
        description="It runs on a server and can keep a secret. False: in a browser or on somebody's machine.", examples=[True]
    )
    redirect_uris: RedirectUris = Field(default_factory=list, max_length=URIS_MAX)
    scopes: Scopes
    workspace_ids: OwnWorkspaces = Field(default_factory=list, max_length=WORKSPACES_PER_KEY_MAX)
    offered: Offered = False


class ApplicationUpdate(Patch):
    """Changes to an application, as a JSON merge patch. What is taken away is taken from its living tokens too."""

    name: Name | None = None
    redirect_uris: RedirectUris | None = None
    scopes: Scopes | None = None
    workspace_ids: OwnWorkspaces | None = None
    offered: Offered | None = None


class ApplicationRead(Output):
    """An application."""

    id: ApplicationId
    client_id: str = Field(description="Its name in OAuth.", examples=["oci_" + "0" * 51 + "x"])
    name: str
    confidential: bool = Field(description="It has a secret.", examples=[True])
    redirect_uris: list[str] = Field(
        description="Where people come back to.", examples=[["https://dashboard.example/callback"]], max_length=URIS_MAX
    )
    scopes: list[str]
    workspace_ids: list[WorkspaceId] = Field(description="Where it works by itself. Empty: nowhere.")
    offered: bool = Field(description="Other agencies can use it.", examples=[False])
    created_at: Instant
    updated_at: Instant


class ApplicationCreated(ApplicationRead):
    """An application, with its secret: shown this once."""

    client_secret: str | None = Field(
        description="The secret. It is shown this once; null: it has none.", examples=["ocs_test_" + "x" * 12]
    )


class SecretCreated(Output):
    """A new secret: shown this once."""

    id: ApplicationId
    client_secret: str | None = Field(description="The secret. It is shown this once.", examples=["ocs_test_" + "x" * 12])
    former_expires_at: Instant | None = Field(description="When the secrets before it end; null: there were none.")


class GrantRead(Output):
    """What a member allowed an application."""

    id: GrantId
    application: NamedApplication = Field(description="The application, by the name that the consent page showed.")
    member_id: MemberId = Field(description="Who allowed it. It can never do more than this member can.")
    scopes: list[str]
    workspace_ids: list[WorkspaceId] = Field(description="The workspaces that it reaches.")
    expires_at: Instant = Field(description="When it ends unless the application uses it before.")
    last_used_at: Instant | None
    revoked_at: Instant | None
    revoked_reason: str | None = Field(
        description="Why: `revoked`, `application`, `member_left`, `workspace_closed`, `code_reused` or `token_reused`."
        " The set is open.",
        examples=["token_reused"],
    )
    created_at: Instant


class EmbedTokenCreate(Input):
    """A token for a page that shows one workspace."""

    workspace_id: WorkspaceId
    scopes: (
        Annotated[
            list[Annotated[Permission, _one_of(EMBEDDABLE)]],
            AfterValidator(_embeddable),
            Field(min_length=1, max_length=len(Permission)),
        ]
        | None
    ) = Field(
        None,
        description="What it may read. Left out: workspace, accounts, posts, publications, events, if its maker may there.",
        examples=[["post:read"]],
    )
    expires_in_s: int = Field(
        EMBED_S, ge=EMBED_S_MIN, le=EMBED_S_MAX, strict=True, description="How long it lives, in seconds.", examples=[300]
    )


class EmbedTokenCreated(Output):
    """A token for a page: shown this once."""

    id: EmbedTokenId
    workspace_id: WorkspaceId
    scopes: list[str]
    expires_at: Instant
    token: str | None = Field(description="The token. It is shown this once.", examples=["oem_test_" + "x" * 12])
