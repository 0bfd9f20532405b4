"""ShareLink: a way for somebody without an account to see one thing of a workspace."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Index, LargeBinary
from sqlmodel import Field, SQLModel

from core.tables import instant


class ShareLink(SQLModel, table=True):
    """What one link shows, until when, and how often it was opened. Only the hash of its token is kept.

    A purpose that comes later brings the column of its subject, and widens the check.
    """

    __tablename__ = "share_links"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "workspace_id"], ["workspaces.agency_id", "workspaces.id"]),
        ForeignKeyConstraint(
            ["agency_id", "workspace_id", "post_id"],
            ["posts.agency_id", "posts.workspace_id", "posts.id"],
            ondelete="CASCADE",
            name="fk_share_links_post",
        ),
        CheckConstraint("octet_length(hash) = 32", name="hash"),
        CheckConstraint("purpose = 'post' and post_id is not null", name="purpose"),
        CheckConstraint("opens >= 0 and opens <= coalesce(max_opens, opens)", name="opens"),
        CheckConstraint("num_nonnulls(created_by, created_by_member) = 1", name="maker"),
        Index("uq_share_links_hash", "agency_id", "hash", unique=True),
        Index("ix_share_links_post", "agency_id", "post_id"),
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    workspace_id: UUID
    purpose: str
    post_id: UUID | None = Field(default=None)
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    hint: str
    max_opens: int | None = Field(default=None)
    opens: int = Field(default=0)
    last_opened_at: datetime | None = instant(nullable=True)
    created_by: UUID | None = Field(default=None)
    created_by_member: UUID | None = Field(default=None)
    grant_id: UUID | None = Field(default=None)
    """Of an application that made it in the member's name."""
    expires_at: datetime = instant()
    revoked_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)
