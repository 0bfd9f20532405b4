"""The deadline of a request: what takes too long is undone and told, and leaves the connections as they were."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx2
import pytest

from api.app import create_app
from core.db import Database
from core.ids import encode
from core.settings import Settings
from tests.conftest import TestAgency, client_of
from tests.media.files import picture
from tests.servers.proxy import drop_proxy

DEADLINE_S = 0.7
WORKSPACE = {"name": "Corner Bakery", "time_zone": "UTC"}


@asynccontextmanager
async def hurried(settings: Settings, agency: TestAgency, **more: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application with a short deadline and one connection for each way to the tables."""
    app = create_app(settings.model_copy(update={"request_deadline_s": DEADLINE_S, "database_pool_size": 1} | more))
    async with app.router.lifespan_context(app), client_of(app, agency.key) as client:
        yield client


@asynccontextmanager
async def locked(settings: Settings, table: str) -> AsyncIterator[None]:
    """A table that everybody has to wait for."""
    db = await asyncpg.connect(settings.database_url)
    async with db.transaction():
        await db.execute(f"lock table {table} in access exclusive mode")
        yield
    await db.close()


def told(answer: httpx2.Response) -> tuple[int, str, bool]:
    return answer.status_code, answer.json()["code"], "Retry-After" in answer.headers


BROKEN_OFF = (503, "deadline_exceeded", True)


@pytest.mark.parametrize("table", ["api_keys", "workspaces"], ids=["at the look-up of the key", "at the write"])
async def test_a_session_is_undone_at_the_deadline_and_its_connection_serves_the_next(
    settings: Settings, agency: TestAgency, database: Database, table: str
) -> None:
    once = {"Idempotency-Key": "once"}
    async with hurried(settings, agency) as client:
        async with locked(settings, table):
            assert told(await client.post("/v1/workspaces", json=WORKSPACE, headers=once)) == BROKEN_OFF
        again = await client.post("/v1/workspaces", json=WORKSPACE, headers=once)
        assert (again.status_code, again.headers.get("Idempotent-Replayed")) == (201, None)
    async with database.connection(agency.tenant) as db:
        assert await db.fetchval("select count(*) from workspaces where name = $1", WORKSPACE["name"]) == 1


@pytest.mark.parametrize("table", ["api_keys", "posts"], ids=["at the look-up of the key", "at the statement"])
async def test_a_bare_connection_is_undone_at_the_deadline_and_serves_the_next(
    settings: Settings, agency: TestAgency, table: str
) -> None:
    posts = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}/posts"
    async with hurried(settings, agency) as client:
        async with locked(settings, table):
            assert told(await client.get(posts)) == BROKEN_OFF
        for _ in range(3):
            assert (await client.get(posts)).status_code == 200


async def test_who_waits_in_vain_for_a_connection_is_told(settings: Settings, agency: TestAgency) -> None:
    posts = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}/posts"
    async with hurried(settings, agency) as client:
        assert (await client.get(posts)).status_code == 200
        async with locked(settings, "posts"):
            answers = await asyncio.gather(*[client.get(posts) for _ in range(5)])
        assert [told(answer) for answer in answers] == [BROKEN_OFF] * 5
        answers = await asyncio.gather(*[client.get(posts) for _ in range(5)])
        assert [answer.status_code for answer in answers] == [200] * 5


@pytest.mark.parametrize("path", ["/v1/workspaces", "/v1/publications"], ids=["session", "bare connection"])
async def test_a_database_that_falls_silent_ends_no_process(settings: Settings, agency: TestAgency, path: str) -> None:
    async with drop_proxy(settings.database_url) as proxy:
        through = urlsplit(settings.app_url)
        host = f"{through.netloc.rpartition('@')[0]}@{urlsplit(proxy.url).netloc}"
        url = urlunsplit(through._replace(netloc=host, query=""))
        async with hurried(settings, agency, database_app_url=url) as client:
            assert (await client.get(path)).status_code == 200
            proxy.mode = "stall"
            assert told(await client.get(path)) == BROKEN_OFF
            proxy.mode = "pass"
            assert (await client.get(path)).status_code == 200


async def test_an_upload_has_its_own_time(settings: Settings, agency: TestAgency) -> None:
    whole = picture("PNG")

    async def slowly() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        await asyncio.sleep(DEADLINE_S * 1.5)
        yield whole + b"\r\n--b--\r\n"

    async with hurried(settings, agency) as client:
        media = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}/media"
        answer = await client.post(media, content=slowly(), headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 201, answer.text
