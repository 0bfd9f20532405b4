"""The database: SQLModel sessions, and one bare pool for the hot statements, both under the tenant's stamp.

Every transaction begins with the stamp: `set local app.agency_id = ...` and the workspaces that the caller may
see, local to the transaction, so it is safe behind PgBouncer in transaction mode. Without it the policies show no row.

SQLAlchemy is imported by whoever opens a session (`core.sessions`): it is a second of start and thirty megabytes, and what
publishes needs none of it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from core.pool import open_pool
from core.settings import Settings

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

    from core.sessions import Sessions

Bare = asyncpg.Connection
"""A bare connection inside a stamped transaction."""
Row = asyncpg.Record
"""A row of a bare statement."""
DRIVER = "driver"
"""Under which name a session knows its connection."""
UNDO_S_MAX = 2.0
"""A rollback takes a millisecond; a server that takes this long is silent. SQLAlchemy gives its connections as much."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose rows a transaction may see: one agency, and within it these workspaces (None: all)."""

    agency_id: UUID
    workspace_ids: tuple[UUID, ...] | None = None

    @property
    def workspaces_literal(self) -> str:
        """The workspaces as a PostgreSQL array literal; empty text stands for all of them."""
        return "" if self.workspace_ids is None else "{" + ",".join(map(str, self.workspace_ids)) + "}"


@dataclass(frozen=True, slots=True)
class Person:
    """Whose own rows a transaction may see: one person's, in no agency. None: nobody's yet, who is signing in."""

    user_id: UUID | None = None


Stamp = Tenant | Person


class Database:
    """Both ways to the tables, for one login (the application's). Make one per process; `close` ends both."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._sessions: Sessions | None = None

    @asynccontextmanager
    async def session(self, tenant: Tenant | None = None) -> AsyncIterator["AsyncSession"]:
        """Open one transaction for SQLModel. Commits at the end, rolls back on an error."""
        if self._sessions is None:
            from core.sessions import Sessions

            self._sessions = Sessions(self._settings)
        async with self._sessions.open(tenant) as session:
            yield session

    async def pool(self) -> asyncpg.Pool:
        """The bare pool, opened on first use."""
        if self._pool is None:
            async with self._opening:  # who comes while it opens must not open another, which nobody would close
                if self._pool is None:
                    self._pool = await open_pool(self._settings.app_url, self._settings)
        return self._pool

    @asynccontextmanager
    async def connection(self, tenant: Stamp) -> AsyncIterator[asyncpg.Connection]:
        """Open one transaction for bare statements, BEGIN and stamp in one round trip. Commits at the end."""
        pool = await self.pool()
        async with pool.acquire() as connection:
            try:
                await connection.execute(begin(tenant))
                yield connection
                await connection.execute("commit")
            except BaseException:
                await roll_back(connection)
                raise

    async def close(self) -> None:
        """Close every connection."""
        if self._sessions is not None:
            await self._sessions.engine.dispose()
        if self._pool is not None:
            await self._pool.close()
            self._pool = None


def begin(tenant: Stamp | None) -> str:
    """BEGIN and the stamp as one script. The values are UUIDs by type, so they can stand in the text.

    `set local` is what `set_config(..., true)` does, without a plan: a script is parsed and planned each time.
    """
    if isinstance(tenant, Person):
        return f"begin; set local app.user_id = '{tenant.user_id or ''}'"
    workspaces = tenant.workspaces_literal if tenant else ""
    narrowed = f"; set local app.workspace_ids = '{workspaces}'" if workspaces else ""  # without it: all of the agency's
    return f"begin; set local app.agency_id = '{tenant.agency_id if tenant else ''}'{narrowed}"


async def roll_back(connection: asyncpg.Connection) -> None:
    """Leave a connection without a transaction, or end it: what it was doing may have been broken off at any statement."""
    if connection.is_closed():
        return
    try:
        async with asyncio.timeout(UNDO_S_MAX):
            await connection.execute("rollback")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        connection.terminate()  # the pool opens another


async def undo(session: "AsyncSession") -> None:
    """End the transaction of a session that was only a look. Nothing may be asked of the session afterwards."""
    session.expunge_all()
    await raw(session).execute("rollback")


def raw(session: "AsyncSession") -> asyncpg.Connection:
    """The connection under a session, in the same stamped transaction: for the few bare statements that must be fast."""
    driver: asyncpg.Connection = session.info[DRIVER]
    return driver


async def stamp_agency(db: asyncpg.Connection, agency_id: UUID | None) -> None:
    """Turn the transaction to an agency, or to none.

    Only what is proven of one agency is carried over into another: see docs/decisions/0016.
    """
    await db.execute("select set_config('app.agency_id', $1, true)", "" if agency_id is None else str(agency_id))


async def stamp_login(db: asyncpg.Connection, email: str) -> None:
    """Let the transaction see the one person who signs in by this e-mail, or make that one."""
    await db.execute("select set_config('app.login', $1, true)", email)


async def stamp_person(db: asyncpg.Connection, user_id: UUID | None) -> None:
    """Let the transaction see one person's own rows; None: nobody's."""
    await db.execute("select set_config('app.user_id', $1, true)", str(user_id or ""))


async def restamp(db: asyncpg.Connection, tenant: Tenant) -> None:
    """Narrow the transaction to the caller's workspaces, once they are known."""
    await db.execute("select set_config('app.workspace_ids', $1, true)", tenant.workspaces_literal)


async def take_turn(db: asyncpg.Connection, things: str, owner_id: UUID) -> None:
    """Wait until the transaction alone makes such `things` of their owner, to its end: so a count of them holds."""
    await db.execute("select pg_advisory_xact_lock(hashtextextended($1 || '/' || $2::uuid, 7))", things, owner_id)
