"""What people do with one publication: retry, cancel, resolve, delete."""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from core.errors import Conflict, Missing
from tenants.permissions import Actor
from tenants.posts import queries
from tenants.posts.delivery import Change, delivery_of, write
from tenants.posts.eyes import refuse_alone
from tenants.posts.moves import RetryAsked
from tenants.posts.service import Networks, check_stored, locked
from tenants.posts.states import IN_WORK, NotAllowed, decide


async def act(
    db: asyncpg.Connection, actor: Actor, networks: Networks, workspace_id: UUID, publication_id: UUID, event: Any,
    now: datetime,
) -> asyncpg.Record:  # fmt: skip
    """Apply what a person asks to one publication; a retry is checked like a new schedule. Returns it as it was.

    Raises Missing, Conflict (`publish_in_progress`, `state_conflict`), InvalidInput, FourEyes.
    """
    found = await queries.get_publication(db, actor, workspace_id, publication_id)
    post, rows = await locked(db, actor, workspace_id, found["post_id"])
    row = next((row for row in rows if row["id"] == publication_id), None)
    if row is None:  # its account was taken from the post in the meantime
        raise Missing
    before = delivery_of(row)
    try:
        decision = decide(before, event, now)
    except NotAllowed as error:
        if before.state in IN_WORK:
            raise Conflict(code="publish_in_progress", headers={"Retry-After": "5"}) from error
        raise Conflict(f"The publication is {before.state}.", state=before.state) from error
    if isinstance(event, RetryAsked):
        if post["state"] == "archived":
            raise Conflict("An archived post takes no time.")
        refuse_alone(post, actor)
        await check_stored(db, actor, networks, workspace_id, post, [row["account_id"]], now)
    change = Change(row["id"], row["workspace_id"], row["post_id"], row["account_id"], before, decision)
    await write(db, actor.agency_id, [change], now)
    return row
