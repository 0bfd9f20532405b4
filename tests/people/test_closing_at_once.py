"""A workspace that is being closed while something new comes to reach it: one waits for the other, and nothing is left."""

from collections.abc import Awaitable, Callable

import httpx2
import pytest

from core.clock import now
from core.db import raw
from tenants.agencies.models import Workspace
from tenants.owned import find
from tenants.rights.closing import shut_workspace
from tests.applications.flow import Application, register, say, workspace_of
from tests.people.cast import Cast, Someone, while_blocked
from tests.people.inviting import GUEST, accept, guest, invite, token_of

Begin = Callable[[Cast, Someone, Application, str], Awaitable[httpx2.Response]]


async def key(cast: Cast, ada: Someone, application: Application, room: str) -> httpx2.Response:
    return await ada.client.post("/v1/api-keys", json={"name": "k", "scopes": ["post:read"], "workspace_ids": [room]})


async def registering(cast: Cast, ada: Someone, application: Application, room: str) -> httpx2.Response:
    wish = {"name": "n", "confidential": True, "scopes": ["post:read"], "workspace_ids": [room]}
    return await ada.client.post("/v1/applications", json=wish)


async def embedding(cast: Cast, ada: Someone, application: Application, room: str) -> httpx2.Response:
    return await ada.client.post("/v1/embed-tokens", json={"workspace_id": room})


async def consenting(cast: Cast, ada: Someone, application: Application, room: str) -> httpx2.Response:
    return await say(ada.client, application.asks(), [room])


LEFT = """
select (select count(*) from api_keys where $1 = any (workspace_ids) and revoked_at is null)
  + (select count(*) from applications where $1 = any (workspace_ids))
  + (select count(*) from access_tokens where $1 = any (workspace_ids) and revoked_at is null)
  + (select count(*) from grants where $1 = any (workspace_ids) and revoked_at is null)
  + (select count(*) from invitations where $1 = any (workspace_ids) and state <> 'revoked')
  + (select count(*) from workspace_members where workspace_id = $1)
"""


@pytest.mark.parametrize("begin", [key, registering, embedding, consenting])
async def test_what_is_made_while_the_workspace_is_closing_does_not_reach_it(cast: Cast, begin: Begin) -> None:
    ada = await cast.add("ada", "owner")
    application = await register(cast.app, cast.agency)
    await held_up(cast, lambda: begin(cast, ada, application, workspace_of(cast.agency)), {404, 409, 422})


async def test_an_invitation_that_is_accepted_while_the_workspace_is_closing_lets_nobody_in(cast: Cast) -> None:
    ada = await cast.add("ada", "owner")
    rooms = [{"workspace_id": workspace_of(cast.agency), "role": "viewer"}]
    token = token_of(await invite(ada.client, GUEST, role="member", workspaces=rooms))
    async with await guest(cast) as client:
        await held_up(cast, lambda: accept(client, token), {404, 422})


async def held_up(cast: Cast, begin: Callable[[], Awaitable[httpx2.Response]], refusals: set[int]) -> None:
    """Close the workspace, begin something before that is committed, and look at what is left."""
    agency = cast.agency
    async with cast.database.session(agency.tenant) as session:
        row = await find(session, Workspace, agency.actor, agency.workspace.id, lock=True)
        await shut_workspace(raw(session), agency.actor.agency_id, row.id, now())
        async with while_blocked(cast, begin()) as begun:
            pass
    answer = await begun
    assert answer.status_code in refusals, answer.text
    async with cast.database.connection(agency.tenant) as db:
        assert await db.fetchval(LEFT, agency.workspace.id) == 0
