"""Event: what happened, append-only, read in the order of commits."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index, text
from sqlmodel import Field, SQLModel

from core.tables import instant, json_column


class Event(SQLModel, table=True):
    """What happened. `transaction_id` is PostgreSQL's, so a reader can stop before what is not committed yet."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_order", "agency_id", "transaction_id", "id"),)

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    workspace_id: UUID
    type: str
    subject_id: UUID
    data: dict[str, Any] = json_column("{}")
    transaction_id: int = Field(
        default=None,
        sa_column=Column(BigInteger, nullable=False, server_default=text("(pg_current_xact_id()::text)::bigint")),
    )
    created_at: datetime = instant(default_now=True)
