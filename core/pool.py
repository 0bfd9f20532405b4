"""The bare pool, apart from SQLAlchemy: the scheduler needs no more than this and stays small."""

import asyncpg

from core.settings import Settings

CONNECTION_SETTINGS = {"application_name": "octavo"}
"""What a connection tells the server. Time-outs and planner settings are the roles' own (migrations/run.py): PgBouncer would
refuse them here."""


async def open_pool(url: str, settings: Settings, size: int | None = None) -> asyncpg.Pool:
    """Open a bare pool with the statement time-out. JSON goes in and out as text, as on a session's own connection."""
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size or settings.database_pool_size,
        reset=_no_reset,
        max_inactive_connection_lifetime=0,  # a burst after a quiet hour must not wait for connections and plans
        statement_cache_size=1024 if settings.database_prepared_statements else 0,
        server_settings=CONNECTION_SETTINGS,
    )


async def _no_reset(_connection: asyncpg.Connection) -> None:
    """Every transaction is closed and every setting is local to it, so there is nothing to reset."""
