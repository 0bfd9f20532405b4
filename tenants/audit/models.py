"""The audit log: entries, and the seals that chain them. Both are append-only, and a trigger of the database says so.

No foreign key leads to what an entry is about: it outlasts its subject, its workspace and the key that acted.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKeyConstraint, Index, LargeBinary
from sqlmodel import Field, SQLModel

from core.tables import instant, json_column


class AuditEntry(SQLModel, table=True):
    """Who changed what, from where, and what it was before and after. Written in the transaction of the change."""

    __tablename__ = "audit_entries"
    __table_args__ = (Index("ix_audit_entries_subject", "agency_id", "subject_id"),)

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    workspace_id: UUID | None = Field(default=None)
    action: str
    actor_type: str
    actor_id: UUID
    on_behalf_of: UUID | None = Field(default=None)
    subject_type: str
    subject_id: UUID
    address: str | None = Field(default=None)
    user_agent: str | None = Field(default=None)
    request_id: str
    credential_type: str | None = Field(default=None)
    credential_id: UUID | None = Field(default=None)
    before: dict[str, Any] | None = json_column(None)
    after: dict[str, Any] | None = json_column(None)
    at: datetime = instant(default_now=True)


class AuditSeal(SQLModel, table=True):
    """An entry's place in the chain of its agency: by the keys one entry a number, and one number an entry."""

    __tablename__ = "audit_seals"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "entry_id"], ["audit_entries.agency_id", "audit_entries.id"]),
        CheckConstraint("octet_length(hash) = 32", name="hash"),
        CheckConstraint("sequence > 0", name="sequence"),
        Index("uq_audit_seals_entry", "agency_id", "entry_id", unique=True),
    )

    agency_id: UUID = Field(primary_key=True)
    sequence: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    entry_id: UUID
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    sealed_at: datetime = instant(default_now=True)
