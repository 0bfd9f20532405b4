"""Bring a database to the head: make the two narrow roles, then run Alembic. Idempotent; safe to start in several copies."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from core.crypto import derive_password
from core.settings import APP_ROLE, WORKER_ROLE, Settings

LOCK = 0x0C7A40
"""Advisory lock that serialises migrations: one number of our own."""


def configuration() -> Config:
    """Alembic's configuration, without an ini file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def head() -> str:
    """The revision that this code expects of its database."""
    revision = ScriptDirectory.from_config(configuration()).get_current_head()
    assert revision is not None
    return revision


def _role_settings(role: str, settings: Settings) -> dict[str, str]:
    """Settings that go with the role wherever it connects from, PgBouncer included.

    Generic plans: every statement is by key, so planning it anew for each value is half of its cost (0.3 to 0.5 ms under
    row-level security, measured). The worker's statements over duties are walks along indexes by design; the size of those
    indexes swings faster than their statistics, so hashes are never right, and a plan made while a table was empty must not
    stay a scan (measured: half of the time of ten thousand publications went into scans of `attempts`).
    """
    common = {
        "statement_timeout": f"{int(settings.statement_timeout_s * 1000)}ms",
        "idle_in_transaction_session_timeout": f"{int(settings.statement_timeout_s * 3000)}ms",
        "plan_cache_mode": "force_generic_plan",
        "jit": "off",
    }
    common |= {"enable_seqscan": "off", "random_page_cost": "1.1"}
    walks = {"enable_hashjoin": "off", "enable_mergejoin": "off"}
    return common | (walks if role == WORKER_ROLE else {})


def _roles(connection: Connection, settings: Settings) -> None:
    for role in (APP_ROLE, WORKER_ROLE):
        exists = connection.execute(text("select 1 from pg_roles where rolname = :role"), {"role": role}).scalar()
        password = derive_password(settings.secret.get_secret_value(), role)
        if not exists:
            connection.exec_driver_sql(f"create role {role} login noinherit nosuperuser nobypassrls nocreatedb nocreaterole")
        if settings.database_app_url is None and settings.database_worker_url is None:
            connection.exec_driver_sql(f"alter role {role} password '{password}'")
        for name, value in _role_settings(role, settings).items():
            connection.exec_driver_sql(f"alter role {role} set {name} = '{value}'")
    owner = connection.execute(text("select rolsuper or rolbypassrls from pg_roles where rolname = current_user")).scalar()
    if owner and settings.environment == "production":
        raise SystemExit("OCTAVO_DATABASE_URL must not be a superuser's in production: row-level security would not hold.")


def _upgrade(connection: Connection, settings: Settings, revision: str) -> None:
    connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": LOCK})
    connection.commit()
    try:
        _roles(connection, settings)
        connection.commit()
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("select pg_advisory_unlock(:lock)"), {"lock": LOCK})
        connection.commit()


async def migrate(settings: Settings, revision: str = "head") -> None:
    """Bring the database of `settings.database_url` to `revision`, as its owner."""
    engine = create_async_engine(settings.database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade, settings, revision)
    finally:
        await engine.dispose()


def main() -> None:
    """`python -m migrations`."""
    settings = Settings()
    asyncio.run(migrate(settings))
