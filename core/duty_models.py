"""The tables of duties, for Alembic: `core.duties` itself speaks bare SQL and needs no model."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from core.tables import big_integer, instant


class Duty(SQLModel, table=True):
    """One thing to do later: `kind` for `subject_id`."""

    __tablename__ = "duties"
    __table_args__ = (
        CheckConstraint("state in ('waiting', 'leased')", name="state"),
        CheckConstraint("(state = 'leased') = (lease_until is not null)", name="lease"),
        Index("ix_duties_waiting", "kind", "due_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_duties_keys", "kind", "agency_id", "serial_key", "due_at", postgresql_where=text("state = 'waiting'")),
        # Without `lease_until`: a lease that is renewed changes no indexed column, which halves the update.
        Index("uq_duties_leased", "agency_id", "kind", "serial_key", unique=True, postgresql_where=text("state = 'leased'")),
    )

    agency_id: UUID = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    subject_id: UUID = Field(primary_key=True)
    due_at: datetime = instant()
    serial_key: UUID | None = Field(default=None)
    state: str = Field(default="waiting")
    lease_until: datetime | None = instant(nullable=True)
    fence: int = big_integer()
    starts: int = Field(default=0)
    begun: int = Field(default=0)
    started: bool = Field(default=False)


class Heartbeat(SQLModel, table=True):
    """When a worker last finished a duty of this kind: what /readyz reads."""

    __tablename__ = "heartbeats"

    kind: str = Field(primary_key=True)
    finished_at: datetime = instant()
    worker: str
