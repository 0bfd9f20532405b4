"""What an account's network still takes: its quota for posts, less what went out and what is scheduled."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from core.duties import Statements
from core.errors import Missing
from networks.base import Network
from tenants.accounts.capabilities import AccountLimits, PostQuota, read_rules
from tenants.permissions import Actor, owned_sql
from tenants.posts import queries

WINDOW = timedelta(hours=24)
"""Networks count posts over a day that slides (`Capabilities.posts_per_day`)."""
WENT_OUT = """
(d.published_at > $4::timestamptz - $5::interval
  or d.published_at is null and d.state in ('publishing', 'outcome_unknown', 'needs_human')
    and coalesce(d.unknown_since, d.due_at) > $4::timestamptz - $5::interval)"""
"""What was taken away again was taken all the same, and what may stand there is counted as if it did."""
COUNT = f"""
select count(*) filter (where {WENT_OUT}) used,
  min(coalesce(d.published_at, d.unknown_since, d.due_at)) filter (where {WENT_OUT}) first_at,
  count(*) filter (where d.due_at <= $4::timestamptz + $5::interval
    and d.state in ('scheduled', 'claimed', 'preparing', 'retry_wait', 'blocked')) scheduled
from publications d where {{owned}} and d.account_id = $3
"""
"""By account and not by time: what is published late may have been due long ago."""


async def account_limits(
    db: Statements, actor: Actor, networks: Mapping[str, Network], workspace_id: UUID, account_id: UUID, now: datetime
) -> AccountLimits:
    """Say what the network of one account still takes. Raises Missing."""
    actor.see(workspace_id)
    accounts = await queries.accounts_of(db, actor, workspace_id, [account_id])
    if account_id not in accounts:
        raise Missing
    network = networks.get(accounts[account_id]["network"])
    query = COUNT.format(owned=owned_sql("d"))
    (counted,) = await db.fetch(query, actor.agency_id, workspace_id, account_id, now, WINDOW)
    quota = network.capabilities.posts_per_day if network else None
    remaining = None if quota is None else max(quota - counted["used"], 0)
    text, media = read_rules(network.capabilities) if network else (None, None)
    return AccountLimits(
        account_id=account_id,
        network=accounts[account_id]["network"],
        posts=PostQuota(
            quota=quota,
            window_s=int(WINDOW.total_seconds()),
            used=counted["used"],
            scheduled=counted["scheduled"],
            remaining=remaining,
            free=None if remaining is None else max(remaining - counted["scheduled"], 0),
            resets_at=None if counted["first_at"] is None else counted["first_at"] + WINDOW,
        ),
        text=text,
        media=media,
        as_of=now,
    )
