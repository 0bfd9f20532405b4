"""SQLModel's side of the database: one engine, whose sessions live in transactions that are begun and ended here.

SQLAlchemy would begin by itself, in a round trip of its own before the stamp; so its driver is told to begin nothing
(AUTOCOMMIT), and BEGIN and the stamp go out together, as for bare statements.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from core.db import DRIVER, Tenant, begin, roll_back
from core.pool import CONNECTION_SETTINGS
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


class Within(AsyncSession):
    """A session whose transaction is not its own: it ends where it was opened, or by `core.db.undo`."""

    async def commit(self) -> None:
        """Refuse: SQLAlchemy would give the connection back with the transaction open."""
        raise RuntimeError("the transaction ends where it was opened")

    rollback = commit


class Sessions:
    """The engine of one login, and what makes its sessions. One per process; `core.db.Database` owns it."""

    def __init__(self, settings: Settings) -> None:
        arguments: dict[str, Any] = {"server_settings": CONNECTION_SETTINGS}
        if not settings.database_prepared_statements:
            arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        self.engine: AsyncEngine = create_async_engine(
            settings.app_url.replace("postgresql://", "postgresql+asyncpg://", 1),
            pool_size=settings.database_pool_size,
            max_overflow=0,
            pool_pre_ping=False,
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",
            connect_args=arguments,
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
        )
        self._make = async_sessionmaker(self.engine, class_=Within, expire_on_commit=False)

    @asynccontextmanager
    async def open(self, tenant: Tenant | None) -> AsyncIterator[AsyncSession]:
        """Open a session inside one stamped transaction. Commits at the end, rolls back on an error."""
        session = self._make()
        try:
            driver = await _connect(session)
            session.info[DRIVER] = driver
            try:
                await driver.execute(begin(tenant))
                yield session
                if session.new or session.dirty or session.deleted:
                    await session.flush()
                await driver.execute("commit")
            except BaseException:
                await roll_back(driver)
                if driver.is_closed():
                    await session.invalidate()
                raise
        finally:
            await session.close()  # waits for nothing, so unlike `async with` it needs no task that outlives a cancellation


async def _connect(session: AsyncSession) -> asyncpg.Connection:
    """Take a living connection: after a restart of the database the pool holds dead ones, and nothing has told it."""
    while True:
        driver = await session.run_sync(_driver)
        if not driver.is_closed():
            return driver
        await (await session.connection()).invalidate()
        await session.close()


def _driver(session: Session) -> asyncpg.Connection:
    driver: asyncpg.Connection = session.connection().connection.driver_connection
    return driver
