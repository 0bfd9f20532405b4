"""A workspace that is being closed while something new comes to reach it: one waits for the other, and nothing is left."""

from collections.abc import Awaitable, Callable

import httpx2
import pytest

from core.clock import now
from core.db import Database, raw
from core.ids import decode
from tenants.agencies.models import Workspace
from tenants.invitations.standing import standing_of
from tenants.owned import find
from tenants.rights.closing import shut_workspace
from tenants.sharing.service import open_link
from tenants.sharing.tokens import read_token
from tests.applications.flow import Application, register, say, workspace_of
from tests.conftest import Platform, TestAgency, client_of
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


async def test_a_link_that_is_opened_while_the_workspace_is_closing_holds_nobody_up(
    platform: Platform, database: Database, agency: TestAgency
) -> None:
    cast = Cast(platform.app, database, agency)
    ada = await cast.add("ada", "owner")
    room, wish = workspace_of(agency), {"network": "sandbox", "credentials": {"handle": "always_ok"}, "targets": "all"}
    scopes = ["link:manage", "post:read", "post:create", "account:connect", "workspace:read"]
    made = await ada.client.post("/v1/api-keys", json={"name": "k", "scopes": scopes, "workspace_ids": [room]})
    base, key_id = f"/v1/workspaces/{room}", decode("key", made.json()["id"])
    async with client_of(cast.app, made.json()["key"]) as client:
        account = (await client.post(f"{base}/connect-sessions", json=wish)).json()["accounts"][0]["id"]
        post = (await client.post(f"{base}/posts", json={"text": "x", "account_ids": [account]})).json()["id"]
        link = (await client.post(f"{base}/share-links", json={"purpose": "post", "post_id": post})).json()["token"]
    async with cast.database.connection(agency.tenant) as db:
        # Given somebody who opens the link and has got as far as its maker
        assert await standing_of(db, agency.actor.agency_id, key_id, None) is not None
        async with while_blocked(cast, ada.client.post(f"{base}/closure")) as closing:
            assert (await open_link(db, read_token(link))).shared.text == "x"
    assert (await closing).status_code == 202
    assert (await ada.client.post("/v1/shared", json={"token": link})).status_code == 404


async def test_an_application_that_gets_the_workspace_while_it_is_closing_holds_nobody_up(cast: Cast) -> None:
    agency, ada = cast.agency, await cast.add("ada", "owner")
    application = await register(cast.app, agency, confidential=True, workspace_ids=[workspace_of(agency)])
    change = ada.client.patch(f"/v1/applications/{application.id}", json={"workspace_ids": [workspace_of(agency)]})
    async with cast.database.session(agency.tenant) as session:
        row = await find(session, Workspace, agency.actor, agency.workspace.id, lock=True)
        async with while_blocked(cast, change) as changing:
            await shut_workspace(raw(session), agency.actor.agency_id, row.id, now())
    assert (await changing).status_code == 422


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
