"""The edge: what names say, what keys leave behind, and what holds a transaction. Bad inputs have their table in tests/contract."""

import asyncio
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from core.clock import now
from core.db import Database
from core.ids import encode
from tenants.agencies.keys import create_key
from tenants.agencies.schemas import KeyCreate
from tenants.permissions import Permission
from tests.conftest import TestAgency, client_of
from tests.walls.things import an_account


@pytest.fixture
def posts(agency: TestAgency) -> str:
    return f"/v1/workspaces/{encode('wsp', agency.workspace.id)}/posts"


async def test_an_unknown_parameter_is_named_with_its_neighbour(client: httpx2.AsyncClient, posts: str) -> None:
    (fault,) = (await client.get(f"{posts}?limti=5")).json()["errors"]
    assert (fault["pointer"], fault["detail"]) == ("?limti", "It does not exist. Did you mean limit?")
    assert (await client.get("/v1/me?nope=1")).json()["code"] == "unknown_parameter"


async def test_a_name_that_the_caller_made_up_is_said_back_as_a_pointer(client: httpx2.AsyncClient, posts: str) -> None:
    (fault,) = (await client.get(f"{posts}?a%00b%E2%80%AE=1")).json()["errors"]
    assert fault["pointer"] == "?a\ufffdb\ufffd"
    (_, fault) = (await client.post(posts, json={"text": "x", "a/b~c": 1})).json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("/a~1b~0c", "unknown_field")


async def test_null_in_a_patch_is_refused_where_it_means_nothing(client: httpx2.AsyncClient, agency: TestAgency) -> None:
    path = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}"
    answer = await client.patch(path, json={"name": "changed", "time_zone": None})
    assert (answer.status_code, [fault["pointer"] for fault in answer.json()["errors"]]) == (422, ["/time_zone"]), answer.text
    assert (await client.get(path)).json()["name"] != "changed"


async def test_a_slow_body_holds_no_transaction(app: FastAPI, agency: TestAgency, posts: str, database: Database) -> None:
    async def never() -> Any:
        yield b"{"
        await asyncio.sleep(3600)

    async with client_of(app, agency.key) as client:
        slow = [
            asyncio.create_task(
                client.post(
                    f"{posts}/pst_01kazm3v9sfa4t2tq9gk1x7c5e/cancel", content=never(), headers={"Idempotency-Key": f"k{number}"}
                )
            )
            for number in range(20)
        ]
        await asyncio.sleep(0.3)
        async with asyncio.timeout(3):
            assert (await client.get("/v1/me")).status_code == 200
            assert (await client.get(posts)).status_code == 200
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_a_revoked_key_leaves_no_child_behind(app: FastAPI, agency: TestAgency, database: Database) -> None:
    async with database.session(agency.tenant) as session:
        row, text = await create_key(session, agency.actor, KeyCreate(name="maker", scopes=list(Permission)), now())
    async with client_of(app, text) as maker, client_of(app, agency.key) as client:
        making = [
            asyncio.create_task(maker.post("/v1/api-keys", json={"name": "child", "scopes": ["agency:read"]})) for _ in range(20)
        ]
        await asyncio.sleep(0.02)
        assert (await client.delete(f"/v1/api-keys/{encode('key', row.id)}")).status_code == 204
        children = [answer.json()["key"] for answer in await asyncio.gather(*making) if answer.status_code == 201]
    for child in children:
        async with client_of(app, child) as orphan:
            assert (await orphan.get("/v1/me")).status_code == 401


async def test_a_key_cannot_outlive_or_outrank_its_maker(app: FastAPI, agency: TestAgency, database: Database) -> None:
    from datetime import timedelta

    soon = now() + timedelta(hours=1)
    async with database.session(agency.tenant) as session:
        wish = KeyCreate(name="short", scopes=[Permission.KEY_MANAGE, Permission.KEY_READ], expires_at=soon)
        _, text = await create_key(session, agency.actor, wish, now())
    async with client_of(app, text) as short:
        made = await short.post("/v1/api-keys", json={"name": "child", "scopes": ["key:read"]})
        assert made.json()["expires_at"] is not None
        wider = await short.post("/v1/api-keys", json={"name": "child", "scopes": ["post:read"]})
        assert (wider.status_code, wider.json()["code"]) == (403, "permission_denied")
        ended = await short.delete(f"/v1/api-keys/{encode('key', agency.actor.key_id)}")
        assert ended.status_code == 403


async def test_the_text_of_a_key_is_stored_nowhere_and_its_replay_says_so(
    client: httpx2.AsyncClient, database: Database, agency: TestAgency
) -> None:
    body, headers = {"name": "k", "scopes": ["post:read"]}, {"Idempotency-Key": "once"}
    first = await client.post("/v1/api-keys", json=body, headers=headers)
    again = await client.post("/v1/api-keys", json=body, headers=headers)
    assert (again.status_code, again.headers["Idempotent-Replayed"], again.json()["key"]) == (201, "true", None)
    assert again.json()["id"] == first.json()["id"]
    async with database.connection(agency.tenant) as db:
        assert not await db.fetchval("select bool_or(body::text like '%oct_test%') from idempotency_records")


async def test_an_answer_is_not_replayed_past_a_wall(
    app: FastAPI, client: httpx2.AsyncClient, agency: TestAgency, database: Database, posts: str
) -> None:
    account = await an_account(database, agency.tenant, agency.workspace.id)
    body = {"text": "secret", "account_ids": [account], "schedule": {"at": "2027-06-01T09:00:00Z"}}
    assert (await client.post(posts, json=body, headers={"Idempotency-Key": "post-1"})).status_code == 201
    from tenants.agencies.schemas import WorkspaceCreate
    from tenants.agencies.service import create_workspace

    async with database.session(agency.tenant) as session:
        room = await create_workspace(session, agency.actor, WorkspaceCreate(name="Room", time_zone="UTC"), now())
        wish = KeyCreate(name="bound", scopes=list(Permission), workspace_ids=[room.id])
        _, bound = await create_key(session, agency.actor, wish, now())
    async with client_of(app, bound) as stranger:
        answer = await stranger.post(posts, json=body, headers={"Idempotency-Key": "post-1"})
        assert (answer.status_code, "secret" in answer.text) == (404, False)


async def test_a_head_of_the_callback_spends_nothing(app: FastAPI) -> None:
    async with client_of(app, None) as anybody:
        assert (await anybody.head("/connect/callback/sandbox?code=x&state=y")).status_code == 405
