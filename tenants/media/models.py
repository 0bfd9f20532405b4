"""Asset (a logical file) and AssetVersion (an immutable one)."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Index, LargeBinary
from sqlmodel import Field, SQLModel

from core.tables import instant


class Asset(SQLModel, table=True):
    """A logical file of a workspace."""

    __tablename__ = "assets"
    __table_args__ = (ForeignKeyConstraint(["agency_id", "workspace_id"], ["workspaces.agency_id", "workspaces.id"]),)

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    workspace_id: UUID
    filename: str
    alt_text: str = Field(default="")
    version: int = Field(default=1)
    created_at: datetime = instant(default_now=True)
    updated_at: datetime = instant(default_now=True)


class AssetVersion(SQLModel, table=True):
    """One immutable version of an asset: what a post is pinned to."""

    __tablename__ = "asset_versions"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "workspace_id"], ["workspaces.agency_id", "workspaces.id"]),
        ForeignKeyConstraint(["agency_id", "asset_id"], ["assets.agency_id", "assets.id"], ondelete="CASCADE"),
        CheckConstraint("octet_length(sha256) = 32", name="sha256"),
        CheckConstraint("size_bytes > 0", name="size_bytes"),
        Index("uq_asset_versions_number", "agency_id", "asset_id", "number", unique=True),
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    workspace_id: UUID
    asset_id: UUID
    number: int = Field(default=1)
    content_type: str
    size_bytes: int
    width: int
    height: int
    sha256: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    storage_key: str
    created_at: datetime = instant(default_now=True)
