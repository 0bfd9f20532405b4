"""What happens to an account's publications when the account stops or starts to work: held and released in bulk."""

from datetime import datetime
from uuid import UUID

from core import duties
from core.duties import Statements
from tenants.posts.delivery import KIND, Change, delivery_of, write
from tenants.posts.moves import Held, Released
from tenants.posts.queries import DELIVERY_COLUMNS
from tenants.posts.states import Decision, NotAllowed, decide

BULK_MAX = 10_000
"""Publications of one account that wait; more than two years of ten posts a day."""
WAITING = (
    f"select {DELIVERY_COLUMNS} from publications d where d.agency_id = $1 and d.account_id = $2"
    " and d.state = any($3::text[]) order by d.id limit $4"
)


async def _changes(db: Statements, agency_id: UUID, account_id: UUID, states: list[str]) -> list[Change]:
    found = await db.fetch(WAITING, agency_id, account_id, states, BULK_MAX)
    await duties.lock(db, KIND, [row["id"] for row in found])
    rows = await db.fetch(WAITING + " for update", agency_id, account_id, states, BULK_MAX)
    return [
        Change(row["id"], row["workspace_id"], row["post_id"], row["account_id"], before, Decision(before))
        for row in rows
        for before in (delivery_of(row),)
    ]


async def release(db: Statements, agency_id: UUID, account_id: UUID, reasons: frozenset[str], now: datetime) -> int:
    """Let publications go that were blocked for one of `reasons`; `token` wakes those that wait for a fresh token."""
    released = []
    states = ["blocked", "retry_wait"] if "token" in reasons else ["blocked"]
    for change in await _changes(db, agency_id, account_id, states):
        try:
            decision = decide(change.before, Released(reasons), now)
        except NotAllowed:
            continue
        released.append(change._replace(decision=decision))
    await write(db, agency_id, released, now)
    return len(released)


async def hold(db: Statements, agency_id: UUID, account_id: UUID, reason: str, now: datetime) -> int:
    """Block what is scheduled at an account that may not publish now. What a worker holds already is left to it."""
    held = [
        change._replace(decision=decide(change.before, Held(reason), now))
        for change in await _changes(db, agency_id, account_id, ["scheduled", "retry_wait"])
    ]
    await write(db, agency_id, held, now)
    return len(held)
