"""A COMMIT, or its answer, that is lost between the API and PostgreSQL: the same key tried again leaves exactly one."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from api.idempotency import STORE
from core.db import Database
from core.ids import encode
from core.settings import Settings
from tests.conftest import TestAgency, client_of
from tests.servers.commits import CommitProxy, Cut, commit_proxy
from tests.walls.things import an_account

LATER = {"at": "2027-06-01T09:00:00Z"}
KEY = "lost-between-the-two"


@pytest.fixture
async def lossy(settings: Settings, agency: TestAgency) -> AsyncIterator[tuple[CommitProxy, httpx2.AsyncClient]]:
    """The application behind a proxy before its database, and a client of the agency."""
    from api.app import create_app

    async with commit_proxy(settings.app_url) as (proxy, url):
        app = create_app(settings.model_copy(update={"database_app_url": url}))
        async with app.router.lifespan_context(app), client_of(app, agency.key) as client:
            yield proxy, client


def requests(agency: TestAgency, account: str) -> dict[str, tuple[str, dict[str, Any], dict[str, int]]]:
    """A write by each of the three ways to a transaction: path, what is sent, and the rows that it adds."""
    workspace = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}"
    post = {"text": "once", "account_ids": [account], "schedule": LATER}
    sheet = {"content": f"text,account_ids\nx,{account}\n", "headers": {"Content-Type": "text/csv"}}
    return {
        "a post": (f"{workspace}/posts", {"json": post}, {"posts": 1, "publications": 1, "duties": 1, "audit_entries": 1}),
        "a workspace": ("/v1/workspaces", {"json": {"name": "w", "time_zone": "UTC"}}, {"workspaces": 1, "audit_entries": 1}),
        "an import": (f"{workspace}/posts/import", sheet, {"operations": 1, "duties": 1, "audit_entries": 1}),
    }


async def counts(database: Database, agency: TestAgency, tables: dict[str, int]) -> dict[str, int]:
    async with database.connection(agency.tenant) as db:
        return {table: await db.fetchval(f"select count(*) from {table}") for table in tables}


@pytest.mark.parametrize("cut", ["before the commit", "after the commit"])
@pytest.mark.parametrize("what", ["a post", "a workspace", "an import"])
async def test_a_lost_commit_that_is_tried_again_by_its_key_leaves_exactly_one(
    lossy: tuple[CommitProxy, httpx2.AsyncClient], agency: TestAgency, database: Database, what: str, cut: Cut
) -> None:
    proxy, client = lossy
    path, sent, added = requests(agency, await an_account(database, agency.tenant, agency.workspace.id))[what]
    headers = sent.pop("headers", {}) | {"Idempotency-Key": KEY}
    before = await counts(database, agency, added)
    # Given a write whose commit, or its answer, is lost
    proxy.mark, proxy.cut = KEY.encode(), cut
    lost = await client.post(path, headers=headers, **sent)
    assert (lost.status_code, lost.json()["code"], lost.headers["Retry-After"], proxy.lost) == (503, "unavailable", "1", 1)
    # When it is tried again by the same key, and once more
    again = await client.post(path, headers=headers, **sent)
    assert again.status_code in {201, 202}, again.text
    once_more = await client.post(path, headers=headers, **sent)
    # Then there is exactly one, and it is replayed where it was stored
    assert ("Idempotent-Replayed" in again.headers) == (cut == "after the commit")
    assert (once_more.json(), once_more.headers["Idempotent-Replayed"]) == (again.json(), "true")
    after = await counts(database, agency, added)
    assert {table: after[table] - before[table] for table in added} == added


WAITING = "select count(*) from pg_locks where not granted"


@pytest.mark.parametrize("what", ["a post", "a workspace", "a batch"])
async def test_a_record_that_was_committed_between_the_look_and_the_lock_undoes_the_second_work(
    settings: Settings, app: FastAPI, agency: TestAgency, database: Database, what: str
) -> None:
    account = await an_account(database, agency.tenant, agency.workspace.id)
    writes = requests(agency, account)
    path, sent, added = writes["a post" if what == "a batch" else what]
    key = KEY
    if what == "a batch":
        path, sent, key = f"{path}/bulk", {"json": {"items": [{"post": sent["json"]}]}}, f"{KEY}:0"
    before = await counts(database, agency, added)
    owner = await asyncpg.connect(settings.database_url)
    async with client_of(app, agency.key) as client:
        # Given a record of the same key that is not committed yet, so that nobody sees it
        async with database.connection(agency.tenant) as db:
            later = timedelta(hours=1)
            await db.execute(STORE, agency.tenant.agency_id, key, b"another", later, 201, "{}", b"{}")
            # When a second request with the key has looked, and works
            second = asyncio.create_task(client.post(path, headers={"Idempotency-Key": KEY}, **sent))
            async with asyncio.timeout(10):
                while not await owner.fetchval(WAITING):
                    await asyncio.sleep(0.01)
        # And the first one commits
        answer = await second
    await owner.close()
    # Then the second leaves nothing, and says to come again
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (409, "idempotency_in_flight", "1")
    assert await counts(database, agency, added) == before
