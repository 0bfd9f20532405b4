"""Mail that waits to be sent.

Revision ID: 0010
Revises: 0009
"""

from alembic import op
import sqlalchemy as sa

from migrations.walls import wall

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('mails',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('template', sa.String(), nullable=False),
    sa.Column('state', sa.String(), server_default=sa.text("'waiting'"), nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=True),
    sa.Column('refusal', sa.String(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("state in ('waiting', 'refused', 'given_up')", name=op.f('ck_mails_state')),
    sa.CheckConstraint("(state = 'waiting') = (sealed is not null)", name=op.f('ck_mails_sealed')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_mails'))
    )
    op.create_index('ix_mails_ended', 'mails', ['agency_id', 'created_at'], unique=False, postgresql_where=sa.text("state <> 'waiting'"))
    for statement in wall("mails"):
        op.execute(statement)


def downgrade() -> None:
    op.drop_table('mails')
