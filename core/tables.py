"""Columns that many tables share, as functions: SQLModel wants a new column object per table."""

from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlmodel import Field

NOW = text("now()")


def instant(*, nullable: bool = False, default_now: bool = False) -> Any:
    """A `timestamptz` column."""
    if default_now:
        return Field(default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=NOW))
    return Field(default=None, sa_column=Column(DateTime(timezone=True), nullable=nullable))


def json_column(default: str | None) -> Any:
    """A `jsonb` column; `default` is its SQL literal, None makes it nullable."""
    if default is None:
        return Field(default=None, sa_column=Column(JSONB(none_as_null=True), nullable=True))
    return Field(
        default_factory=dict if default == "{}" else list,
        sa_column=Column(JSONB, nullable=False, server_default=text(f"'{default}'::jsonb")),
    )


def uuid_array(*, nullable: bool = True) -> Any:
    """A `uuid[]` column."""
    return Field(default=None, sa_column=Column(ARRAY(PG_UUID(as_uuid=True)), nullable=nullable))


def big_integer(default: int = 0) -> Any:
    """A `bigint` column with a default."""
    return Field(default=default, sa_column=Column(BigInteger, nullable=False, server_default=text(str(default))))
