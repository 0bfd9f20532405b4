"""Wire shapes of links, and of what they show: an allow-list that is fit for a client's eyes."""

from datetime import timedelta
from enum import StrEnum

from pydantic import Field, SecretStr

from core.wire import AssetVersionId, Input, Instant, Output, PostId, ShareLinkId, WorkspaceId

LIFETIME_DEFAULT = timedelta(days=7)
LIFETIME_MAX = timedelta(days=30)
OPENS_MAX = 10_000
TOKEN_LENGTH_MAX = 200


class Purpose(StrEnum):
    """What a link shows."""

    POST = "post"


class ShareLinkCreate(Input):
    """A new link. It shows one thing, and nothing else."""

    purpose: Purpose = Field(description="What the link shows. The set is open.", examples=["post"])
    post_id: PostId
    max_opens: int | None = Field(
        None, ge=1, le=OPENS_MAX, strict=True, description="How often it can be opened; null: until it ends.", examples=[20]
    )
    expires_at: Instant | None = Field(
        None, description=f"When it ends: {LIFETIME_DEFAULT.days} days from now if left out, {LIFETIME_MAX.days} at most."
    )


class ShareLinkRead(Output):
    """A link, without its token."""

    id: ShareLinkId
    workspace_id: WorkspaceId
    purpose: str = Field(description="What the link shows. The set is open.", examples=["post"])
    post_id: PostId | None
    hint: str = Field(description="The last characters of the token.", examples=["k3x9"])
    max_opens: int | None = Field(description="How often it can be opened; null: until it ends.", examples=[20])
    opens: int = Field(description="How often it was opened.", examples=[3])
    last_opened_at: Instant | None = Field(description="When it was opened last; null: never.")
    expires_at: Instant
    revoked_at: Instant | None
    created_at: Instant


class ShareLinkCreated(ShareLinkRead):
    """A link, with its token and the address of its page: shown this once."""

    token: str = Field(description="What opens the link. It is shown this once.", examples=["shl_" + "x" * 12])
    url: str = Field(
        description="Its page, for a person: send them this. It has the token in it, and is shown this once too.",
        examples=["https://octavo.example/shared/shl_" + "x" * 12],
    )


class LinkOpen(Input):
    """A link that somebody holds."""

    token: SecretStr = Field(
        min_length=1, max_length=TOKEN_LENGTH_MAX, description="The token of the link.", examples=["shl_" + "x" * 12]
    )


class LinkMedia(LinkOpen):
    """A file of what a link shows."""

    asset_version_id: AssetVersionId


class SharedMedia(Output):
    """A file of the post."""

    asset_version_id: AssetVersionId
    alt_text: str
    content_type: str
    width: int
    height: int


class SharedDelivery(Output):
    """How the post fares at one account."""

    network: str
    account: str = Field(description="The account's name.", examples=["Corner Bakery"])
    handle: str | None
    text: str
    media: list[SharedMedia] = Field(max_length=1_000)
    state: str = Field(
        description="planned, scheduled, in_progress, published, not_published, removed or cancelled; may grow.",
        examples=["scheduled"],
    )
    due_at: Instant | None
    published_at: Instant | None
    url: str | None = Field(description="Where the network shows it.", examples=["https://bsky.app/profile/x/post/3k2"])


class Shared(Output):
    """What a link shows of a post."""

    purpose: str = Field(description="What the link shows. The set is open.", examples=["post"])
    workspace: str = Field(description="The workspace's name.", examples=["Corner Bakery"])
    text: str
    media: list[SharedMedia] = Field(max_length=1_000)
    due_at: Instant | None
    time_zone: str | None
    deliveries: list[SharedDelivery] = Field(max_length=1_000, description="How it fares at each account.")
    expires_at: Instant = Field(description="When the link ends.")
