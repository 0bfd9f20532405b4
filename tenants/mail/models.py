"""Mail that waits to be sent."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, Index, LargeBinary, text
from sqlmodel import Field, SQLModel

from core.tables import instant


class Mail(SQLModel, table=True):
    """One mail. To whom, and what it says, is sealed; the row goes when it is sent, and its content when it never will be.

    What belongs to no agency stands under `core.duties.SYSTEM`, as its duty does.
    """

    __tablename__ = "mails"
    __table_args__ = (
        CheckConstraint("state in ('waiting', 'refused', 'given_up')", name="state"),
        CheckConstraint("(state = 'waiting') = (sealed is not null)", name="sealed"),
        Index("ix_mails_ended", "agency_id", "created_at", postgresql_where=text("state <> 'waiting'")),
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    template: str
    state: str = Field(default="waiting")
    sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    refusal: str | None = Field(default=None)
    created_at: datetime = instant(default_now=True)
