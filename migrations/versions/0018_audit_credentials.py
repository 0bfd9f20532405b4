"""Audit entries name by which session or grant somebody acted.

Revision ID: 0018
Revises: 0017
"""

from alembic import op
import sqlalchemy as sa

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit_entries", sa.Column("credential_type", sa.String(), nullable=True))
    op.add_column("audit_entries", sa.Column("credential_id", sa.Uuid(), nullable=True))


def downgrade() -> None:
    op.drop_column("audit_entries", "credential_id")
    op.drop_column("audit_entries", "credential_type")
