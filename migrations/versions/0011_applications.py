"""Applications of third parties: what agencies grant them, and the tokens that come of it.

Revision ID: 0011
Revises: 0010
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from migrations.walls import KEYS, UNBOUND, wall

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ALL_BEFORE = (
    "agency:read", "key:read", "key:manage", "network:read", "workspace:read", "workspace:create", "workspace:update", "account:read",
    "account:connect", "account:manage", "media:read", "media:create", "media:delete", "post:read", "post:create", "post:update",
    "post:schedule", "post:delete", "publication:read", "publication:resolve", "event:read", "operation:read", "audit:read",
)
"""Who held every scope that there was holds the new ones too."""
NEW = ("application:read", "application:manage", "embed:create")
OF_THE_AGENCY = ("applications", "application_secrets", "authorization_codes", "refresh_tokens", "pushed_requests")
"""A caller that is bound to workspaces sees none of these."""
WITHIN = ("grants", "access_tokens")
"""And of these the ones that reach no further than itself."""


def upgrade() -> None:
    op.create_table('applications',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('confidential', sa.Boolean(), nullable=False),
    sa.Column('offered', sa.Boolean(), server_default=sa.text("'False'"), nullable=False),
    sa.Column('redirect_uris', sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    sa.Column('scopes', sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    sa.Column('workspace_ids', postgresql.ARRAY(sa.UUID()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("confidential or workspace_ids = '{}'", name=op.f('ck_applications_own_workspaces')),
    sa.ForeignKeyConstraint(['agency_id'], ['agencies.id'], name=op.f('fk_applications_agency_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_applications'))
    )
    op.create_table('grants',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('member_id', sa.Uuid(), nullable=False),
    sa.Column('application_agency_id', sa.Uuid(), nullable=False),
    sa.Column('application_id', sa.Uuid(), nullable=False),
    sa.Column('application_name', sa.String(), nullable=False),
    sa.Column('scopes', sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    sa.Column('workspace_ids', postgresql.ARRAY(sa.UUID()), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('revoked_reason', sa.String(), nullable=True),
    sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['agency_id', 'member_id'], ['members.agency_id', 'members.id'], name=op.f('fk_grants_agency_id_member_id')),
    sa.ForeignKeyConstraint(['agency_id'], ['agencies.id'], name=op.f('fk_grants_agency_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_grants'))
    )
    op.create_index('ix_grants_expires_at', 'grants', ['agency_id', 'expires_at'], unique=False)
    op.create_table('pushed_requests',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('application_id', sa.Uuid(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('parameters', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['agency_id', 'application_id'], ['applications.agency_id', 'applications.id'], name=op.f('fk_pushed_requests_agency_id_application_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_pushed_requests'))
    )
    op.create_index('ix_pushed_requests_application_id', 'pushed_requests', ['agency_id', 'application_id'], unique=False)
    op.create_index('uq_pushed_requests_hash', 'pushed_requests', ['agency_id', 'hash'], unique=True)
    op.create_table('application_secrets',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('application_id', sa.Uuid(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('created_by', sa.Uuid(), nullable=True),
    sa.Column('created_by_member', sa.Uuid(), nullable=True),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('octet_length(hash) = 32', name=op.f('ck_application_secrets_hash')),
    sa.ForeignKeyConstraint(['agency_id', 'application_id'], ['applications.agency_id', 'applications.id'], name=op.f('fk_application_secrets_agency_id_application_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['agency_id', 'created_by'], ['api_keys.agency_id', 'api_keys.id'], name=op.f('fk_application_secrets_agency_id_created_by')),
    sa.ForeignKeyConstraint(['agency_id', 'created_by_member'], ['members.agency_id', 'members.id'], name=op.f('fk_application_secrets_agency_id_created_by_member')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_application_secrets'))
    )
    op.create_index('ix_application_secrets_application_id', 'application_secrets', ['agency_id', 'application_id'], unique=False)
    op.create_table('authorization_codes',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('grant_id', sa.Uuid(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('redirect_uri', sa.String(), nullable=False),
    sa.Column('code_challenge', sa.String(), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('used_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint('octet_length(hash) = 32', name=op.f('ck_authorization_codes_hash')),
    sa.ForeignKeyConstraint(['agency_id', 'grant_id'], ['grants.agency_id', 'grants.id'], name=op.f('fk_authorization_codes_agency_id_grant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_authorization_codes'))
    )
    op.create_index('ix_authorization_codes_grant_id', 'authorization_codes', ['agency_id', 'grant_id'], unique=False)
    op.create_index('uq_authorization_codes_hash', 'authorization_codes', ['agency_id', 'hash'], unique=True)
    op.create_table('refresh_tokens',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('grant_id', sa.Uuid(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('used_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('octet_length(hash) = 32', name=op.f('ck_refresh_tokens_hash')),
    sa.ForeignKeyConstraint(['agency_id', 'grant_id'], ['grants.agency_id', 'grants.id'], name=op.f('fk_refresh_tokens_agency_id_grant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_refresh_tokens'))
    )
    op.create_index('ix_refresh_tokens_grant_id', 'refresh_tokens', ['agency_id', 'grant_id'], unique=False)
    op.create_index('uq_refresh_tokens_hash', 'refresh_tokens', ['agency_id', 'hash'], unique=True)
    op.create_table('access_tokens',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('grant_id', sa.Uuid(), nullable=True),
    sa.Column('member_id', sa.Uuid(), nullable=True),
    sa.Column('key_id', sa.Uuid(), nullable=True),
    sa.Column('application_agency_id', sa.Uuid(), nullable=True),
    sa.Column('application_id', sa.Uuid(), nullable=True),
    sa.Column('secret_id', sa.Uuid(), nullable=True),
    sa.Column('scopes', sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    sa.Column('workspace_ids', postgresql.ARRAY(sa.UUID()), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("kind in ('access', 'embed')", name=op.f('ck_access_tokens_kind')),
    sa.CheckConstraint('num_nonnulls(member_id, key_id, application_id) > 0', name=op.f('ck_access_tokens_holder')),
    sa.CheckConstraint('octet_length(hash) = 32', name=op.f('ck_access_tokens_hash')),
    sa.ForeignKeyConstraint(['agency_id', 'grant_id'], ['grants.agency_id', 'grants.id'], name=op.f('fk_access_tokens_agency_id_grant_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['agency_id', 'key_id'], ['api_keys.agency_id', 'api_keys.id'], name=op.f('fk_access_tokens_agency_id_key_id')),
    sa.ForeignKeyConstraint(['agency_id', 'member_id'], ['members.agency_id', 'members.id'], name=op.f('fk_access_tokens_agency_id_member_id')),
    sa.ForeignKeyConstraint(['agency_id', 'secret_id'], ['application_secrets.agency_id', 'application_secrets.id'], name=op.f('fk_access_tokens_agency_id_secret_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['agency_id'], ['agencies.id'], name=op.f('fk_access_tokens_agency_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_access_tokens'))
    )
    op.create_index('ix_access_tokens_expires_at', 'access_tokens', ['agency_id', 'expires_at'], unique=False)
    op.create_index('ix_access_tokens_grant_id', 'access_tokens', ['agency_id', 'grant_id'], unique=False)
    op.create_index('uq_access_tokens_hash', 'access_tokens', ['agency_id', 'hash'], unique=True)
    for table in OF_THE_AGENCY:
        for statement in wall(table, also=UNBOUND):
            op.execute(statement)
    for table in WITHIN:
        for statement in wall(table, also=KEYS):
            op.execute(statement)
    op.execute("alter table api_keys no force row level security")
    op.execute(
        f"update api_keys set scopes = scopes || '{{{', '.join(NEW)}}}'::text[] where scopes @> '{{{', '.join(ALL_BEFORE)}}}'"
    )
    op.execute("alter table api_keys force row level security")


def downgrade() -> None:
    op.execute("alter table api_keys no force row level security")
    for scope in NEW:
        op.execute(f"update api_keys set scopes = array_remove(scopes, '{scope}')")
    op.execute("alter table api_keys force row level security")
    for table in (
        "access_tokens", "refresh_tokens", "authorization_codes", "pushed_requests", "application_secrets", "applications", "grants",
    ):
        op.drop_table(table)
