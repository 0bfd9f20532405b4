"""People and their sessions, which belong to no agency; members and their roles, which do.

The walls of the first three are keyed by the person (migrations/walls.py): a transaction of an agency sees the names of its own
members, and nobody's password or session.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Column, ForeignKeyConstraint, Index, LargeBinary, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from core.tables import instant
from tenants.permissions import AgencyRole, WorkspaceRole

CUSTOM = "custom"
"""In the column `role`: it is one of the agency's own, which `custom_role_id` names."""
IS_CUSTOM = f"(role = '{CUSTOM}') = (custom_role_id is not null)"


def _listed(names: type[AgencyRole] | type[WorkspaceRole]) -> str:
    return ", ".join(f"'{name}'" for name in (*names, CUSTOM))


def _own_role() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["agency_id", "custom_role_id"], ["roles.agency_id", "roles.id"])


class User(SQLModel, table=True):
    """A person. The e-mail is the name to sign in by: in lower case, and unique over all agencies."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("email"), CheckConstraint("email = lower(email)", name="email"))

    id: UUID = Field(primary_key=True)
    email: str
    name: str
    locale: str = Field(default="en")
    email_verified_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)


class Password(SQLModel, table=True):
    """A person's password, as argon2id makes it. Apart from `users`, so that who may read a name reads no hash."""

    __tablename__ = "passwords"

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    hash: str
    changed_at: datetime = instant(default_now=True)


class PersonSession(SQLModel, table=True):
    """A browser that is signed in. Only the hash of what its cookie carries is kept."""

    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint("octet_length(hash) = 32", name="hash"),
        CheckConstraint("state in ('second_factor_needed', 'active')", name="state"),
        CheckConstraint("(bound_to is null) = (provider_id is null)", name="bound"),
        Index("uq_sessions_hash", "user_id", "hash", unique=True),
    )

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    id: UUID = Field(primary_key=True)
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    address: str | None = Field(default=None)
    user_agent: str = Field(default="")
    state: str = Field(default="active")
    authenticated_at: datetime | None = instant(nullable=True)
    bound_to: UUID | None = Field(default=None)
    """The one agency that it opens, of a session that a provider of this agency began (docs/decisions/0017)."""
    provider_id: UUID | None = Field(default=None)
    last_seen_at: datetime = instant(default_now=True)
    revoked_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)


class RoleRow(SQLModel, table=True):
    """A role that an agency made: a set of permissions, for members of the agency or of a workspace."""

    __tablename__ = "roles"
    __table_args__ = (CheckConstraint("scope in ('agency', 'workspace')", name="scope"),)

    agency_id: UUID = Field(primary_key=True, foreign_key="agencies.id")
    id: UUID = Field(primary_key=True)
    name: str
    scope: str
    permissions: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'")))
    created_at: datetime = instant(default_now=True)


class Member(SQLModel, table=True):
    """A person in an agency."""

    __tablename__ = "members"
    __table_args__ = (
        CheckConstraint(f"role in ({_listed(AgencyRole)})", name="role"),
        CheckConstraint(IS_CUSTOM, name="custom_role_id"),
        CheckConstraint("state in ('active', 'removed')", name="state"),
        _own_role(),
        Index("uq_members_user", "agency_id", "user_id", unique=True),
        Index("ix_members_user_id", "user_id"),
    )

    agency_id: UUID = Field(primary_key=True, foreign_key="agencies.id")
    id: UUID = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="users.id")
    role: str
    custom_role_id: UUID | None = Field(default=None)
    state: str = Field(default="active")
    created_at: datetime = instant(default_now=True)


class WorkspaceMember(SQLModel, table=True):
    """What a member is in one workspace."""

    __tablename__ = "workspace_members"
    __table_args__ = (
        CheckConstraint(f"role in ({_listed(WorkspaceRole)})", name="role"),
        CheckConstraint(IS_CUSTOM, name="custom_role_id"),
        _own_role(),
        ForeignKeyConstraint(["agency_id", "member_id"], ["members.agency_id", "members.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["agency_id", "workspace_id"], ["workspaces.agency_id", "workspaces.id"], ondelete="CASCADE"),
    )

    agency_id: UUID = Field(primary_key=True)
    member_id: UUID = Field(primary_key=True)
    workspace_id: UUID = Field(primary_key=True)
    role: str
    custom_role_id: UUID | None = Field(default=None)
    created_at: datetime = instant(default_now=True)
