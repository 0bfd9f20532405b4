"""An authorisation that a network has proved dead: the worker's one way to change an account."""

from datetime import datetime
from uuid import UUID

from core import duties
from core.duties import Statements
from tenants.accounts.renewal import KIND
from tenants.events.service import emit

LOCK = "select 1 from accounts where agency_id = $1 and id = $2 for no key update"
LOSE = """
with dead as (
  update connections set state = 'lost', sealed = null, refresh_presented_digest = null, refresh_presented_at = null,
    version = version + 1
  where agency_id = $1 and account_id = $2 and id = $3 and state = 'active' and version = coalesce($6, version)
  returning account_id)
update accounts a set state = case when a.state = 'paused' then a.state else 'needs_reconnect' end, state_reason = $4,
  version = a.version + 1, updated_at = $5
from dead where a.agency_id = $1 and a.id = dead.account_id
returning a.workspace_id, a.network, a.state
"""


async def lose(
    db: Statements,
    agency_id: UUID,
    account_id: UUID,
    connection_id: UUID,
    reason: str,
    now: datetime,
    *,
    version: int | None = None,
) -> bool:
    """Mark an authorisation as lost, upon the network's proof alone, and tell it once. Says whether it was this call.

    `version` is that of the connection when the refused call was made: a sibling that refreshed since has moved it, and
    then nothing is lost. A paused account stays paused and says why in `state_reason`.
    """
    await db.execute(LOCK, agency_id, account_id)
    rows = await db.fetch(LOSE, agency_id, account_id, connection_id, reason, now, version)
    if not rows:
        return False
    await duties.drop(db, KIND, [connection_id])
    row = rows[0]
    data = {"network": row["network"], "state": row["state"], "reason": reason}
    await emit(db, agency_id, [(row["workspace_id"], "account.needs_reconnect", account_id, data)])
    return True
