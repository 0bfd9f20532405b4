"""IdempotencyRecord: the answer to a write, kept in the transaction of its effect."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, LargeBinary
from sqlmodel import Field, SQLModel

from core.tables import instant, json_column


class IdempotencyRecord(SQLModel, table=True):
    """One key of one agency. Inserted before the work; `status` is null while the first request runs."""

    __tablename__ = "idempotency_records"

    agency_id: UUID = Field(primary_key=True)
    key: str = Field(primary_key=True)
    fingerprint: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    status: int | None = Field(default=None)
    headers: dict[str, Any] | None = json_column(None)
    body: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    expires_at: datetime = instant()
    created_at: datetime = instant(default_now=True)
