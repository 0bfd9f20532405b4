"""Tables of what people sign in with beside the password: links in their mail, second factors, and what was tried.

All belong to the person alone (migrations/walls.py). What must be read again is sealed with the person's own data key, and what
need only be recognised is hashed. A link has nothing stored that opens it: its text is computed (tenants/people/links.py).
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, Index, LargeBinary
from sqlmodel import Field, SQLModel

from core.tables import big_integer, instant


class UserKey(SQLModel, table=True):
    """The person's data key, wrapped by the ring. Deleting the row makes everything sealed of the person unreadable."""

    __tablename__ = "user_keys"

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    wrapped: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class MailLink(SQLModel, table=True):
    """A link in a mail: for what, to which address, and whether it was used."""

    __tablename__ = "mail_links"
    __table_args__ = (CheckConstraint("purpose in ('verify_email', 'password_reset')", name="purpose"),)

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    id: UUID = Field(primary_key=True)
    purpose: str
    email: str
    expires_at: datetime = instant()
    used_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)


class TotpFactor(SQLModel, table=True):
    """The person's authenticator app. It counts once a code of it was given."""

    __tablename__ = "totp_factors"

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    confirmed_at: datetime | None = instant(nullable=True)
    last_step: int = big_integer()
    created_at: datetime = instant(default_now=True)


class RecoveryCode(SQLModel, table=True):
    """A code for when the second factor is lost. It works once."""

    __tablename__ = "recovery_codes"
    __table_args__ = (CheckConstraint("octet_length(hash) = 32", name="hash"),)

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    hash: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    used_at: datetime | None = instant(nullable=True)


class Passkey(SQLModel, table=True):
    """A passkey: its public key, and what tells a copy of it and an answer that was given before."""

    __tablename__ = "passkeys"
    __table_args__ = (Index("uq_passkeys_credential", "user_id", "credential_id", unique=True),)

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    id: UUID = Field(primary_key=True)
    name: str
    credential_id: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    public_key: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    sign_count: int = big_integer()
    last_challenge_us: int = big_integer()
    last_used_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)


class FactorTries(SQLModel, table=True):
    """Codes that were wrong, one after the other, until one is right."""

    __tablename__ = "factor_tries"

    user_id: UUID = Field(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    bound_to: UUID = Field(primary_key=True, default=UUID(int=0))
    """The agency whose provider began the session; all zeros: none did."""
    failures: int = Field(default=0)
    last_at: datetime = instant()


class PasswordTries(SQLModel, table=True):
    """Passwords that were wrong, one after the other, by the SHA-256 of the e-mail: also of one that nobody has."""

    __tablename__ = "password_tries"
    __table_args__ = (Index("ix_password_tries_last_at", "last_at"),)

    account: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    by_strangers: int = Field(default=0)
    by_known: int = Field(default=0)
    last_at: datetime = instant()
