"""Mail that waits; links in mail, second factors and wrong passwords of people; agencies that ask for a second factor.

Revision ID: 0010
Revises: 0009
"""

from alembic import op
import sqlalchemy as sa

from migrations.walls import credential_walls, wall

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
    op.create_table('user_keys',
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('wrapped', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_user_keys_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', name=op.f('pk_user_keys'))
    )
    op.create_table('mail_links',
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('purpose', sa.String(), nullable=False),
    sa.Column('email', sa.String(), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('used_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("purpose in ('verify_email', 'password_reset')", name=op.f('ck_mail_links_purpose')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_mail_links_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', 'id', name=op.f('pk_mail_links'))
    )
    op.create_table('totp_factors',
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('sealed', sa.LargeBinary(), nullable=False),
    sa.Column('confirmed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_step', sa.BigInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_totp_factors_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', name=op.f('pk_totp_factors'))
    )
    op.create_table('recovery_codes',
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('used_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint('octet_length(hash) = 32', name=op.f('ck_recovery_codes_hash')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_recovery_codes_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', 'hash', name=op.f('pk_recovery_codes'))
    )
    op.create_table('passkeys',
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('credential_id', sa.LargeBinary(), nullable=False),
    sa.Column('public_key', sa.LargeBinary(), nullable=False),
    sa.Column('sign_count', sa.BigInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('last_challenge_us', sa.BigInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_passkeys_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', 'id', name=op.f('pk_passkeys'))
    )
    op.create_index('uq_passkeys_credential', 'passkeys', ['user_id', 'credential_id'], unique=True)
    op.create_table('factor_tries',
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('failures', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('last_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_factor_tries_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', name=op.f('pk_factor_tries'))
    )
    op.create_table('password_tries',
    sa.Column('account', sa.LargeBinary(), nullable=False),
    sa.Column('by_strangers', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('by_known', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('last_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('account', name=op.f('pk_password_tries'))
    )
    op.create_index('ix_password_tries_last_at', 'password_tries', ['last_at'], unique=False)
    op.add_column('sessions', sa.Column('state', sa.String(), server_default=sa.text("'active'"), nullable=False))
    op.add_column('sessions', sa.Column('authenticated_at', sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint('ck_sessions_state', 'sessions', "state in ('second_factor_needed', 'active')")
    op.add_column('agencies', sa.Column('second_factor_required', sa.Boolean(), server_default=sa.text("'False'"), nullable=False))
    for statement in [*wall("mails"), *credential_walls()]:
        op.execute(statement)


def downgrade() -> None:
    op.drop_column('agencies', 'second_factor_required')
    op.drop_constraint('ck_sessions_state', 'sessions', type_='check')
    op.drop_column('sessions', 'authenticated_at')
    op.drop_column('sessions', 'state')
    tables = ("password_tries", "factor_tries", "passkeys", "recovery_codes", "totp_factors", "mail_links", "user_keys", "mails")
    for table in tables:
        op.drop_table(table)
