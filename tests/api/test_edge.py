"""Bad input at the edge: each gets a clear error with a stable code, and never a 500 (reliability 5.9)."""

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

JSON = {"Content-Type": "application/json"}
DEEP = b"[" * 100_000


@pytest.fixture
def posts(agency: TestAgency) -> str:
    return f"/v1/workspaces/{encode('wsp', agency.workspace.id)}/posts"


BODIES: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("NaN", b'{"text":NaN}', JSON, 400, "invalid_json"),
    ("Infinity", b'{"text":Infinity}', JSON, 400, "invalid_json"),
    ("a number out of range", b'{"text":1e999}', JSON, 400, "invalid_json"),
    ("a long integer", b'{"text":' + b"9" * 5000 + b"}", JSON, 400, "invalid_json"),
    ("a lone surrogate", b'{"text":"\\ud800"}', JSON, 422, "invalid_unicode"),
    ("NUL", b'{"text":"a\\u0000b"}', JSON, 422, "invalid_character"),
    ("a key twice", b'{"text":"a","text":"b"}', JSON, 400, "duplicate_key"),
    ("100,000 arrays", DEEP, JSON, 400, "too_deep"),
    ("33 levels", b'{"a":' * 33 + b"1" + b"}" * 33, JSON, 400, "too_deep"),
    ("a byte order mark", b"\xef\xbb\xbf{}", JSON, 400, "invalid_json"),
    ("two documents", b"{} {}", JSON, 400, "invalid_json"),
    ("bytes that are no UTF-8", b'{"text":"\xff"}', JSON, 400, "invalid_json"),
    ("nothing", b"", JSON, 400, "body_required"),
    ("null", b"null", JSON, 422, "validation_failed"),
    ("an array", b"[]", JSON, 422, "validation_failed"),
    ("text/plain", b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_content_type"),
    ("no content type", b"{}", {}, 415, "unsupported_content_type"),
    ("UTF-16", b"{}", {"Content-Type": "application/json; charset=utf-16"}, 415, "unsupported_content_type"),
    ("a form", b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_content_type"),
    ("gzip", b"{}", JSON | {"Content-Encoding": "gzip"}, 415, "unsupported_encoding"),
    ("300 kB", b'{"text":"' + b"x" * 300_000 + b'"}', JSON, 413, "body_too_large"),
    ("300 kB as multipart", b"x" * 300_000, {"Content-Type": "multipart/x"}, 413, "body_too_large"),
    ("an unknown field", b'{"text":"x","account_ids":[],"tenant_id":1}', JSON, 422, "validation_failed"),
    ("an empty idempotency key", b"{}", JSON | {"Idempotency-Key": ""}, 400, "invalid_idempotency_key"),
    ("a long idempotency key", b"{}", JSON | {"Idempotency-Key": "k" * 300}, 400, "invalid_idempotency_key"),
    ("an unbalanced idempotency key", b"{}", JSON | {"Idempotency-Key": '"abc'}, 400, "invalid_idempotency_key"),
    ("a version that is no date", b"{}", JSON | {"Octavo-Version": "garbage"}, 400, "invalid_version_header"),
]


@pytest.mark.parametrize(("name", "body", "headers", "status", "code"), BODIES, ids=[row[0] for row in BODIES])
async def test_a_bad_body_is_refused_by_its_code(
    client: httpx2.AsyncClient, posts: str, name: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await client.post(posts, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.text) < 20_000


QUERIES = [
    ("limit=0", 400, "invalid_parameter"),
    ("limit=101", 400, "invalid_parameter"),
    ("limit=abc", 400, "invalid_parameter"),
    ("limit=1e9", 400, "invalid_parameter"),
    ("limit=1.0", 400, "invalid_parameter"),
    ("limit=%2B5", 400, "invalid_parameter"),
    ("limit=1_0", 400, "invalid_parameter"),
    ("limit=%205", 400, "invalid_parameter"),
    ("limit=%D9%A5", 400, "invalid_parameter"),
    ("limit=5&limit=7", 400, "repeated_parameter"),
    ("limti=5", 400, "unknown_parameter"),
    ("state=%00", 422, "invalid_character"),
    ("external_ref=a%00b", 422, "invalid_character"),
    ("external_ref=%ED%A0%80", 422, "invalid_unicode"),
    ("cursor=abc", 400, "invalid_cursor"),
    ("account_id=wsp_01kazm3v9sfa4t2tq9gk1x7c5e", 400, "invalid_parameter"),
    ("due_at[gte]=2026-01-01T00:00:00", 400, "invalid_parameter"),
    ("state=%27%20OR%201%3D1--", 200, ""),
    ("key=oct%5Ftest_abc", 400, "key_in_query"),
]


@pytest.mark.parametrize(("query", "status", "code"), QUERIES, ids=[row[0] for row in QUERIES])
async def test_a_bad_query_is_refused_by_its_code(
    client: httpx2.AsyncClient, posts: str, query: str, status: int, code: str
) -> None:
    answer = await client.get(f"{posts}?{query}")
    assert answer.status_code == status, answer.text
    if code:
        assert answer.json()["code"] == code


async def test_an_unknown_parameter_is_named_with_its_neighbour(client: httpx2.AsyncClient, posts: str) -> None:
    (fault,) = (await client.get(f"{posts}?limti=5")).json()["errors"]
    assert (fault["pointer"], fault["detail"]) == ("?limti", "It does not exist. Did you mean limit?")
    assert (await client.get("/v1/me?nope=1")).json()["code"] == "unknown_parameter"


async def test_a_name_that_the_caller_made_up_is_said_back_as_a_pointer(client: httpx2.AsyncClient, posts: str) -> None:
    (fault,) = (await client.get(f"{posts}?a%00b%E2%80%AE=1")).json()["errors"]
    assert fault["pointer"] == "?a\ufffdb\ufffd"
    (_, fault) = (await client.post(posts, json={"text": "x", "a/b~c": 1})).json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("/a~1b~0c", "unknown_field")


@pytest.mark.parametrize(
    "id",
    [
        "pst_' OR 1=1--",
        "..%2f..%2fx",
        "pst_" + "0" * 10_000,
        "wsp_01kazm3v9sfa4t2tq9gk1x7c5e",
        "PST_01kazm3v9sfa4t2tq9gk1x7c5e",
        "pst_%00",
    ],
)
async def test_what_is_no_id_is_not_there(client: httpx2.AsyncClient, posts: str, id: str) -> None:
    answer = await client.get(f"{posts}/{id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


TIMES = [
    ("2020-01-01T00:00:00Z", None, "in_the_past"),
    ("2036-12-24T09:00:00Z", None, "too_far_ahead"),
    ("2027-06-01T09:00:00", None, "naive_instant"),
    ("2027-06-01T24:00:00Z", None, "validation_failed"),
    ("2027-06-01T09:00:60Z", None, "validation_failed"),
    ("2027-06-01T09:00:00+25:00", None, "validation_failed"),
    ("0000-01-01T00:00:00Z", None, "validation_failed"),
    ("10000-01-01T00:00:00Z", None, "validation_failed"),
    ("2027-06-01", None, "validation_failed"),
    ("20270601T0900Z", None, "validation_failed"),
    ("2027-06-01T09:00:00", "Mars/Phobos", "unknown_time_zone"),
    ("2027-06-01T09:00:00", "UTC+2", "unknown_time_zone"),
    ("2027-06-01T09:00:00", "localtime", "unknown_time_zone"),
]


@pytest.mark.parametrize(("at", "zone", "code"), TIMES, ids=[row[0] + str(row[1]) for row in TIMES])
async def test_a_bad_time_is_refused_by_its_code(
    client: httpx2.AsyncClient, agency: TestAgency, posts: str, database: Database, at: str, zone: str | None, code: str
) -> None:
    account = await an_account(database, agency)
    schedule = {"at": at} | ({"time_zone": zone} if zone else {})
    answer = await client.post(posts, json={"text": "x", "account_ids": [account], "schedule": schedule})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert answer.json()["errors"][0]["pointer"].startswith("/schedule/")


async def an_account(database: Database, agency: TestAgency) -> str:
    from core.ids import new_id

    id = new_id()
    async with database.connection(agency.tenant) as db:
        await db.execute(
            "insert into accounts (agency_id, workspace_id, id, network, external_id, name)"
            " values ($1, $2, $3, 'sandbox', $4, 'n')",
            agency.actor.agency_id, agency.workspace.id, id, str(id),
        )  # fmt: skip
    return encode("acc", id)


@pytest.mark.parametrize("text", ["", "   ", "\u200b", "\u200d\u2060"])
async def test_a_post_that_nobody_would_see_is_refused(
    client: httpx2.AsyncClient, agency: TestAgency, posts: str, database: Database, text: str
) -> None:
    body = {"text": text, "account_ids": [await an_account(database, agency)], "schedule": "now"}
    answer = await client.post(posts, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "post_invalid")


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
    account = await an_account(database, agency)
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


async def test_head_is_get_without_its_body(client: httpx2.AsyncClient, posts: str) -> None:
    seen = await client.head(posts)
    assert (seen.status_code, seen.content) == (200, b"")


async def test_an_unknown_host_is_misdirected(settings: Any, agency: TestAgency) -> None:
    from api.app import create_app

    app = create_app(settings.model_copy(update={"allowed_hosts": "api.octavo.example"}))
    async with app.router.lifespan_context(app), client_of(app, agency.key) as client:
        answer = await client.get("/v1/me", headers={"Host": "evil.example"})
        assert (answer.status_code, answer.json()["code"]) == (421, "misdirected_request")
