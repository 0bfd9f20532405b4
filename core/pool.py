"""The bare pool, apart from SQLAlchemy: the scheduler needs no more than this and stays small."""

import asyncpg

from core.settings import Settings


def server_settings(settings: Settings) -> dict[str, str]:
    """What every connection tells the server: its name and its time-outs."""
    return {
        "application_name": "octavo",
        "statement_timeout": str(int(settings.statement_timeout_s * 1000)),
        "idle_in_transaction_session_timeout": str(int(settings.statement_timeout_s * 3000)),
        "jit": "off",
    }


async def open_pool(url: str, settings: Settings, size: int | None = None) -> asyncpg.Pool:
    """Open a bare pool with the statement time-out. JSON goes in and out as text, as on a session's own connection."""
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size or settings.database_pool_size,
        reset=_no_reset,
        statement_cache_size=1024 if settings.database_prepared_statements else 0,
        server_settings=server_settings(settings),
    )


async def _no_reset(_connection: asyncpg.Connection) -> None:
    """Every transaction is closed and every setting is local to it, so there is nothing to reset."""
