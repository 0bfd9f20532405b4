"""Wrong codes of sessions that a provider of an agency began count apart, for each agency.

Revision ID: 0019
Revises: 0018
"""

from alembic import op
import sqlalchemy as sa

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "factor_tries",
        sa.Column("bound_to", sa.Uuid(), server_default=sa.text("'00000000-0000-0000-0000-000000000000'"), nullable=False),
    )
    op.drop_constraint("pk_factor_tries", "factor_tries", type_="primary")
    op.create_primary_key("pk_factor_tries", "factor_tries", ["user_id", "bound_to"])


def downgrade() -> None:
    op.execute("alter table factor_tries no force row level security")
    op.execute("delete from factor_tries where bound_to <> '00000000-0000-0000-0000-000000000000'")
    op.execute("alter table factor_tries force row level security")
    op.drop_constraint("pk_factor_tries", "factor_tries", type_="primary")
    op.drop_column("factor_tries", "bound_to")
    op.create_primary_key("pk_factor_tries", "factor_tries", ["user_id"])
