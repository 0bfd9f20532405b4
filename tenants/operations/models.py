"""Operation: long work that was accepted, how far it is, and how it ended."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlmodel import Field, SQLModel

from core.tables import instant, json_column


class Operation(SQLModel, table=True):
    """One piece of long work. `position` is where it goes on after a crash; what it reads lies under `storage_key`.

    queued      a worker moves it on
    running     the worker that has its duty moves it on
    succeeded   final; single rows of it may have failed
    failed      final: `problem` says why
    canceled    final
    """

    __tablename__ = "operations"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "workspace_id"], ["workspaces.agency_id", "workspaces.id"]),
        CheckConstraint("state in ('queued', 'running', 'succeeded', 'failed', 'canceled')", name="state"),
        CheckConstraint("progress between 0 and 100", name="progress"),
        Index("ix_operations_expiry", "agency_id", "expires_at"),
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    workspace_id: UUID | None = Field(default=None)
    """None: of the whole agency."""
    kind: str
    state: str = Field(default="queued")
    progress: int = Field(default=0)
    position: int = Field(default=0)
    input: dict[str, Any] = json_column("{}")
    storage_key: str | None = Field(default=None)
    result: dict[str, Any] | None = json_column(None)
    problem: dict[str, Any] | None = json_column(None)
    created_by: UUID | None = Field(default=None)
    created_at: datetime = instant(default_now=True)
    updated_at: datetime = instant(default_now=True)
    expires_at: datetime = instant()
