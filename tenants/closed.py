"""What a workspace that is closed does not take. Apart from the models, for who publishes."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from core.db import Bare
from core.errors import Conflict

CLOSED = "The workspace is closed."
HOLD = "select id from workspaces where agency_id = $1 and id = any ($2) and closed_at is null order by id for key share"


def require_open(closed_at: datetime | None) -> None:
    """Refuse what would begin something in a workspace that is closed. Raises Conflict."""
    if closed_at is not None:
        raise Conflict(CLOSED)


async def hold_open(db: Bare, agency_id: UUID, workspace_ids: Collection[UUID]) -> frozenset[UUID]:
    """Keep workspaces from being closed until the transaction ends, in which something new comes to reach them.

    What is closed ends all that reaches it (`rights.closing`), so it waits for what is being made. Returns those that are open.
    """
    return frozenset(row["id"] for row in await db.fetch(HOLD, agency_id, list(workspace_ids)))
