"""Connect sessions name who began them, and links by which grant an application made them.

Revision ID: 0020
Revises: 0019
"""

from alembic import op
import sqlalchemy as sa

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

OF_SESSIONS = ("created_by", "created_by_member", "grant_id", "secret_id")


def upgrade() -> None:
    op.add_column("share_links", sa.Column("grant_id", sa.Uuid(), nullable=True))
    for name in OF_SESSIONS:
        op.add_column("connect_sessions", sa.Column(name, sa.Uuid(), nullable=True))


def downgrade() -> None:
    for name in OF_SESSIONS:
        op.drop_column("connect_sessions", name)
    op.drop_column("share_links", "grant_id")
