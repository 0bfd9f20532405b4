"""Single sign-on: the providers of agencies, who is who there, sign-ins under way, and sessions that open one agency.

Revision ID: 0015
Revises: 0014
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from migrations.walls import UNBOUND, wall

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


ALL_BEFORE = (
    "agency:read", "agency:update", "agency:export", "key:read", "key:manage", "member:read", "member:manage", "member:assign",
    "role:read", "role:manage", "application:read", "application:manage", "audit:read", "workspace:create", "workspace:close",
)
"""Who held every scope about the agency holds the new one too: nobody makes an admin who lacks what an admin may."""


def upgrade() -> None:
    op.create_table('identity_providers',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('issuer', sa.String(), nullable=False),
    sa.Column('client_id', sa.String(), nullable=False),
    sa.Column('sealed_secret', sa.LargeBinary(), nullable=False),
    sa.Column('domains', postgresql.ARRAY(sa.Text()), nullable=False),
    sa.Column('second_factor', sa.Boolean(), nullable=False),
    sa.Column('set_by_member', sa.Uuid(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('cardinality(domains) > 0', name=op.f('ck_identity_providers_domains')),
    sa.ForeignKeyConstraint(['agency_id'], ['agencies.id'], name=op.f('fk_identity_providers_agency_id')),
    sa.ForeignKeyConstraint(['agency_id', 'set_by_member'], ['members.agency_id', 'members.id'], name=op.f('fk_identity_providers_agency_id_set_by_member')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_identity_providers'))
    )
    op.create_index('uq_identity_providers_issuer', 'identity_providers', ['agency_id', 'issuer'], unique=True)
    op.create_table('identities',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('issuer', sa.String(), nullable=False),
    sa.Column('subject', sa.String(), nullable=False),
    sa.Column('member_id', sa.Uuid(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['agency_id', 'member_id'], ['members.agency_id', 'members.id'], name=op.f('fk_identities_agency_id_member_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('agency_id', 'issuer', 'subject', name=op.f('pk_identities'))
    )
    op.create_index('uq_identities_member', 'identities', ['agency_id', 'issuer', 'member_id'], unique=True)
    op.create_table('sign_ons',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('provider_id', sa.Uuid(), nullable=False),
    sa.Column('state_hash', sa.LargeBinary(), nullable=False),
    sa.Column('browser_hash', sa.LargeBinary(), nullable=False),
    sa.Column('sealed_verifier', sa.LargeBinary(), nullable=False),
    sa.Column('nonce', sa.String(), nullable=False),
    sa.Column('onward', sa.String(), nullable=True),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['agency_id', 'provider_id'], ['identity_providers.agency_id', 'identity_providers.id'], name=op.f('fk_sign_ons_agency_id_provider_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_sign_ons'))
    )
    op.add_column('sessions', sa.Column('bound_to', sa.Uuid(), nullable=True))
    op.add_column('sessions', sa.Column('provider_id', sa.Uuid(), nullable=True))
    op.create_check_constraint('ck_sessions_bound', 'sessions', '(bound_to is null) = (provider_id is null)')
    for table in ("identity_providers", "identities", "sign_ons"):
        for statement in wall(table, also=UNBOUND):
            op.execute(statement)
    op.execute("alter table api_keys no force row level security")
    op.execute(f"update api_keys set scopes = scopes || '{{sign_on:manage}}' where scopes @> '{{{', '.join(ALL_BEFORE)}}}'")
    op.execute("alter table api_keys force row level security")


def downgrade() -> None:
    op.execute("alter table api_keys no force row level security")
    op.execute("update api_keys set scopes = array_remove(scopes, 'sign_on:manage')")
    op.execute("alter table api_keys force row level security")
    op.execute("alter table sessions no force row level security")
    op.execute("delete from sessions where bound_to is not null")
    op.execute("alter table sessions force row level security")
    op.drop_constraint('ck_sessions_bound', 'sessions', type_='check')
    op.drop_column('sessions', 'provider_id')
    op.drop_column('sessions', 'bound_to')
    for table in ("sign_ons", "identities", "identity_providers"):
        op.drop_table(table)
