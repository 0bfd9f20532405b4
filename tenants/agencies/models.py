"""Agency, its data key, its workspaces and API keys."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Column, ForeignKeyConstraint, Index, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

from core.tables import instant, uuid_array
from tenants.people.models import Member

MEMBERS = Member.__tablename__
"""By way of the model: a key refers to its maker, so whoever knows one table must know the other."""


class Agency(SQLModel, table=True):
    """The paying tenant. Test data belong to a twin agency, so every wall between agencies holds between modes too."""

    __tablename__ = "agencies"

    id: UUID = Field(primary_key=True)
    name: str
    livemode: bool
    live_agency_id: UUID | None = Field(default=None, foreign_key="agencies.id", unique=True)
    second_factor_required: bool = Field(default=False)
    erase_at: datetime | None = instant(nullable=True)
    """Its owner closed it: what is left of it goes then. The database refuses an instant that leaves no time to think."""
    closed_at: datetime | None = instant(nullable=True)
    """The erasure has begun: no key, session or link opens anything any more."""
    created_at: datetime = instant(default_now=True)


class AgencyKey(SQLModel, table=True):
    """The agency's data key, wrapped by the ring. Deleting the row makes everything sealed unreadable."""

    __tablename__ = "agency_keys"

    agency_id: UUID = Field(primary_key=True, foreign_key="agencies.id")
    wrapped: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class Erasure(SQLModel, table=True):
    """What stays of an agency that was erased: that it was, when, and where its audit log ended. Nothing of it can be read."""

    __tablename__ = "erasures"

    agency_id: UUID = Field(primary_key=True)
    erased_at: datetime = instant(default_now=True)
    audit_sequence: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    audit_hash: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))


class Workspace(SQLModel, table=True):
    """One client of the agency; the wall inside the agency."""

    __tablename__ = "workspaces"
    __table_args__ = (
        CheckConstraint("late_policy in ('publish_late', 'skip', 'ask')", name="late_policy"),
        CheckConstraint("late_window_s between 60 and 2592000", name="late_window_s"),
    )

    agency_id: UUID = Field(primary_key=True, foreign_key="agencies.id")
    id: UUID = Field(primary_key=True)
    name: str
    time_zone: str
    late_policy: str = Field(default="ask")
    late_window_s: int = Field(default=21_600)
    four_eyes: bool = Field(default=False)
    """A post goes out only by somebody else than who changed its content last."""
    closed_at: datetime | None = instant(nullable=True)
    """The client left: nothing new is taken, nothing goes out."""
    erase_at: datetime | None = instant(nullable=True)
    version: int = Field(default=1)
    created_at: datetime = instant(default_now=True)
    updated_at: datetime = instant(default_now=True)


class ApiKey(SQLModel, table=True):
    """An agency's own key: scopes, workspaces, expiry. Only the hash is kept."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("octet_length(hash) = 32", name="hash"),
        Index("uq_api_keys_hash", "agency_id", "hash", unique=True),
        ForeignKeyConstraint(["agency_id", "created_by"], ["api_keys.agency_id", "api_keys.id"], name="fk_api_keys_created_by"),
        ForeignKeyConstraint(
            ["agency_id", "created_by_member"], [f"{MEMBERS}.agency_id", f"{MEMBERS}.id"], name="fk_api_keys_created_by_member"
        ),
    )

    agency_id: UUID = Field(primary_key=True, foreign_key="agencies.id")
    id: UUID = Field(primary_key=True)
    name: str
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    hint: str
    scopes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'")))
    workspace_ids: list[UUID] | None = uuid_array()
    created_by: UUID | None = Field(default=None)
    created_by_member: UUID | None = Field(default=None)
    eyes: UUID
    """The member at whom the chain of its makers begins; the first key of a chain that the operator began."""
    expires_at: datetime | None = instant(nullable=True)
    last_used_at: datetime | None = instant(nullable=True)
    revoked_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)
