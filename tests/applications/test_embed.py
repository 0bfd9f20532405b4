"""Embed tokens: read one workspace, for minutes, by the leave of who minted them."""

from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from core.db import Database
from core.ids import decode, encode
from core.settings import Settings
from tests.applications.flow import register, workspace_of
from tests.conftest import TestAgency, client_of
from tests.people.people import join, make_person, signed_in

READS = {"scopes": ["post:read", "workspace:read"]}


async def minted(client: httpx2.AsyncClient, agency: TestAgency, **more: Any) -> dict[str, Any]:
    """Mint one."""
    answer = await client.post("/v1/embed-tokens", json={"workspace_id": workspace_of(agency)} | READS | more)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_an_embed_token_reads_its_workspace_and_does_nothing_else(
    app: FastAPI, agency: TestAgency, other: TestAgency
) -> None:
    async with client_of(app, agency.key) as client:
        room = (await client.post("/v1/workspaces", json={"name": "Room", "time_zone": "UTC"})).json()["id"]
        told = await minted(client, agency)
    base = f"/v1/workspaces/{workspace_of(agency)}"
    async with client_of(app, told["token"]) as page:
        assert (await page.get(f"{base}/posts")).status_code == 200
        assert [one["id"] for one in (await page.get("/v1/workspaces")).json()["data"]] == [workspace_of(agency)]
        for elsewhere in (room, workspace_of(other)):
            assert (await page.get(f"/v1/workspaces/{elsewhere}/posts")).status_code == 404
        assert (await page.post(f"{base}/posts", json={"text": "x", "account_ids": []})).status_code == 403
        assert (await page.post("/v1/embed-tokens", json={"workspace_id": workspace_of(agency)})).status_code == 403
        assert (await page.get("/v1/api-keys")).status_code == 403


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"scopes": ["post:create"]}, 422),
        ({"scopes": ["audit:read"]}, 422),
        ({"scopes": []}, 422),
        ({"expires_in_s": 59}, 422),
        ({"expires_in_s": 901}, 422),
        ({"workspace_id": "wsp_01kazm3v9sfa4t2tq9gk1x7c5e"}, 404),
    ],
    ids=str,
)
async def test_an_embed_token_can_be_nothing_else(app: FastAPI, agency: TestAgency, wish: dict[str, Any], status: int) -> None:
    async with client_of(app, agency.key) as client:
        answer = await client.post("/v1/embed-tokens", json={"workspace_id": workspace_of(agency)} | READS | wish)
        assert answer.status_code == status


async def test_an_embed_token_ends_by_itself_and_is_shown_once(app: FastAPI, database: Database, agency: TestAgency) -> None:
    async with client_of(app, agency.key) as client:
        client.headers["Idempotency-Key"] = "once"
        told, again = await minted(client, agency), await minted(client, agency)
    assert again["token"] is None
    async with client_of(app, told["token"]) as page:
        assert (await page.get("/v1/workspaces")).status_code == 200
        async with database.connection(agency.tenant) as db:
            await db.execute("update access_tokens set expires_at = now()")
        assert (await page.get("/v1/workspaces")).status_code == 401


async def test_an_embed_token_holds_no_more_than_its_maker_and_ends_with_it(
    app: FastAPI, database: Database, agency: TestAgency, ada: UUID, browser: httpx2.AsyncClient
) -> None:
    user_id = await make_person(database, "mona@first.example")
    member_id = await join(database, agency, user_id, "member", {agency.workspace.id: "manager"})
    application = await register(app, agency, scopes=("embed:create", "post:read", "workspace:read"))
    tokens = await application.tokens(browser, [workspace_of(agency)], "embed:create post:read workspace:read")
    async with client_of(app, agency.key) as client:
        key = (await client.post("/v1/api-keys", json={"name": "k", "scopes": ["embed:create", "post:read"]})).json()
        async with client_of(app, key["key"]) as maker:
            lacking = await maker.post("/v1/embed-tokens", json={"workspace_id": workspace_of(agency)} | READS)
            assert lacking.status_code == 403
            by_key = await minted(maker, agency, scopes=["post:read"])
        async with await signed_in(app, database, user_id, agency) as mona:
            by_member = await minted(mona, agency)
        async with client_of(app, tokens["access_token"]) as caller:
            by_token = await minted(caller, agency)
        (grant,) = (await client.get("/v1/grants")).json()["data"]
        endings = (
            (by_key, f"/v1/api-keys/{key['id']}"),
            (by_member, f"/v1/members/{encode('mem', member_id)}"),
            (by_token, f"/v1/grants/{grant['id']}"),
        )
        for told, path in endings:
            async with client_of(app, told["token"]) as page:
                assert (await page.get(f"/v1/workspaces/{workspace_of(agency)}/posts")).status_code == 200
                assert (await client.delete(path)).status_code == 204
                assert (await page.get(f"/v1/workspaces/{workspace_of(agency)}/posts")).status_code == 401


