"""The first tables, and their walls.

Revision ID: 0001
Revises:
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from core.settings import APP_ROLE, WORKER_ROLE
from migrations.walls import FUNCTIONS, KEYS, duties_wall, wall

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WORKSPACE_TABLES = (
    "accounts",
    "asset_versions",
    "assets",
    "attempts",
    "connect_sessions",
    "connections",
    "events",
    "posts",
    "publications",
    "variants",
)
GLOBAL_TABLES = ("heartbeats", "sandbox_profiles", "sandbox_posts")


def upgrade() -> None:
    op.create_table('agencies',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('livemode', sa.Boolean(), nullable=False),
    sa.Column('live_agency_id', sa.Uuid(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['live_agency_id'], ['agencies.id'], name=op.f('fk_agencies_live_agency_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_agencies')),
    sa.UniqueConstraint('live_agency_id', name=op.f('uq_agencies_live_agency_id'))
    )
    op.create_table('duties',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('subject_id', sa.Uuid(), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('serial_key', sa.Uuid(), nullable=True),
    sa.Column('state', sa.String(), server_default=sa.text("'waiting'"), nullable=False),
    sa.Column('turn', sa.BigInteger(), nullable=True),
    sa.Column('lease_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('fence', sa.BigInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('starts', sa.Integer(), server_default=sa.text("'0'"), nullable=False),
    sa.Column('begun', sa.Integer(), server_default=sa.text("'0'"), nullable=False),
    sa.Column('started', sa.Boolean(), server_default=sa.text("'False'"), nullable=False),
    sa.CheckConstraint("(state = 'leased') = (lease_until is not null)", name=op.f('ck_duties_lease')),
    sa.CheckConstraint("state in ('waiting', 'parked', 'ready', 'leased')", name=op.f('ck_duties_state')),
    sa.PrimaryKeyConstraint('agency_id', 'kind', 'subject_id', name=op.f('pk_duties'))
    )
    op.create_index('ix_duties_leased', 'duties', ['kind', 'lease_until'], unique=False, postgresql_where=sa.text("state = 'leased'"))
    op.create_index('ix_duties_parked', 'duties', ['kind', 'serial_key', 'due_at'], unique=False, postgresql_where=sa.text("state = 'parked'"))
    op.create_index('ix_duties_ready', 'duties', ['kind', 'turn', 'agency_id'], unique=False, postgresql_where=sa.text("state = 'ready'"))
    op.create_index('ix_duties_turns', 'duties', ['kind', 'agency_id', 'turn'], unique=False, postgresql_where=sa.text("state in ('ready', 'leased') and turn is not null"))
    op.create_index('ix_duties_waiting', 'duties', ['kind', 'due_at'], unique=False, postgresql_where=sa.text("state = 'waiting'"))
    op.create_index('uq_duties_serial', 'duties', ['agency_id', 'kind', 'serial_key'], unique=True, postgresql_where=sa.text("state in ('ready', 'leased')"))
    op.create_table('heartbeats',
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('worker', sa.String(), nullable=False),
    sa.PrimaryKeyConstraint('kind', name=op.f('pk_heartbeats'))
    )
    op.create_table('sandbox_profiles',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('handle', sa.String(), nullable=False),
    sa.Column('behaviour', sa.String(), nullable=False),
    sa.Column('targets', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False),
    sa.Column('access_hash', sa.LargeBinary(), nullable=False),
    sa.Column('refresh_hash', sa.LargeBinary(), nullable=False),
    sa.Column('spent_refresh_hash', sa.LargeBinary(), nullable=True),
    sa.Column('access_expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('refreshes', sa.Integer(), server_default=sa.text("'0'"), nullable=False),
    sa.Column('calls', sa.Integer(), server_default=sa.text("'0'"), nullable=False),
    sa.Column('tried_markers', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False),
    sa.Column('media', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_sandbox_profiles'))
    )
    op.create_index('ix_sandbox_profiles_access', 'sandbox_profiles', ['access_hash'], unique=True)
    op.create_index('ix_sandbox_profiles_refresh', 'sandbox_profiles', ['refresh_hash'], unique=True)
    op.create_index('ix_sandbox_profiles_spent_refresh', 'sandbox_profiles', ['spent_refresh_hash'], unique=False)
    op.create_table('agency_keys',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('wrapped', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['agency_id'], ['agencies.id'], name=op.f('fk_agency_keys_agency_id')),
    sa.PrimaryKeyConstraint('agency_id', name=op.f('pk_agency_keys'))
    )
    op.create_table('api_keys',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('hint', sa.String(), nullable=False),
    sa.Column('scopes', sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    sa.Column('workspace_ids', postgresql.ARRAY(sa.Uuid()), nullable=True),
    sa.Column('created_by', sa.Uuid(), nullable=True),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('octet_length(hash) = 32', name=op.f('ck_api_keys_hash')),
    sa.ForeignKeyConstraint(['agency_id', 'created_by'], ['api_keys.agency_id', 'api_keys.id'], name='fk_api_keys_created_by'),
    sa.ForeignKeyConstraint(['agency_id'], ['agencies.id'], name=op.f('fk_api_keys_agency_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_api_keys'))
    )
    op.create_index('uq_api_keys_hash', 'api_keys', ['agency_id', 'hash'], unique=True)
    op.create_table('idempotency_records',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('key', sa.String(), nullable=False),
    sa.Column('fingerprint', sa.LargeBinary(), nullable=False),
    sa.Column('status', sa.Integer(), nullable=True),
    sa.Column('headers', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('body', sa.LargeBinary(), nullable=True),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['agency_id'], ['agencies.id'], name=op.f('fk_idempotency_records_agency_id')),
    sa.PrimaryKeyConstraint('agency_id', 'key', name=op.f('pk_idempotency_records'))
    )
    op.create_table('sandbox_posts',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('profile_id', sa.Uuid(), nullable=False),
    sa.Column('target', sa.String(), nullable=False),
    sa.Column('marker', sa.String(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('media', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False),
    sa.Column('pinned', sa.Boolean(), server_default=sa.text("'False'"), nullable=False),
    sa.Column('visible_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['profile_id'], ['sandbox_profiles.id'], name=op.f('fk_sandbox_posts_profile_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_sandbox_posts'))
    )
    op.create_index('ix_sandbox_posts_profile', 'sandbox_posts', ['profile_id', 'target', 'created_at', 'id'], unique=False)
    op.create_table('workspaces',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('time_zone', sa.String(), nullable=False),
    sa.Column('late_policy', sa.String(), server_default=sa.text("'ask'"), nullable=False),
    sa.Column('late_window_s', sa.Integer(), server_default=sa.text("'21600'"), nullable=False),
    sa.Column('version', sa.Integer(), server_default=sa.text("'1'"), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("late_policy in ('publish_late', 'skip', 'ask')", name=op.f('ck_workspaces_late_policy')),
    sa.CheckConstraint('late_window_s between 60 and 2592000', name=op.f('ck_workspaces_late_window_s')),
    sa.ForeignKeyConstraint(['agency_id'], ['agencies.id'], name=op.f('fk_workspaces_agency_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_workspaces'))
    )
    op.create_table('accounts',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('network', sa.String(), nullable=False),
    sa.Column('external_id', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('handle', sa.String(), nullable=True),
    sa.Column('url', sa.String(), nullable=True),
    sa.Column('state', sa.String(), server_default=sa.text("'active'"), nullable=False),
    sa.Column('state_reason', sa.String(), nullable=True),
    sa.Column('control_external_id', sa.String(), nullable=True),
    sa.Column('details', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.Column('version', sa.Integer(), server_default=sa.text("'1'"), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("state in ('pending', 'active', 'expiring', 'needs_reconnect', 'paused', 'disconnected')", name=op.f('ck_accounts_state')),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id'], ['workspaces.agency_id', 'workspaces.id'], name=op.f('fk_accounts_agency_id_workspace_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_accounts'))
    )
    op.create_index('uq_accounts_external', 'accounts', ['agency_id', 'workspace_id', 'network', 'external_id'], unique=True)
    op.create_table('assets',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('filename', sa.String(), nullable=False),
    sa.Column('alt_text', sa.String(), server_default=sa.text("''"), nullable=False),
    sa.Column('version', sa.Integer(), server_default=sa.text("'1'"), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id'], ['workspaces.agency_id', 'workspaces.id'], name=op.f('fk_assets_agency_id_workspace_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_assets'))
    )
    op.create_table('events',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('type', sa.String(), nullable=False),
    sa.Column('subject_id', sa.Uuid(), nullable=False),
    sa.Column('data', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.Column('transaction_id', sa.BigInteger(), server_default=sa.text('(pg_current_xact_id()::text)::bigint'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id'], ['workspaces.agency_id', 'workspaces.id'], name=op.f('fk_events_agency_id_workspace_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_events'))
    )
    op.create_index('ix_events_order', 'events', ['agency_id', 'transaction_id', 'id'], unique=False)
    op.create_table('posts',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('text', sa.Text(), server_default=sa.text("''"), nullable=False),
    sa.Column('media', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('local_at', sa.String(), nullable=True),
    sa.Column('time_zone', sa.String(), nullable=True),
    sa.Column('external_ref', sa.String(), nullable=True),
    sa.Column('details', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.Column('version', sa.Integer(), server_default=sa.text("'1'"), nullable=False),
    sa.Column('created_by', sa.Uuid(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("state in ('draft', 'in_review', 'changes_requested', 'client_review', 'approved', 'scheduled', 'rejected', 'on_hold', 'archived')", name=op.f('ck_posts_state')),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id'], ['workspaces.agency_id', 'workspaces.id'], name=op.f('fk_posts_agency_id_workspace_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_posts'))
    )
    op.create_index('ix_posts_page', 'posts', ['agency_id', 'workspace_id', 'id'], unique=False)
    op.create_index('uq_posts_external_ref', 'posts', ['agency_id', 'workspace_id', 'external_ref'], unique=True, postgresql_where=sa.text('external_ref is not null'))
    op.create_table('asset_versions',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('asset_id', sa.Uuid(), nullable=False),
    sa.Column('number', sa.Integer(), server_default=sa.text("'1'"), nullable=False),
    sa.Column('content_type', sa.String(), nullable=False),
    sa.Column('size_bytes', sa.Integer(), nullable=False),
    sa.Column('width', sa.Integer(), nullable=False),
    sa.Column('height', sa.Integer(), nullable=False),
    sa.Column('sha256', sa.LargeBinary(), nullable=False),
    sa.Column('storage_key', sa.String(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('octet_length(sha256) = 32', name=op.f('ck_asset_versions_sha256')),
    sa.CheckConstraint('size_bytes > 0', name=op.f('ck_asset_versions_size_bytes')),
    sa.ForeignKeyConstraint(['agency_id', 'asset_id'], ['assets.agency_id', 'assets.id'], name=op.f('fk_asset_versions_agency_id_asset_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id'], ['workspaces.agency_id', 'workspaces.id'], name=op.f('fk_asset_versions_agency_id_workspace_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_asset_versions'))
    )
    op.create_index('uq_asset_versions_number', 'asset_versions', ['agency_id', 'asset_id', 'number'], unique=True)
    op.create_table('connect_sessions',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('network', sa.String(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('account_id', sa.Uuid(), nullable=True),
    sa.Column('return_url', sa.String(), nullable=True),
    sa.Column('state_hash', sa.LargeBinary(), nullable=True),
    sa.Column('sealed_verifier', sa.LargeBinary(), nullable=True),
    sa.Column('authorize_url', sa.String(), nullable=True),
    sa.Column('sealed_credentials', sa.LargeBinary(), nullable=True),
    sa.Column('targets', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False),
    sa.Column('account_ids', postgresql.ARRAY(sa.Uuid()), nullable=True),
    sa.Column('error', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("state in ('awaiting_user', 'awaiting_credentials', 'choosing', 'completed', 'failed')", name=op.f('ck_connect_sessions_state')),
    sa.ForeignKeyConstraint(['agency_id', 'account_id'], ['accounts.agency_id', 'accounts.id'], name=op.f('fk_connect_sessions_agency_id_account_id')),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id'], ['workspaces.agency_id', 'workspaces.id'], name=op.f('fk_connect_sessions_agency_id_workspace_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_connect_sessions'))
    )
    op.create_table('connections',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('account_id', sa.Uuid(), nullable=False),
    sa.Column('state', sa.String(), server_default=sa.text("'active'"), nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=True),
    sa.Column('scopes', sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('refreshed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('refresh_presented_digest', sa.LargeBinary(), nullable=True),
    sa.Column('refresh_presented_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('refreshes', sa.Integer(), server_default=sa.text("'0'"), nullable=False),
    sa.Column('version', sa.Integer(), server_default=sa.text("'1'"), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("state in ('active', 'superseded', 'lost', 'closed')", name=op.f('ck_connections_state')),
    sa.ForeignKeyConstraint(['agency_id', 'account_id'], ['accounts.agency_id', 'accounts.id'], name=op.f('fk_connections_agency_id_account_id')),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id'], ['workspaces.agency_id', 'workspaces.id'], name=op.f('fk_connections_agency_id_workspace_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_connections'))
    )
    op.create_index('uq_connections_active', 'connections', ['agency_id', 'account_id'], unique=True, postgresql_where=sa.text("state = 'active'"))
    op.create_table('variants',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('post_id', sa.Uuid(), nullable=False),
    sa.Column('account_id', sa.Uuid(), nullable=False),
    sa.Column('text', sa.Text(), nullable=True),
    sa.Column('media', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('options', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.ForeignKeyConstraint(['agency_id', 'account_id'], ['accounts.agency_id', 'accounts.id'], name=op.f('fk_variants_agency_id_account_id')),
    sa.ForeignKeyConstraint(['agency_id', 'post_id'], ['posts.agency_id', 'posts.id'], name=op.f('fk_variants_agency_id_post_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id'], ['workspaces.agency_id', 'workspaces.id'], name=op.f('fk_variants_agency_id_workspace_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_variants'))
    )
    op.create_index('uq_variants_account', 'variants', ['agency_id', 'post_id', 'account_id'], unique=True)
    op.create_table('publications',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('post_id', sa.Uuid(), nullable=False),
    sa.Column('variant_id', sa.Uuid(), nullable=False),
    sa.Column('account_id', sa.Uuid(), nullable=False),
    sa.Column('network', sa.String(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('next_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('handles', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.Column('steps_done', sa.Integer(), server_default=sa.text("'0'"), nullable=False),
    sa.Column('attempts', sa.Integer(), server_default=sa.text("'0'"), nullable=False),
    sa.Column('retries', sa.Integer(), server_default=sa.text("'0'"), nullable=False),
    sa.Column('looks', sa.Integer(), server_default=sa.text("'0'"), nullable=False),
    sa.Column('unknown_since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('block_reason', sa.String(), nullable=True),
    sa.Column('error', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('resolution', sa.String(), nullable=True),
    sa.Column('external_id', sa.String(), nullable=True),
    sa.Column('external_url', sa.String(), nullable=True),
    sa.Column('published_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('version', sa.Integer(), server_default=sa.text("'1'"), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("(state = 'published') <= (published_at is not null)", name=op.f('ck_publications_published_has_time')),
    sa.CheckConstraint("state in ('planned', 'scheduled', 'claimed', 'preparing', 'publishing', 'outcome_unknown', 'needs_human', 'retry_wait', 'blocked', 'missed', 'failed', 'published', 'unpublishing', 'removed', 'cancelled')", name=op.f('ck_publications_state')),
    sa.ForeignKeyConstraint(['agency_id', 'account_id'], ['accounts.agency_id', 'accounts.id'], name=op.f('fk_publications_agency_id_account_id')),
    sa.ForeignKeyConstraint(['agency_id', 'post_id'], ['posts.agency_id', 'posts.id'], name=op.f('fk_publications_agency_id_post_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['agency_id', 'variant_id'], ['variants.agency_id', 'variants.id'], name=op.f('fk_publications_agency_id_variant_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id'], ['workspaces.agency_id', 'workspaces.id'], name=op.f('fk_publications_agency_id_workspace_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_publications'))
    )
    op.create_index('ix_publications_account', 'publications', ['agency_id', 'account_id', 'id'], unique=False)
    op.create_index('ix_publications_variant', 'publications', ['agency_id', 'variant_id'], unique=False)
    op.create_index('ix_publications_post', 'publications', ['agency_id', 'post_id'], unique=False)
    op.create_index('uq_publications_external', 'publications', ['agency_id', 'account_id', 'external_id'], unique=True, postgresql_where=sa.text('external_id is not null'))
    op.create_table('attempts',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('publication_id', sa.Uuid(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('outcome', sa.String(), server_default=sa.text("'armed'"), nullable=False),
    sa.Column('content_digest', sa.String(), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('evidence', sa.String(), nullable=True),
    sa.Column('error', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.CheckConstraint("outcome in ('armed', 'unknown', 'published', 'refused', 'not_sent', 'absent')", name=op.f('ck_attempts_outcome')),
    sa.ForeignKeyConstraint(['agency_id', 'publication_id'], ['publications.agency_id', 'publications.id'], name=op.f('fk_attempts_agency_id_publication_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['agency_id', 'workspace_id'], ['workspaces.agency_id', 'workspaces.id'], name=op.f('fk_attempts_agency_id_workspace_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_attempts'))
    )
    op.create_index('uq_attempts_number', 'attempts', ['agency_id', 'publication_id', 'number'], unique=True)
    op.create_index('uq_attempts_undecided', 'attempts', ['agency_id', 'publication_id'], unique=True, postgresql_where=sa.text("outcome in ('armed', 'unknown')"))
    for table in ("publications", "attempts", "duties"):
        # Their rows change a few times soon after they are written: room on the page keeps those changes off the indexes.
        op.execute(f"alter table {table} set (fillfactor = 75)")
    build_walls()


def build_walls() -> None:
    statements = [*FUNCTIONS, *duties_wall()]
    statements += wall("agencies", agency="id")
    statements += wall("workspaces", workspace="id")
    statements += wall("api_keys", also=KEYS)
    for table in ("agency_keys", "idempotency_records"):
        statements += wall(table)
    for table in WORKSPACE_TABLES:
        statements += wall(table, workspace="workspace_id")
    for table in GLOBAL_TABLES:
        statements.append(f"grant select, insert, update, delete on {table} to {APP_ROLE}")
    statements += [
        f"revoke all on schema public from public",
        f"grant usage on schema public to {APP_ROLE}, {WORKER_ROLE}",
        f"grant select on heartbeats to {WORKER_ROLE}",
        f"grant select on alembic_version to {APP_ROLE}, {WORKER_ROLE}",
    ]
    for statement in statements:
        op.execute(statement)


def downgrade() -> None:
    op.drop_index('uq_attempts_undecided', table_name='attempts', postgresql_where=sa.text("outcome in ('armed', 'unknown')"))
    op.drop_index('uq_attempts_number', table_name='attempts')
    op.drop_table('attempts')
    op.drop_index('uq_publications_external', table_name='publications', postgresql_where=sa.text('external_id is not null'))
    op.drop_index('ix_publications_post', table_name='publications')
    op.drop_index('ix_publications_variant', table_name='publications')
    op.drop_index('ix_publications_account', table_name='publications')
    op.drop_table('publications')
    op.drop_index('uq_variants_account', table_name='variants')
    op.drop_table('variants')
    op.drop_index('uq_connections_active', table_name='connections', postgresql_where=sa.text("state = 'active'"))
    op.drop_table('connections')
    op.drop_table('connect_sessions')
    op.drop_index('uq_asset_versions_number', table_name='asset_versions')
    op.drop_table('asset_versions')
    op.drop_index('uq_posts_external_ref', table_name='posts', postgresql_where=sa.text('external_ref is not null'))
    op.drop_index('ix_posts_page', table_name='posts')
    op.drop_table('posts')
    op.drop_index('ix_events_order', table_name='events')
    op.drop_table('events')
    op.drop_table('assets')
    op.drop_index('uq_accounts_external', table_name='accounts')
    op.drop_table('accounts')
    op.drop_table('workspaces')
    op.drop_index('ix_sandbox_posts_profile', table_name='sandbox_posts')
    op.drop_table('sandbox_posts')
    op.drop_table('idempotency_records')
    op.drop_index('uq_api_keys_hash', table_name='api_keys')
    op.drop_table('api_keys')
    op.drop_table('agency_keys')
    op.drop_index('ix_sandbox_profiles_spent_refresh', table_name='sandbox_profiles')
    op.drop_index('ix_sandbox_profiles_refresh', table_name='sandbox_profiles')
    op.drop_index('ix_sandbox_profiles_access', table_name='sandbox_profiles')
    op.drop_table('sandbox_profiles')
    op.drop_table('heartbeats')
    op.drop_index('uq_duties_serial', table_name='duties', postgresql_where=sa.text("state in ('ready', 'leased')"))
    op.drop_index('ix_duties_waiting', table_name='duties', postgresql_where=sa.text("state = 'waiting'"))
    op.drop_index('ix_duties_turns', table_name='duties', postgresql_where=sa.text("state in ('ready', 'leased')"))
    op.drop_index('ix_duties_ready', table_name='duties', postgresql_where=sa.text("state = 'ready'"))
    op.drop_index('ix_duties_parked', table_name='duties', postgresql_where=sa.text("state = 'parked'"))
    op.drop_index('ix_duties_leased', table_name='duties', postgresql_where=sa.text("state = 'leased'"))
    op.drop_table('duties')
    op.drop_table('agencies')
    op.execute("drop function current_workspaces()")
    op.execute("drop function current_agency()")
