"""Applications of third parties, what agencies granted them, and the tokens that come of it. Nothing here opens anything: every
secret is kept as a hash under the service's own secret (core/credentials.py).

A grant is one yes on the consent page and the family of everything that is issued upon it: to end it is to end them all.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Column, ForeignKeyConstraint, Index, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

from core.tables import instant, json_column, uuid_array


def _texts() -> Any:
    return Field(sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'")))


def _hash() -> Any:
    return Field(sa_column=Column(LargeBinary, nullable=False))


class Application(SQLModel, table=True):
    """An OAuth client. It belongs to the agency that registered it; others can use it only if it is offered to them."""

    __tablename__ = "applications"
    __table_args__ = (CheckConstraint("confidential or workspace_ids = '{}'", name="own_workspaces"),)

    agency_id: UUID = Field(primary_key=True, foreign_key="agencies.id")
    id: UUID = Field(primary_key=True)
    name: str
    confidential: bool
    offered: bool = Field(default=False)
    redirect_uris: list[str] = _texts()
    scopes: list[str] = _texts()
    workspace_ids: list[UUID] = uuid_array(nullable=False)
    """Where it works by itself, without a person: for its own agency alone."""
    created_at: datetime = instant(default_now=True)
    updated_at: datetime = instant(default_now=True)


class ApplicationSecret(SQLModel, table=True):
    """A secret of an application. It ends with whom it was shown to, as a key does with its maker."""

    __tablename__ = "application_secrets"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "application_id"], ["applications.agency_id", "applications.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["agency_id", "created_by"], ["api_keys.agency_id", "api_keys.id"]),
        ForeignKeyConstraint(["agency_id", "created_by_member"], ["members.agency_id", "members.id"]),
        Index("ix_application_secrets_application_id", "agency_id", "application_id"),
        CheckConstraint("octet_length(hash) = 32", name="hash"),
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    application_id: UUID
    hash: bytes = _hash()
    created_by: UUID | None = Field(default=None)
    created_by_member: UUID | None = Field(default=None)
    expires_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)


class Grant(SQLModel, table=True):
    """What a member allowed an application in this agency. The application may belong to another one, whose rows are not seen
    from here: so its name is kept as the consent page showed it."""

    __tablename__ = "grants"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "member_id"], ["members.agency_id", "members.id"]),
        Index("ix_grants_expires_at", "agency_id", "expires_at"),
    )

    agency_id: UUID = Field(primary_key=True, foreign_key="agencies.id")
    id: UUID = Field(primary_key=True)
    member_id: UUID
    application_agency_id: UUID
    application_id: UUID
    application_name: str
    scopes: list[str] = _texts()
    workspace_ids: list[UUID] = uuid_array(nullable=False)
    expires_at: datetime = instant()
    revoked_at: datetime | None = instant(nullable=True)
    revoked_reason: str | None = Field(default=None)
    last_used_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)


class AuthorizationCode(SQLModel, table=True):
    """A code. Used ones are kept, since one that comes twice was stolen."""

    __tablename__ = "authorization_codes"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "grant_id"], ["grants.agency_id", "grants.id"], ondelete="CASCADE"),
        Index("uq_authorization_codes_hash", "agency_id", "hash", unique=True),
        Index("ix_authorization_codes_grant_id", "agency_id", "grant_id"),
        CheckConstraint("octet_length(hash) = 32", name="hash"),
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    grant_id: UUID
    hash: bytes = _hash()
    redirect_uri: str
    code_challenge: str
    expires_at: datetime = instant()
    used_at: datetime | None = instant(nullable=True)


class RefreshToken(SQLModel, table=True):
    """A refresh token. Used ones are kept, for the same reason."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "grant_id"], ["grants.agency_id", "grants.id"], ondelete="CASCADE"),
        Index("uq_refresh_tokens_hash", "agency_id", "hash", unique=True),
        Index("ix_refresh_tokens_grant_id", "agency_id", "grant_id"),
        CheckConstraint("octet_length(hash) = 32", name="hash"),
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    grant_id: UUID
    hash: bytes = _hash()
    expires_at: datetime = instant()
    used_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)


class AccessToken(SQLModel, table=True):
    """A token that calls the API: `access` of an application, or `embed` for a page. It holds no more than who stands behind it
    holds at each request: its grant, its member, the key that minted it, or the application itself."""

    __tablename__ = "access_tokens"
    __table_args__ = (
        CheckConstraint("kind in ('access', 'embed')", name="kind"),
        CheckConstraint("octet_length(hash) = 32", name="hash"),
        CheckConstraint("num_nonnulls(member_id, key_id, application_id) > 0", name="holder"),
        ForeignKeyConstraint(["agency_id", "grant_id"], ["grants.agency_id", "grants.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["agency_id", "member_id"], ["members.agency_id", "members.id"]),
        ForeignKeyConstraint(["agency_id", "key_id"], ["api_keys.agency_id", "api_keys.id"]),
        ForeignKeyConstraint(
            ["agency_id", "secret_id"], ["application_secrets.agency_id", "application_secrets.id"], ondelete="CASCADE"
        ),
        Index("uq_access_tokens_hash", "agency_id", "hash", unique=True),
        Index("ix_access_tokens_grant_id", "agency_id", "grant_id"),
        Index("ix_access_tokens_expires_at", "agency_id", "expires_at"),
    )

    agency_id: UUID = Field(primary_key=True, foreign_key="agencies.id")
    id: UUID = Field(primary_key=True)
    kind: str
    hash: bytes = _hash()
    grant_id: UUID | None = Field(default=None)
    member_id: UUID | None = Field(default=None)
    key_id: UUID | None = Field(default=None)
    application_agency_id: UUID | None = Field(default=None)
    application_id: UUID | None = Field(default=None)
    secret_id: UUID | None = Field(default=None)
    """By which secret an application got it for itself: it ends with that one."""
    scopes: list[str] = _texts()
    workspace_ids: list[UUID] = uuid_array(nullable=False)
    expires_at: datetime = instant()
    revoked_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)


class PushedRequest(SQLModel, table=True):
    """What an application pushed before it sent a person (RFC 9126). It lives for some minutes, and counts once."""

    __tablename__ = "pushed_requests"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "application_id"], ["applications.agency_id", "applications.id"], ondelete="CASCADE"),
        Index("uq_pushed_requests_hash", "agency_id", "hash", unique=True),
        Index("ix_pushed_requests_application_id", "agency_id", "application_id"),
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    application_id: UUID
    hash: bytes = _hash()
    parameters: dict[str, str] = json_column("{}")
    expires_at: datetime = instant()
