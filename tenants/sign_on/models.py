"""The identity providers of an agency, which of its members is whom there, and sign-ins that are under way."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Column, ForeignKeyConstraint, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from core.tables import instant
from tenants.people.models import Member

MEMBERS = Member.__tablename__
"""By way of the model: a provider is set by a member, so whoever knows one table must know the other."""


class IdentityProvider(SQLModel, table=True):
    """An OpenID provider that an agency trusts to say who its members are."""

    __tablename__ = "identity_providers"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "set_by_member"], [f"{MEMBERS}.agency_id", f"{MEMBERS}.id"]),
        CheckConstraint("cardinality(domains) > 0", name="domains"),
        Index("uq_identity_providers_issuer", "agency_id", "issuer", unique=True),
    )

    agency_id: UUID = Field(primary_key=True, foreign_key="agencies.id")
    id: UUID = Field(primary_key=True)
    name: str
    issuer: str
    client_id: str
    sealed_secret: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    domains: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    second_factor: bool
    set_by_member: UUID
    created_at: datetime = instant(default_now=True)


class Identity(SQLModel, table=True):
    """Who a member is at an issuer: by the issuer's subject, and never by an e-mail alone. It outlives the provider's row."""

    __tablename__ = "identities"
    __table_args__ = (
        ForeignKeyConstraint(["agency_id", "member_id"], [f"{MEMBERS}.agency_id", f"{MEMBERS}.id"], ondelete="CASCADE"),
        Index("uq_identities_member", "agency_id", "issuer", "member_id", unique=True),
    )

    agency_id: UUID = Field(primary_key=True)
    issuer: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    member_id: UUID
    created_at: datetime = instant(default_now=True)


class SignOn(SQLModel, table=True):
    """Somebody who left for a provider and has not come back: good once, in one browser, for ten minutes."""

    __tablename__ = "sign_ons"
    __table_args__ = (
        ForeignKeyConstraint(
            ["agency_id", "provider_id"], ["identity_providers.agency_id", "identity_providers.id"], ondelete="CASCADE"
        ),
    )

    agency_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    provider_id: UUID
    state_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    browser_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    sealed_verifier: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    nonce: str
    onward: str | None = Field(default=None)
    expires_at: datetime = instant()
