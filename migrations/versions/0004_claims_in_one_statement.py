"""Duties are leased in one statement: no row is `ready` with a turn, or parked behind another of its account, any more.

Revision ID: 0004
Revises: 0003
"""

from alembic import op
import sqlalchemy as sa

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

def upgrade() -> None:
    op.execute("alter table duties no force row level security")
    op.execute("update duties set state = 'waiting' where state in ('ready', 'parked')")
    op.execute("alter table duties force row level security")
    for name in ("ix_duties_ready", "ix_duties_turns", "ix_duties_leased", "ix_duties_parked", "uq_duties_serial"):
        op.drop_index(name, table_name="duties")
    op.drop_column("duties", "turn")
    op.drop_constraint(op.f("ck_duties_state"), "duties", type_="check")
    op.create_check_constraint(op.f("ck_duties_state"), "duties", "state in ('waiting', 'leased')")
    op.create_index("ix_duties_keys", "duties", ["kind", "agency_id", "serial_key", "due_at"], unique=False, postgresql_where=sa.text("state = 'waiting'"))
    op.create_index("uq_duties_leased", "duties", ["agency_id", "kind", "serial_key"], unique=True, postgresql_where=sa.text("state = 'leased'"))


def downgrade() -> None:
    op.drop_index("uq_duties_leased", table_name="duties")
    op.drop_index("ix_duties_keys", table_name="duties")
    op.drop_constraint(op.f("ck_duties_state"), "duties", type_="check")
    op.create_check_constraint(op.f("ck_duties_state"), "duties", "state in ('waiting', 'parked', 'ready', 'leased')")
    op.add_column("duties", sa.Column("turn", sa.BigInteger(), nullable=True))
    op.create_index("uq_duties_serial", "duties", ["agency_id", "kind", "serial_key"], unique=True, postgresql_where=sa.text("state in ('ready', 'leased')"))
    op.create_index("ix_duties_leased", "duties", ["kind", "lease_until"], unique=False, postgresql_where=sa.text("state = 'leased'"))
    op.create_index("ix_duties_turns", "duties", ["kind", "agency_id", "turn"], unique=False, postgresql_where=sa.text("state in ('ready', 'leased') and turn is not null"))
    op.create_index("ix_duties_ready", "duties", ["kind", "turn", "agency_id"], unique=False, postgresql_where=sa.text("state = 'ready'"))
    op.create_index("ix_duties_parked", "duties", ["kind", "serial_key", "due_at"], unique=False, postgresql_where=sa.text("state = 'parked'"))
