"""The audit log: entries and the seals that chain them, append-only; and the duty that seals.

Revision ID: 0008
Revises: 0007
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from migrations.walls import APPEND_ONLY, append_only, append_only_wall

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ALL_BEFORE = (
    "agency:read", "key:read", "key:manage", "network:read", "workspace:read", "workspace:create", "workspace:update", "account:read",
    "account:connect", "account:manage", "media:read", "media:create", "media:delete", "post:read", "post:create", "post:update",
    "post:schedule", "post:delete", "publication:read", "publication:resolve", "event:read", "operation:read",
)
"""Who held every scope that there was holds the new one too."""


def upgrade() -> None:
    op.create_table('audit_entries',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=True),
    sa.Column('action', sa.String(), nullable=False),
    sa.Column('actor_type', sa.String(), nullable=False),
    sa.Column('actor_id', sa.Uuid(), nullable=False),
    sa.Column('on_behalf_of', sa.Uuid(), nullable=True),
    sa.Column('subject_type', sa.String(), nullable=False),
    sa.Column('subject_id', sa.Uuid(), nullable=False),
    sa.Column('address', sa.String(), nullable=True),
    sa.Column('user_agent', sa.String(), nullable=True),
    sa.Column('request_id', sa.String(), nullable=False),
    sa.Column('before', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('after', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_audit_entries'))
    )
    op.create_index('ix_audit_entries_subject', 'audit_entries', ['agency_id', 'subject_id'], unique=False)
    op.create_table('audit_seals',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('sequence', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('entry_id', sa.Uuid(), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('sealed_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('octet_length(hash) = 32', name=op.f('ck_audit_seals_hash')),
    sa.CheckConstraint('sequence > 0', name=op.f('ck_audit_seals_sequence')),
    sa.ForeignKeyConstraint(['agency_id', 'entry_id'], ['audit_entries.agency_id', 'audit_entries.id'], name=op.f('fk_audit_seals_agency_id_entry_id')),
    sa.PrimaryKeyConstraint('agency_id', 'sequence', name=op.f('pk_audit_seals'))
    )
    op.create_index('uq_audit_seals_entry', 'audit_seals', ['agency_id', 'entry_id'], unique=True)
    op.execute(APPEND_ONLY)
    for table, workspace in (("audit_entries", "workspace_id"), ("audit_seals", None)):
        for statement in (*append_only(table), *append_only_wall(table, workspace=workspace)):
            op.execute(statement)
    seal_regularly()
    op.execute("alter table api_keys no force row level security")
    op.execute(f"update api_keys set scopes = array_append(scopes, 'audit:read') where scopes @> '{{{', '.join(ALL_BEFORE)}}}'")
    op.execute("alter table api_keys force row level security")


def seal_regularly() -> None:
    """Give the agencies that exist the duty that seals, as new ones get it."""
    for table in ("agencies", "duties"):
        op.execute(f"alter table {table} no force row level security")
    op.execute(
        "insert into duties (agency_id, kind, subject_id, due_at) select id, 'audit', id, now() from agencies"
        " on conflict (agency_id, kind, subject_id) do nothing"
    )
    for table in ("agencies", "duties"):
        op.execute(f"alter table {table} force row level security")


def downgrade() -> None:
    op.execute("alter table api_keys no force row level security")
    op.execute("update api_keys set scopes = array_remove(scopes, 'audit:read')")
    op.execute("alter table api_keys force row level security")
    op.execute("alter table duties no force row level security")
    op.execute("delete from duties where kind = 'audit'")
    op.execute("alter table duties force row level security")
    op.drop_index('uq_audit_seals_entry', table_name='audit_seals')
    op.drop_table('audit_seals')
    op.drop_index('ix_audit_entries_subject', table_name='audit_entries')
    op.drop_table('audit_entries')
    op.execute("drop function refuse_change()")
