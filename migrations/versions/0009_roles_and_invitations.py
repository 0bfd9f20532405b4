"""Roles that agencies make, for members of the agency and of workspaces; invitations.

Revision ID: 0009
Revises: 0008
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from migrations.walls import INVITED, wall

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

AGENCY = ("owner", "admin", "billing", "member")
WORKSPACE = ("manager", "content", "design", "ads", "community", "analyst", "client", "viewer")
HOLDERS = (("members", AGENCY), ("workspace_members", WORKSPACE))
NEW = ("agency:update", "role:read", "role:manage")
ALL_BEFORE = (
    "agency:read", "member:read", "member:manage", "member:assign", "key:read", "key:manage", "network:read", "workspace:read",
    "workspace:create", "workspace:update", "account:read", "account:connect", "account:manage", "media:read", "media:create",
    "media:delete", "post:read", "post:create", "post:update", "post:schedule", "post:delete", "publication:read",
    "publication:resolve", "event:read", "operation:read", "audit:read",
)
"""Who held every scope that there was holds the new ones too."""


def _names(roles: tuple[str, ...]) -> str:
    return "role in (" + ", ".join(f"'{one}'" for one in roles) + ")"


def upgrade() -> None:
    op.create_table('roles',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('scope', sa.String(), nullable=False),
    sa.Column('permissions', sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("scope in ('agency', 'workspace')", name=op.f('ck_roles_scope')),
    sa.ForeignKeyConstraint(['agency_id'], ['agencies.id'], name=op.f('fk_roles_agency_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_roles'))
    )
    for table, roles in HOLDERS:
        op.add_column(table, sa.Column('custom_role_id', sa.Uuid(), nullable=True))
        op.create_foreign_key(op.f(f'fk_{table}_agency_id_custom_role_id'), table, 'roles', ['agency_id', 'custom_role_id'], ['agency_id', 'id'])
        op.drop_constraint(op.f(f'ck_{table}_role'), table, type_='check')
        op.create_check_constraint(op.f(f'ck_{table}_role'), table, _names((*roles, "custom")))
        op.create_check_constraint(op.f(f'ck_{table}_custom_role_id'), table, "(role = 'custom') = (custom_role_id is not null)")
    op.create_table('invitations',
    sa.Column('agency_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('email', sa.String(), nullable=False),
    sa.Column('role', sa.String(), nullable=False),
    sa.Column('workspace_ids', postgresql.ARRAY(sa.Uuid()), nullable=False),
    sa.Column('workspace_roles', sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('mailed', sa.Boolean(), server_default=sa.text("'False'"), nullable=False),
    sa.Column('state', sa.String(), server_default=sa.text("'pending'"), nullable=False),
    sa.Column('created_by', sa.Uuid(), nullable=True),
    sa.Column('created_by_member', sa.Uuid(), nullable=True),
    sa.Column('member_id', sa.Uuid(), nullable=True),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("(created_by is null) <> (created_by_member is null)", name=op.f('ck_invitations_created_by')),
    sa.CheckConstraint("(state = 'accepted') = (member_id is not null)", name=op.f('ck_invitations_member_id')),
    sa.CheckConstraint("cardinality(workspace_ids) = cardinality(workspace_roles)", name=op.f('ck_invitations_workspace_roles')),
    sa.CheckConstraint("email = lower(email)", name=op.f('ck_invitations_email')),
    sa.CheckConstraint("octet_length(hash) = 32", name=op.f('ck_invitations_hash')),
    sa.CheckConstraint("state in ('pending', 'accepted', 'revoked')", name=op.f('ck_invitations_state')),
    sa.ForeignKeyConstraint(['agency_id'], ['agencies.id'], name=op.f('fk_invitations_agency_id')),
    sa.ForeignKeyConstraint(['agency_id', 'created_by'], ['api_keys.agency_id', 'api_keys.id'], name=op.f('fk_invitations_agency_id_created_by')),
    sa.ForeignKeyConstraint(['agency_id', 'created_by_member'], ['members.agency_id', 'members.id'], name=op.f('fk_invitations_agency_id_created_by_member')),
    sa.ForeignKeyConstraint(['agency_id', 'member_id'], ['members.agency_id', 'members.id'], name=op.f('fk_invitations_agency_id_member_id')),
    sa.PrimaryKeyConstraint('agency_id', 'id', name=op.f('pk_invitations'))
    )
    op.create_index('uq_invitations_hash', 'invitations', ['agency_id', 'hash'], unique=True)
    for statement in (*wall("roles"), *wall("invitations", also=INVITED)):
        op.execute(statement)
    op.execute("alter table api_keys no force row level security")
    added = ", ".join(f"'{one}'" for one in NEW)
    op.execute(f"update api_keys set scopes = scopes || array[{added}] where scopes @> '{{{', '.join(ALL_BEFORE)}}}'")
    op.execute("alter table api_keys force row level security")


def downgrade() -> None:
    op.execute("alter table api_keys no force row level security")
    for one in NEW:
        op.execute(f"update api_keys set scopes = array_remove(scopes, '{one}')")
    op.execute("alter table api_keys force row level security")
    op.drop_table('invitations')
    for table, roles in HOLDERS:
        op.drop_constraint(op.f(f'ck_{table}_custom_role_id'), table, type_='check')
        op.drop_constraint(op.f(f'ck_{table}_role'), table, type_='check')
        op.execute(f"alter table {table} no force row level security")
        op.execute(f"delete from {table} where role = 'custom'" if table != "members" else "update members set role = 'member' where role = 'custom'")
        op.execute(f"alter table {table} force row level security")
        op.create_check_constraint(op.f(f'ck_{table}_role'), table, _names(roles))
        op.drop_constraint(op.f(f'fk_{table}_agency_id_custom_role_id'), table, type_='foreignkey')
        op.drop_column(table, 'custom_role_id')
    op.drop_table('roles')