async def test_an_embed_token_loses_the_workspace_that_the_key_behind_it_loses(
    app: FastAPI, database: Database, agency: TestAgency
) -> None:
    user_id = await make_person(database, "mona@first.example")
    async with client_of(app, agency.key) as client:
        second = (await client.post("/v1/workspaces", json={"name": "Second", "time_zone": "UTC"})).json()["id"]
        rooms = {agency.workspace.id: "manager", decode("wsp", second): "manager"}
        mona_id = encode("mem", await join(database, agency, user_id, "admin", rooms))
        async with await signed_in(app, database, user_id, agency) as mona:
            body = {"name": "k", "scopes": ["embed:create", "post:read"], "workspace_ids": [workspace_of(agency), second]}
            key = await mona.post("/v1/api-keys", json=body)
            assert key.status_code == 201, key.text
        async with client_of(app, key.json()["key"]) as maker:
            made = [
                await maker.post("/v1/embed-tokens", json={"workspace_id": id, "scopes": ["post:read"]})
                for id in (workspace_of(agency), second)
            ]
        # When its maker becomes a member of two workspaces, and then of one
        assert (await client.patch(f"/v1/members/{mona_id}", json={"role": "member"})).status_code == 200
        assert (await client.delete(f"/v1/workspaces/{second}/members/{mona_id}")).status_code == 204
    for id, status in ((workspace_of(agency), 200), (second, 404)):
        async with client_of(app, made[status != 200].json()["token"]) as page:
            assert (await page.get(f"/v1/workspaces/{id}/posts")).status_code == status


async def test_an_embed_token_holds_what_its_maker_may_in_that_workspace_and_a_dashboard_needs(
    app: FastAPI, database: Database, agency: TestAgency
) -> None:
    async with client_of(app, agency.key) as client:
        room = (await client.post("/v1/workspaces", json={"name": "Room", "time_zone": "UTC"})).json()["id"]
        body = {"name": "Pages", "scope": "workspace", "permissions": ["embed:create"]}
        small = (await client.post("/v1/roles", json=body)).json()["id"]
        user_id = await make_person(database, "mona@first.example")
        member_id = encode("mem", await join(database, agency, user_id, "member", {agency.workspace.id: "manager"}))
        given = await client.put(f"/v1/workspaces/{room}/members/{member_id}", json={"role": small})
        assert given.status_code == 200
        everything = await minted(client, agency, scopes=None)
    dashboard = ["account:read", "event:read", "post:read", "publication:read", "workspace:read"]
    assert everything["scopes"] == dashboard
    async with await signed_in(app, database, user_id, agency) as mona:
        assert (await minted(mona, agency))["scopes"] == READS["scopes"]
        told = await minted(mona, agency, scopes=None)
        assert told["scopes"] == dashboard
        more = await mona.post("/v1/embed-tokens", json={"workspace_id": room} | READS)
        assert (more.status_code, more.json()["code"]) == (403, "permission_denied")
        assert (await mona.post("/v1/embed-tokens", json={"workspace_id": room})).status_code == 422
    async with client_of(app, told["token"]) as page:
        assert (await page.get(f"/v1/workspaces/{workspace_of(agency)}/posts")).status_code == 200
        assert (await page.get("/v1/roles")).status_code == 403


async def test_what_an_embed_token_asks_for_counts_as_its_makers(settings: Settings, agency: TestAgency) -> None:
    from api.app import create_app

    app = create_app(settings.model_copy(update={"rate_limit_key": 6}))
    async with app.router.lifespan_context(app), client_of(app, agency.key) as client:
        tokens = [(await minted(client, agency))["token"] for _ in range(2)]
        answers = []
        for token in (*tokens, *tokens, *tokens):
            async with client_of(app, token) as page:
                answers.append((await page.get("/v1/workspaces")).status_code)
        assert answers == [200] * 4 + [429] * 2
        assert (await client.get("/v1/workspaces")).status_code == 429
