"""What is done about doubles, what the nightly look said about a post, and operations.

Revision ID: 0003
Revises: 0002
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from migrations.walls import wall

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('posts', sa.Column('duplicate_policy', sa.String(), server_default=sa.text("'warn'"), nullable=False))
    op.create_check_constraint(op.f('ck_posts_duplicate_policy'), 'posts', "duplicate_policy in ('reject', 'warn', 'allow')")
    op.create_index('ix_publications_due', 'publications', ['agency_id', 'workspace_id', 'due_at'], unique=False, postgresql_where=sa.text('due_at is not null'))
    op.create_table('post_findings',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('post_id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('severity', sa.String(), nullable=False),
    sa.Column('bad', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("severity in ('none', 'info', 'warning', 'error')", name=op.f('ck_post_findings_severity')),
    sa.ForeignKeyConstraint(['agency_id', 'post_id'], ['posts.agency_id', 'posts.id'], name=op.f('fk_post_findings_agency_id_post_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id'], ['workspaces.agency_id', 'workspaces.id'], name=op.f('fk_post_findings_agency_id_workspace_id')),
    sa.PrimaryKeyConstraint('agency_id', 'post_id', name=op.f('pk_post_findings'))
    )
    op.create_table('operations',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('state', sa.String(), server_default=sa.text("'queued'"), nullable=False),
    sa.Column('progress', sa.Integer(), server_default=sa.text("'0'"), nullable=False),
    sa.Column('position', sa.Integer(), server_default=sa.text("'0'"), nullable=False),
    sa.Column('input', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.Column('storage_key', sa.String(), nullable=True),
    sa.Column('result', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('problem', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('created_by', sa.Uuid(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("state in ('queued', 'running', 'succeeded', 'failed', 'canceled')", name=op.f('ck_operations_state')),
    sa.CheckConstraint('progress between 0 and 100', name=op.f('ck_operations_progress')),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id'], ['workspaces.agency_id', 'workspaces.id'], name=op.f('fk_operations_agency_id_workspace_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_operations'))
    )
    op.create_index('ix_operations_expiry', 'operations', ['agency_id', 'expires_at'], unique=False)
    for table in ("post_findings", "operations"):
        for statement in wall(table, workspace="workspace_id"):
            op.execute(statement)
    look_nightly()


def look_nightly() -> None:
    """Give the agencies that exist their nightly look at what is scheduled, as new ones get it."""
    for table in ("agencies", "duties"):
        op.execute(f"alter table {table} no force row level security")
    op.execute(
        "insert into duties (agency_id, kind, subject_id, due_at) select id, 'findings', id, now() from agencies"
        " on conflict (agency_id, kind, subject_id) do nothing"
    )
    for table in ("agencies", "duties"):
        op.execute(f"alter table {table} force row level security")


def downgrade() -> None:
    op.execute("alter table duties no force row level security")
    op.execute("delete from duties where kind in ('findings', 'operation')")
    op.execute("alter table duties force row level security")
    op.drop_index('ix_operations_expiry', table_name='operations')
    op.drop_table('operations')
    op.drop_table('post_findings')
    op.drop_index('ix_publications_due', table_name='publications', postgresql_where=sa.text('due_at is not null'))
    op.drop_constraint(op.f('ck_posts_duplicate_policy'), 'posts', type_='check')
    op.drop_column('posts', 'duplicate_policy')
