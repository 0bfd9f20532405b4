"""The pages of connect sessions: the digest of the secret that stands in the address of one.

Revision ID: 0014
Revises: 0013
"""

from alembic import op
import sqlalchemy as sa

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("connect_sessions", sa.Column("link_hash", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("connect_sessions", "link_hash")
