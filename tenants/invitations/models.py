"""Invitations: the way into an agency, for whoever reads the mail of one address."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Column, ForeignKeyConstraint, Index, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

from core.tables import instant, uuid_array
from tenants.agencies.models import ApiKey
from tenants.people.models import Member

KEYS, MEMBERS = ApiKey.__tablename__, Member.__tablename__


def _names(column: str, table: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["agency_id", column], [f"{table}.agency_id", f"{table}.id"])


class Invitation(SQLModel, table=True):
    """What somebody is to be in the agency and in workspaces, once the invitation is accepted. Of its token the hash is kept.

    `role` and `workspace_roles` hold roles as they stand on the wire: the name of a built-in one, or the id of an own one.
    """

    __tablename__ = "invitations"
    __table_args__ = (
        CheckConstraint("octet_length(hash) = 32", name="hash"),
        CheckConstraint("email = lower(email)", name="email"),
        CheckConstraint("state in ('pending', 'accepted', 'revoked')", name="state"),
        CheckConstraint("(state = 'accepted') = (member_id is not null)", name="member_id"),
        CheckConstraint("(created_by is null) <> (created_by_member is null)", name="created_by"),
        CheckConstraint("cardinality(workspace_ids) = cardinality(workspace_roles)", name="workspace_roles"),
        Index("uq_invitations_hash", "agency_id", "hash", unique=True),
        *(
            _names(column, table)
            for column, table in (("created_by", KEYS), ("created_by_member", MEMBERS), ("member_id", MEMBERS))
        ),
    )

    agency_id: UUID = Field(primary_key=True, foreign_key="agencies.id")
    id: UUID = Field(primary_key=True)
    email: str
    role: str
    workspace_ids: list[UUID] = uuid_array(nullable=False)
    workspace_roles: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'")))
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    mailed: bool = Field(default=False)
    """Its token went to the mailbox and to nobody else, so who shows it reads the mail of that address."""
    state: str = Field(default="pending")
    created_by: UUID | None = Field(default=None)
    created_by_member: UUID | None = Field(default=None)
    member_id: UUID | None = Field(default=None)
    expires_at: datetime = instant()
    ended_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)
