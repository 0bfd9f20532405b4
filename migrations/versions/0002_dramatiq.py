"""The queue of the PostgreSQL broker, in a schema of its own, open to the worker's role only.

The definition is the library's (dramatiq-postgres 1.4.0, schema.sql): a later version brings a migration of its own.

Revision ID: 0002
Revises: 0001
"""

from alembic import op
from dramatiq_postgres.schema import generate_init_sql

from core.settings import WORKER_ROLE

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    script = "\n".join(line for line in generate_init_sql().splitlines() if not line.lstrip().startswith("--"))
    for statement in script.split(";"):
        if statement.strip():
            op.execute(statement)
    op.execute(f"grant usage on schema dramatiq to {WORKER_ROLE}")
    op.execute(f"grant select, insert, update, delete on all tables in schema dramatiq to {WORKER_ROLE}")
    op.execute(f"grant usage on all sequences in schema dramatiq to {WORKER_ROLE}")


def downgrade() -> None:
    op.execute("drop schema dramatiq cascade")
