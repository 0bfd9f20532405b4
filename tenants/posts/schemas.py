"""Wire shapes of posts, variants, publications and attempts."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from core.wire import (
    AccountId,
    AssetId,
    AssetVersionId,
    AttemptId,
    Input,
    Instant,
    Output,
    Patch,
    PostId,
    PublicationId,
    VariantId,
    WorkspaceId,
)

TEXT_LENGTH_MAX = 63_206
"""The longest text that any network takes (Facebook, networks-a.md 4.2, read 2026-11)."""
ACCOUNTS_MAX = 50
MEDIA_MAX = 20
METADATA_MAX = 50
EXTERNAL_REF_LENGTH_MAX = 255

UNIQUE: dict[str, Any] = {"uniqueItems": True}
"""For the document; `place` and `editing.py` say which is named twice."""
TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?([Zz]|[+-][0-9]{2}:[0-9]{2})?$"
"""RFC 3339 section 5.6, the offset optional where a time zone says it, seconds optional where people schedule."""

Text = Annotated[str, StringConstraints(max_length=TEXT_LENGTH_MAX)]
Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=500)]],
    Field(max_length=METADATA_MAX, examples=[{"campaign": "spring"}]),
]
DuplicatePolicy = Annotated[
    Literal["reject", "warn", "allow"],
    Field(
        description="What to do about nearly the same text at one account within 24 hours, or at several accounts in the same"
        " minute by different posts: `reject` answers 409 `duplicate_content` when the post gets its time, `warn` is told by"
        " `posts/validate` and the nightly look, `allow` is silent."
    ),
]
ExternalRef = Annotated[str, StringConstraints(min_length=1, max_length=EXTERNAL_REF_LENGTH_MAX)]


class MediaWish(Input):
    """One file of a post: an asset (its newest version is pinned) or one of its versions."""

    asset_id: AssetId | None = None
    asset_version_id: AssetVersionId | None = None
    alt_text: Annotated[str, StringConstraints(max_length=2_000)] | None = None


class Schedule(Input):
    """When to publish. Either an instant with its offset, or a local time with a time zone.

    A local time that does not exist (clocks go forward) moves forward by the gap; one that exists twice means the first.
    """

    at: Annotated[str, StringConstraints(min_length=10, max_length=40)] = Field(
        examples=["2026-12-24T09:00:00"], json_schema_extra={"pattern": TIME}
    )
    time_zone: Annotated[str, StringConstraints(max_length=64)] | None = Field(None, examples=["Europe/Berlin"])


class VariantWish(Input):
    """What differs for one account."""

    account_id: AccountId
    text: Text | None = None
    media: list[MediaWish] | None = Field(None, max_length=MEDIA_MAX)
    options: dict[str, Any] = Field(default_factory=dict, max_length=20)


class PostCreate(Input):
    """A new post."""

    text: Text = Field("", examples=["Fresh rolls from six o'clock."])
    media: list[MediaWish] = Field(default_factory=list, max_length=MEDIA_MAX)
    account_ids: list[AccountId] = Field(min_length=1, max_length=ACCOUNTS_MAX, json_schema_extra=UNIQUE)
    schedule: Schedule | Literal["now"] | None = None
    variants: list[VariantWish] = Field(default_factory=list, max_length=ACCOUNTS_MAX)
    external_ref: ExternalRef | None = Field(None, description="Your own name for it, unique in the workspace.")
    duplicate_policy: DuplicatePolicy = "warn"
    metadata: Metadata = Field(default_factory=dict)


class PostUpdate(Patch):
    """Changes to a post, as a JSON merge patch."""

    NULLABLE = frozenset({"external_ref"})

    text: Text | None = None
    media: list[MediaWish] | None = Field(None, max_length=MEDIA_MAX)
    account_ids: list[AccountId] | None = Field(None, min_length=1, max_length=ACCOUNTS_MAX, json_schema_extra=UNIQUE)
    variants: list[VariantWish] | None = Field(None, max_length=ACCOUNTS_MAX)
    external_ref: ExternalRef | None = None
    duplicate_policy: DuplicatePolicy | None = None
    metadata: Metadata | None = None


class ScheduleWish(Input):
    """When to publish a post that exists."""

    schedule: Schedule | Literal["now"]


class DuplicateRead(Output):
    """The other post that says nearly the same."""

    post_id: PostId
    similarity: float = Field(ge=0, le=1, description="1: the same text.", examples=[0.97])
    stagger_at: Instant = Field(description="A time at which it would be no duplicate of that one.")


class FindingRead(Output):
    """One thing that is wrong with a post, or that a person should know before it goes out."""

    code: str = Field(examples=["text_too_long"], description="May grow.")
    severity: Literal["error", "warning", "info"] = Field(description="With an `error` the post would be refused.")
    pointer: str = Field(examples=["/text"], description="JSON pointer into the post.")
    network: str | None = Field(examples=["bluesky"])
    account_id: AccountId | None
    detail: str
    fix: str | None = Field(description="What a person can do about it.")
    limit: int | None = Field(description="What is allowed, in the network's own unit.", examples=[300])
    actual: int | None = Field(description="What was found, in the same unit.", examples=[312])
    duplicate: DuplicateRead | None


class SkippedRead(Output):
    """A check that could not be made."""

    check: str = Field(examples=["network_quota"])
    network: str
    account_id: AccountId
    detail: str


class ValidationRead(Output):
    """What would become of a post. Nothing was stored."""

    valid: bool = Field(description="It would be accepted: nothing among the findings is an error.")
    findings: list[FindingRead]
    skipped: list[SkippedRead] = Field(description="What could not be looked at, and why.")


class Resolution(Input):
    """What a person saw on the network."""

    outcome: Literal["published", "not_published"]
    external_url: Annotated[str, StringConstraints(max_length=2_000, pattern=r"^https?://")] | None = None


class ErrorRead(Output):
    """Why a delivery is where it is, and who can mend it."""

    class_: str = Field(alias="class", examples=["content_rejected"])
    detail: str
    actor: str = Field(description="Who must act: client, agency, integrator, network or octavo.")
    retryable: bool
    published_possible: bool


class AttemptRead(Output):
    """One try. It was written before its call."""

    id: AttemptId
    number: int
    outcome: str = Field(description="armed, unknown, published, refused, not_sent or absent; may grow.")
    started_at: Instant
    finished_at: Instant | None
    evidence: str | None = Field(description="What proves the outcome.")
    error: ErrorRead | None


class PublicationRead(Output):
    """One delivery: this post, at this account."""

    id: PublicationId
    post_id: PostId
    account_id: AccountId
    network: str
    state: str = Field(examples=["published"], description="May grow; docs/states lists who moves it on.")
    due_at: Instant | None
    next_at: Instant | None = Field(description="When it is looked at next, if it waits.")
    attempts: int
    block_reason: str | None
    external_id: str | None
    external_url: str | None
    published_at: Instant | None
    lateness_ms: int | None
    resolution: str | None = Field(description="`reconciled` or `person` if the network's answer was not what told it.")
    error: ErrorRead | None
    allowed_actions: list[str]


class PublicationDetail(PublicationRead):
    """One delivery with its attempts."""

    workspace_id: WorkspaceId
    tries: list[AttemptRead]


class MediaRead(Output):
    """One file of a post, pinned to a version."""

    asset_id: AssetId
    asset_version_id: AssetVersionId
    alt_text: str


class VariantRead(Output):
    """What differs for one account; null: as the post says."""

    id: VariantId
    account_id: AccountId
    text: str | None
    media: list[MediaRead] | None
    options: dict[str, Any]


class ScheduleRead(Output):
    """The time of a post: the instant, and the local time that people meant."""

    at: Instant
    local: str | None
    time_zone: str | None


class PostRead(Output):
    """A post with its deliveries."""

    id: PostId
    workspace_id: WorkspaceId
    state: str = Field(examples=["scheduled"])
    delivery: str | None = Field(description="Derived from the publications; may grow.", examples=["published"])
    version: int
    text: str
    media: list[MediaRead]
    variants: list[VariantRead]
    schedule: ScheduleRead | None
    external_ref: str | None
    duplicate_policy: str = Field(examples=["warn"])
    metadata: dict[str, str]
    publications: list[PublicationRead]
    allowed_actions: list[str]
    created_at: Instant
    updated_at: Instant
