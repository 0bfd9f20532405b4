"""The two writes of a post check fewer foreign keys.

An event and an attempt are written by the statement that has their post or publication in hand, with the workspace that stands
there, and the record of an Idempotency-Key by who was authenticated in its agency: the wall holds the agency of each. A check
is a statement of its own, three of nine that a post costs from its creation to its end.

Revision ID: 0017
Revises: 0016
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

KEYS = (
    ("events", "fk_events_agency_id_workspace_id", ["agency_id", "workspace_id"], "workspaces", ["agency_id", "id"]),
    ("attempts", "fk_attempts_agency_id_workspace_id", ["agency_id", "workspace_id"], "workspaces", ["agency_id", "id"]),
    ("idempotency_records", "fk_idempotency_records_agency_id", ["agency_id"], "agencies", ["id"]),
)


def upgrade() -> None:
    for table, name, *_ in KEYS:
        op.drop_constraint(name, table, type_="foreignkey")


def downgrade() -> None:
    for table, name, columns, whom, theirs in KEYS:
        op.create_foreign_key(name, table, whom, columns, theirs)
