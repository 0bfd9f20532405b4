"""People, their passwords and sessions; members of agencies and their roles in workspaces; keys that members made.

Revision ID: 0007
Revises: 0006
"""

from alembic import op
import sqlalchemy as sa

from migrations.walls import MEMBERS, PERSON, people_walls, wall

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('users',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('email', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('locale', sa.String(), server_default=sa.text("'en'"), nullable=False),
    sa.Column('email_verified_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('email = lower(email)', name=op.f('ck_users_email')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_users')),
    sa.UniqueConstraint('email', name=op.f('uq_users_email'))
    )
    op.create_table('passwords',
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('hash', sa.String(), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_passwords_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', name=op.f('pk_passwords'))
    )
    op.create_table('sessions',
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('address', sa.String(), nullable=True),
    sa.Column('user_agent', sa.String(), server_default=sa.text("''"), nullable=False),
    sa.Column('last_seen_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('octet_length(hash) = 32', name=op.f('ck_sessions_hash')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_sessions_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', 'id', name=op.f('pk_sessions'))
    )
    op.create_index('uq_sessions_hash', 'sessions', ['user_id', 'hash'], unique=True)
    op.create_table('members',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('role', sa.String(), nullable=False),
    sa.Column('state', sa.String(), server_default=sa.text("'active'"), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("role in ('owner', 'admin', 'billing', 'member')", name=op.f('ck_members_role')),
    sa.CheckConstraint("state in ('active', 'removed')", name=op.f('ck_members_state')),
    sa.ForeignKeyConstraint(['agency_id'], ['agencies.id'], name=op.f('fk_members_agency_id')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_members_user_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_members'))
    )
    op.create_index('uq_members_user', 'members', ['agency_id', 'user_id'], unique=True)
    op.create_index('ix_members_user_id', 'members', ['user_id'], unique=False)
    op.create_table('workspace_members',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('member_id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('role', sa.String(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("role in ('manager', 'content', 'design', 'ads', 'community', 'analyst', 'client', 'viewer')", name=op.f('ck_workspace_members_role')),
    sa.ForeignKeyConstraint(['agency_id', 'member_id'], ['members.agency_id', 'members.id'], name=op.f('fk_workspace_members_agency_id_member_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id'], ['workspaces.agency_id', 'workspaces.id'], name=op.f('fk_workspace_members_agency_id_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('agency_id', 'member_id', 'workspace_id', name=op.f('pk_workspace_members'))
    )
    op.add_column('api_keys', sa.Column('created_by_member', sa.Uuid(), nullable=True))
    op.create_foreign_key('fk_api_keys_created_by_member', 'api_keys', 'members', ['agency_id', 'created_by_member'], ['agency_id', 'id'])
    op.execute(PERSON)
    for statement in [*wall("members", also=MEMBERS), *wall("workspace_members", workspace="workspace_id"), *people_walls()]:
        op.execute(statement)


def downgrade() -> None:
    op.drop_constraint('fk_api_keys_created_by_member', 'api_keys', type_='foreignkey')
    op.drop_column('api_keys', 'created_by_member')
    op.execute("drop policy person on users")
    op.execute("drop policy tenant on members")
    for table in ("workspace_members", "members", "sessions", "passwords", "users"):
        op.drop_table(table)
    op.execute("drop function current_person()")
