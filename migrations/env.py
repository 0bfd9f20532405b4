"""Alembic's environment: the owner's connection is handed in by `migrations.run`."""

from alembic import context

from tenants.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    compare_server_default=False,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
