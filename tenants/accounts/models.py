"""Account (the managed account), its Connections, and the ConnectSessions that make them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Column, ForeignKeyConstraint, Index, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

from core.tables import instant, json_column, uuid_array


class Account(SQLModel, table=True):
    """One connected page, channel, group or profile. Stable by (network, external_id) over every reconnect."""

    __tablename__ = "accounts"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "workspace_id"], ["workspaces.agency_id", "workspaces.id"]),
        CheckConstraint("state in ('pending', 'active', 'expiring', 'needs_reconnect', 'paused', 'disconnected')", name="state"),
        Index("uq_accounts_external", "agency_id", "workspace_id", "network", "external_id", unique=True),
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    workspace_id: UUID
    network: str
    external_id: str
    name: str
    handle: str | None = Field(default=None)
    url: str | None = Field(default=None)
    state: str = Field(default="active")
    state_reason: str | None = Field(default=None)
    control_external_id: str | None = Field(default=None)
    details: dict[str, Any] = json_column("{}")
    version: int = Field(default=1)
    created_at: datetime = instant(default_now=True)
    updated_at: datetime = instant(default_now=True)


class Connection(SQLModel, table=True):
    """One authorisation of an account: sealed credentials, expiry, and the marks of a refresh under way."""

    __tablename__ = "connections"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "workspace_id"], ["workspaces.agency_id", "workspaces.id"]),
        ForeignKeyConstraint(["agency_id", "account_id"], ["accounts.agency_id", "accounts.id"]),
        CheckConstraint("state in ('active', 'superseded', 'lost', 'closed')", name="state"),
        Index("uq_connections_active", "agency_id", "account_id", unique=True, postgresql_where=text("state = 'active'")),
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    workspace_id: UUID
    account_id: UUID
    state: str = Field(default="active")
    sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    scopes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'")))
    expires_at: datetime | None = instant(nullable=True)
    refreshed_at: datetime | None = instant(nullable=True)
    refresh_presented_digest: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    refresh_presented_at: datetime | None = instant(nullable=True)
    refreshes: int = Field(default=0)
    version: int = Field(default=1)
    created_at: datetime = instant(default_now=True)


class ConnectSession(SQLModel, table=True):
    """The way to an account: from the first click to the chosen targets. Lives minutes."""

    __tablename__ = "connect_sessions"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "workspace_id"], ["workspaces.agency_id", "workspaces.id"]),
        ForeignKeyConstraint(["agency_id", "account_id"], ["accounts.agency_id", "accounts.id"]),
        CheckConstraint("state in ('awaiting_user', 'awaiting_credentials', 'choosing', 'completed', 'failed')", name="state"),
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    workspace_id: UUID
    network: str
    state: str
    account_id: UUID | None = Field(default=None)
    return_url: str | None = Field(default=None)
    state_hash: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    sealed_verifier: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    link_hash: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    authorize_url: str | None = Field(default=None)
    sealed_credentials: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    targets: list[dict[str, Any]] = json_column("[]")
    account_ids: list[UUID] | None = uuid_array()
    error: dict[str, Any] | None = json_column(None)
    created_by: UUID | None = Field(default=None)
    created_by_member: UUID | None = Field(default=None)
    grant_id: UUID | None = Field(default=None)
    secret_id: UUID | None = Field(default=None)
    """The last two of an application that began it: for a member, or for itself (tenants/applications/behind.py)."""
    expires_at: datetime = instant()
    created_at: datetime = instant(default_now=True)
