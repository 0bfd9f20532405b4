"""Links for people without an account; closing a workspace or an agency, and what stays of one that was erased.

Revision ID: 0013
Revises: 0011
"""

from alembic import op
import sqlalchemy as sa

from migrations.walls import append_only_wall, closing, reopening, wall

revision = "0013"
down_revision = "0011"
branch_labels = None
depends_on = None

ALL_BEFORE = (
    "agency:read", "key:read", "key:manage", "network:read", "workspace:read", "workspace:create", "workspace:update", "account:read",
    "account:connect", "account:manage", "media:read", "media:create", "media:delete", "post:read", "post:create", "post:update",
    "post:schedule", "post:delete", "publication:read", "publication:resolve", "event:read", "operation:read", "audit:read",
)
NEW = ("link:read", "link:manage", "agency:export", "workspace:export", "workspace:close")
"""Who held every scope that there was holds these too. An agency is closed by its owner in person, and by no key."""


def upgrade() -> None:
    for table in ("agencies", "workspaces"):
        for column in ("erase_at", "closed_at"):
            op.add_column(table, sa.Column(column, sa.DateTime(timezone=True), nullable=True))
    op.alter_column('operations', 'workspace_id', existing_type=sa.Uuid(), nullable=True)
    op.create_table('erasures',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('erased_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('audit_sequence', sa.BigInteger(), nullable=True),
    sa.Column('audit_hash', sa.LargeBinary(), nullable=True),
    sa.PrimaryKeyConstraint('agency_id', name=op.f('pk_erasures'))
    )
    op.create_table('share_links',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('purpose', sa.String(), nullable=False),
    sa.Column('post_id', sa.Uuid(), nullable=True),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('hint', sa.String(), nullable=False),
    sa.Column('max_opens', sa.Integer(), nullable=True),
    sa.Column('opens', sa.Integer(), server_default=sa.text("'0'"), nullable=False),
    sa.Column('last_opened_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_by', sa.Uuid(), nullable=True),
    sa.Column('created_by_member', sa.Uuid(), nullable=True),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('octet_length(hash) = 32', name=op.f('ck_share_links_hash')),
    sa.CheckConstraint("purpose = 'post' and post_id is not null", name=op.f('ck_share_links_purpose')),
    sa.CheckConstraint('opens >= 0 and opens <= coalesce(max_opens, opens)', name=op.f('ck_share_links_opens')),
    sa.CheckConstraint('num_nonnulls(created_by, created_by_member) = 1', name=op.f('ck_share_links_maker')),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id'], ['workspaces.agency_id', 'workspaces.id'], name=op.f('fk_share_links_agency_id_workspace_id')),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id', 'post_id'], ['posts.agency_id', 'posts.workspace_id', 'posts.id'], name='fk_share_links_post', ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_share_links'))
    )
    op.create_index('uq_share_links_hash', 'share_links', ['agency_id', 'hash'], unique=True)
    op.create_index('ix_share_links_post', 'share_links', ['agency_id', 'post_id'], unique=False)
    for statement in [*wall("share_links", workspace="workspace_id"), *append_only_wall("erasures"), *closing()]:
        op.execute(statement)
    op.execute("alter table api_keys no force row level security")
    new = "array[" + ", ".join(f"'{one}'" for one in NEW) + "]"
    op.execute(f"update api_keys set scopes = scopes || {new} where scopes @> '{{{', '.join(ALL_BEFORE)}}}'")
    op.execute("alter table api_keys force row level security")


def downgrade() -> None:
    op.execute("alter table api_keys no force row level security")
    op.execute("update api_keys set scopes = array(select one from unnest(scopes) one where one not in ('agency:close', '" + "', '".join(NEW) + "'))")
    op.execute("alter table api_keys force row level security")
    for statement in reopening():
        op.execute(statement)
    op.drop_table('share_links')
    op.drop_table('erasures')
    op.execute("alter table operations no force row level security")
    op.execute("delete from operations where workspace_id is null")
    op.execute("alter table operations force row level security")
    op.alter_column('operations', 'workspace_id', existing_type=sa.Uuid(), nullable=False)
    for table in ("agencies", "workspaces"):
        for column in ("erase_at", "closed_at"):
            op.drop_column(table, column)
