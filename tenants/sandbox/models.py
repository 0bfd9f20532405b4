"""What the sandbox network holds: its profiles and their posts. It plays a foreign server: its tables stand apart."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from core.tables import instant, json_column


class SandboxProfile(SQLModel, table=True):
    """One opening of a handle: its behaviour, the targets it reaches, and one pair of tokens (hashed)."""

    __tablename__ = "sandbox_profiles"
    __table_args__ = (
        Index("ix_sandbox_profiles_access", "access_hash", unique=True),
        Index("ix_sandbox_profiles_refresh", "refresh_hash", unique=True),
        Index("ix_sandbox_profiles_spent_refresh", "spent_refresh_hash"),
    )

    id: UUID = Field(primary_key=True)
    handle: str
    behaviour: str
    targets: list[dict[str, Any]] = json_column("[]")
    """`{external_id, name, welcome_id}` each."""
    access_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    refresh_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    spent_refresh_hash: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    """The refresh token before the present one: whoever shows it again revokes the pair."""
    access_expires_at: datetime = instant()
    revoked_at: datetime | None = instant(nullable=True)
    refreshes: int = Field(default=0)
    calls: int = Field(default=0)
    tried_markers: list[str] = json_column("[]")
    media: list[dict[str, Any]] = json_column("[]")
    """`{id, content_type, size_bytes, sha256}` of what was uploaded, newest last; the bytes are not kept."""
    created_at: datetime = instant(default_now=True)


class SandboxPost(SQLModel, table=True):
    """A post that the sandbox network shows; `visible_at` is when its lists begin to."""

    __tablename__ = "sandbox_posts"
    __table_args__ = (Index("ix_sandbox_posts_profile", "profile_id", "target", "created_at", "id"),)

    id: UUID = Field(primary_key=True)
    """A random UUID: who has the id may see the post."""
    profile_id: UUID = Field(foreign_key="sandbox_profiles.id")
    target: str
    marker: str
    text: str = Field(sa_column=Column(Text, nullable=False))
    media: list[dict[str, Any]] = json_column("[]")
    pinned: bool = Field(default=False)
    visible_at: datetime = instant(default_now=True)
    created_at: datetime = instant(default_now=True)
