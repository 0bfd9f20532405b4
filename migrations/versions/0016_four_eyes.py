"""The rule of four eyes: workspaces that want it, whose eyes a key has, and whose eyes saw the content of a post last.

Revision ID: 0016
Revises: 0015
"""

from alembic import op
import sqlalchemy as sa

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

OF_THE_KEYS = """
with recursive seen (agency_id, id, eyes) as (
  select agency_id, id, coalesce(created_by_member, id) from api_keys where created_by is null
  union all select k.agency_id, k.id, s.eyes from api_keys k join seen s on s.agency_id = k.agency_id and s.id = k.created_by)
update api_keys k set eyes = s.eyes from seen s where s.agency_id = k.agency_id and s.id = k.id
"""
"""A key has the eyes of the member at whom the chain of its makers begins; one of the operator's command has its own."""


def upgrade() -> None:
    op.add_column('workspaces', sa.Column('four_eyes', sa.Boolean(), server_default=sa.text("'False'"), nullable=False))
    # Null for what is there already: who changed it last is not known, so in a workspace with the rule it is saved once more.
    op.add_column('posts', sa.Column('content_by', sa.Uuid(), nullable=True))
    op.add_column('api_keys', sa.Column('eyes', sa.Uuid(), nullable=True))
    op.execute("alter table api_keys no force row level security")
    op.execute(OF_THE_KEYS)
    op.execute("alter table api_keys force row level security")
    op.alter_column('api_keys', 'eyes', nullable=False)


def downgrade() -> None:
    op.drop_column('api_keys', 'eyes')
    op.drop_column('posts', 'content_by')
    op.drop_column('workspaces', 'four_eyes')
