"""Post (editorial), Variant (its content for one account), Publication (one delivery), Attempt (one try of it)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Index, Text, text
from sqlmodel import Field, SQLModel

from core.tables import instant, json_column
from tenants.posts.states import POST_STATES, PUBLICATION_STATES

WHOLE = ("agency_id", "workspace_id", "post_id", "account_id")
"""What a variant and its publication both say."""


def _one_of(column: str, *values: str) -> CheckConstraint:
    """A check that is one string: PostgreSQL reads a check anew for each statement, and a list node by node."""
    return CheckConstraint(f"{column} = any (string_to_array('{' '.join(values)}', ' '))", name=column)


class Post(SQLModel, table=True):
    """The editorial unit: text, media, time."""

    __tablename__ = "posts"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "workspace_id"], ["workspaces.agency_id", "workspaces.id"]),
        _one_of("state", *POST_STATES),
        _one_of("duplicate_policy", "reject", "warn", "allow"),
        Index("uq_posts_page", "agency_id", "workspace_id", "id", unique=True),
        Index(
            "uq_posts_external_ref",
            "agency_id",
            "workspace_id",
            "external_ref",
            unique=True,
            postgresql_where=text("external_ref is not null"),
        ),
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    workspace_id: UUID
    state: str
    text: str = Field(sa_column=Column(Text, nullable=False, server_default=text("''")))
    media: list[dict[str, Any]] = json_column("[]")
    due_at: datetime | None = instant(nullable=True)
    local_at: str | None = Field(default=None)
    time_zone: str | None = Field(default=None)
    external_ref: str | None = Field(default=None)
    details: dict[str, Any] = json_column("{}")
    duplicate_policy: str = Field(default="warn")
    version: int = Field(default=1)
    created_by: UUID | None = Field(default=None)
    content_by: UUID | None = Field(default=None)
    """Whose eyes saw the content last, as it was changed (`Actor.eyes`); null where that is not known."""
    created_at: datetime = instant(default_now=True)
    updated_at: datetime = instant(default_now=True)


class Variant(SQLModel, table=True):
    """The post's content as adapted for one account; null means: as the post says."""

    __tablename__ = "variants"
    __table_args__ = (
        ForeignKeyConstraint(
            ["agency_id", "workspace_id", "post_id"],
            ["posts.agency_id", "posts.workspace_id", "posts.id"],
            ondelete="CASCADE",
            name="fk_variants_post",
        ),
        ForeignKeyConstraint(["agency_id", "account_id"], ["accounts.agency_id", "accounts.id"]),
        Index("uq_variants_account", "agency_id", "post_id", "account_id", unique=True),
        Index("uq_variants_whole", *WHOLE, "id", unique=True),  # what a publication points at
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    workspace_id: UUID
    post_id: UUID
    account_id: UUID
    text: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    media: list[dict[str, Any]] | None = json_column(None)
    options: dict[str, Any] = json_column("{}")


class Publication(SQLModel, table=True):
    """The delivery of one variant to one account at one time. Its state is moved by `tenants.posts.states` alone."""

    __tablename__ = "publications"
    __table_args__ = (
        # The variant points at the account and, with the workspace, at the post: so one key holds all four.
        ForeignKeyConstraint(
            [*WHOLE, "variant_id"],
            [f"variants.{column}" for column in (*WHOLE, "id")],
            ondelete="CASCADE",
            name="fk_publications_variant",
        ),
        _one_of("state", *PUBLICATION_STATES),
        CheckConstraint("(state = 'published') <= (published_at is not null)", name="published_has_time"),
        Index("ix_publications_post", "agency_id", "post_id"),
        # Without the state: an update that changes no indexed column stays on its page, and the state changes three times.
        Index("ix_publications_account", "agency_id", "account_id", "id"),
        Index("ix_publications_due", "agency_id", "workspace_id", "due_at", postgresql_where=text("due_at is not null")),
        Index(
            "uq_publications_external",
            "agency_id",
            "account_id",
            "external_id",
            unique=True,
            postgresql_where=text("external_id is not null"),
        ),
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    workspace_id: UUID
    post_id: UUID
    variant_id: UUID
    account_id: UUID
    network: str
    state: str
    due_at: datetime | None = instant(nullable=True)
    next_at: datetime | None = instant(nullable=True)
    handles: dict[str, Any] = json_column("{}")
    steps_done: int = Field(default=0)
    attempts: int = Field(default=0)
    retries: int = Field(default=0)
    looks: int = Field(default=0)
    unknown_since: datetime | None = instant(nullable=True)
    block_reason: str | None = Field(default=None)
    error: dict[str, Any] | None = json_column(None)
    resolution: str | None = Field(default=None)
    external_id: str | None = Field(default=None)
    external_url: str | None = Field(default=None)
    published_at: datetime | None = instant(nullable=True)
    version: int = Field(default=1)
    created_at: datetime = instant(default_now=True)
    updated_at: datetime = instant(default_now=True)


class PostFindings(SQLModel, table=True):
    """What the nightly look at a scheduled post said last: how bad, and which findings were bad."""

    __tablename__ = "post_findings"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "workspace_id"], ["workspaces.agency_id", "workspaces.id"]),
        ForeignKeyConstraint(["agency_id", "post_id"], ["posts.agency_id", "posts.id"], ondelete="CASCADE"),
        CheckConstraint("severity in ('none', 'info', 'warning', 'error')", name="severity"),
    )

    agency_id: UUID = Field(primary_key=True)
    post_id: UUID = Field(primary_key=True)
    workspace_id: UUID
    severity: str
    bad: list[str] = json_column("[]")
    changed_at: datetime = instant(default_now=True)


class Attempt(SQLModel, table=True):
    """One try at a publication, committed before the call that it is about. At most one of them is undecided."""

    __tablename__ = "attempts"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "publication_id"], ["publications.agency_id", "publications.id"], ondelete="CASCADE"),
        _one_of("outcome", "armed", "unknown", "published", "refused", "not_sent", "absent"),
        Index(
            "uq_attempts_undecided",
            "agency_id",
            "publication_id",
            unique=True,
            postgresql_where=text("outcome in ('armed', 'unknown')"),
        ),
    )

    agency_id: UUID = Field(primary_key=True)
    publication_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True)
    id: UUID
    workspace_id: UUID
    outcome: str = Field(default="armed")
    content_digest: str
    started_at: datetime = instant(default_now=True)
    finished_at: datetime | None = instant(nullable=True)
    evidence: str | None = Field(default=None)
    error: dict[str, Any] | None = json_column(None)
