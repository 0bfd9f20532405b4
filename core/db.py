"""The database: one engine for SQLModel sessions, one bare pool for the few hot statements, both under the tenant's stamp.

Every transaction begins with the stamp: `set_config('app.agency_id', ..., true)` and the workspaces that the caller may
see, local to the transaction, so it is safe behind PgBouncer in transaction mode. Without it the policies show no row.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import Connection, MetaData, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import SessionTransaction
from sqlmodel import Session, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from core.pool import CONNECTION_SETTINGS, open_pool
from core.settings import Settings

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
SQLModel.metadata.naming_convention = NAMING
METADATA: MetaData = SQLModel.metadata

Bare = asyncpg.Connection
"""A bare connection inside a stamped transaction."""
Row = asyncpg.Record
"""A row of a bare statement."""

STAMP = "select set_config('app.agency_id', :agency, true), set_config('app.workspace_ids', :workspaces, true)"


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose rows a transaction may see: one agency, and within it these workspaces (None: all)."""

    agency_id: UUID
    workspace_ids: tuple[UUID, ...] | None = None

    @property
    def workspaces_literal(self) -> str:
        """The workspaces as a PostgreSQL array literal; empty text stands for all of them."""
        return "" if self.workspace_ids is None else "{" + ",".join(map(str, self.workspace_ids)) + "}"


class TenantSession(Session):
    """A session that stamps each of its transactions with its tenant (`info["tenant"]`)."""


@event.listens_for(TenantSession, "after_begin")
def _stamp(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    tenant: Tenant | None = session.info.get("tenant")
    connection.execute(
        text(STAMP),
        {"agency": str(tenant.agency_id) if tenant else "", "workspaces": tenant.workspaces_literal if tenant else ""},
    )


class Database:
    """Both ways to the tables, for one login (the application's). Make one per process; `close` ends both."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        arguments: dict[str, Any] = {"server_settings": CONNECTION_SETTINGS}
        if not settings.database_prepared_statements:
            arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        self.engine: AsyncEngine = create_async_engine(
            settings.app_url.replace("postgresql://", "postgresql+asyncpg://", 1),
            pool_size=settings.database_pool_size,
            max_overflow=0,
            pool_pre_ping=False,
            hide_parameters=True,
            connect_args=arguments,
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
        )
        self._maker = async_sessionmaker(self.engine, class_=AsyncSession, sync_session_class=TenantSession, expire_on_commit=False)

    @asynccontextmanager
    async def session(self, tenant: Tenant | None = None) -> AsyncIterator[AsyncSession]:
        """Open one transaction for SQLModel. Commits at the end, rolls back on an error."""
        async with self._maker(info={"tenant": tenant}) as session, session.begin():
            yield session

    async def pool(self) -> asyncpg.Pool:
        """The bare pool, opened on first use."""
        if self._pool is None:
            async with self._opening:  # who comes while it opens must not open another, which nobody would close
                if self._pool is None:
                    self._pool = await open_pool(self._settings.app_url, self._settings)
        return self._pool

    @asynccontextmanager
    async def connection(self, tenant: Tenant) -> AsyncIterator[asyncpg.Connection]:
        """Open one transaction for bare statements, BEGIN and stamp in one round trip. Commits at the end."""
        pool = await self.pool()
        async with pool.acquire() as connection:
            await connection.execute(begin(tenant))
            try:
                yield connection
            except BaseException:
                if not connection.is_closed():
                    await connection.execute("rollback")
                raise
            await connection.execute("commit")

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        if self._pool is not None:
            await self._pool.close()
            self._pool = None


def begin(tenant: Tenant) -> str:
    """BEGIN and the stamp as one script. Both values are UUIDs by type, so they can stand in the text."""
    return (
        f"begin; select set_config('app.agency_id', '{tenant.agency_id}', true),"
        f" set_config('app.workspace_ids', '{tenant.workspaces_literal}', true)"
    )


async def raw(session: AsyncSession) -> asyncpg.Connection:
    """The connection under a session, in the same stamped transaction: for the few bare statements that must be fast."""
    connection = await session.connection()
    driver: asyncpg.Connection = (await connection.get_raw_connection()).driver_connection
    return driver


async def restamp(db: asyncpg.Connection, tenant: Tenant) -> None:
    """Narrow the transaction to the caller's workspaces, once they are known."""
    await db.execute("select set_config('app.workspace_ids', $1, true)", tenant.workspaces_literal)
