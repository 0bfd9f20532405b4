"""The whole way, on a real network: connected over our API, published by our workers, read back from Bluesky's own server."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from core.ids import decode, encode
from tenants.accounts.sealing import open_vault
from tests.campaign.processes import Process, environment
from tests.conftest import Platform, TestAgency
from tests.media.files import picture
from tests.servers.proxy import DropProxy, drop_proxy
from tests.servers.real import REASON, bluesky_server, packages

pytestmark = [pytest.mark.real, pytest.mark.skipif(packages() is None, reason=REASON), pytest.mark.timeout(240)]
NUMBERS = itertools.count(int(time.time()) % 100_000)
PASSWORD = "a long password"
TEXT = "Свежие булочки 🥐 from six: https://example.com/rolls #bakery"
DEADLINE_S = 90


@pytest.fixture(scope="module")
def pds() -> Iterator[str]:
    """A reference Bluesky server."""
    with bluesky_server() as server:
        yield server.url


class Person:
    """Somebody with an account on the server, who looks at it with their own eyes."""

    def __init__(self, url: str) -> None:
        self.http = httpx2.AsyncClient(base_url=f"{url}/xrpc/", timeout=30)
        self.handle = f"b{next(NUMBERS)}.test"
        self.url = url
        self.did = ""
        self.app_password = ""

    async def sign_up(self) -> "Person":
        body = {"handle": self.handle, "email": f"{self.handle}@mail.test", "password": PASSWORD}
        session = (await self.http.post("com.atproto.server.createAccount", json=body)).json()
        self.did = session["did"]
        headers = {"Authorization": f"Bearer {session['accessJwt']}"}
        made = await self.http.post("com.atproto.server.createAppPassword", json={"name": "octavo"}, headers=headers)
        self.app_password = made.json()["password"]
        return self

    async def posts(self) -> list[dict[str, Any]]:
        answer = await self.http.get(
            "com.atproto.repo.listRecords", params={"repo": self.did, "collection": "app.bsky.feed.post", "limit": 100}
        )
        records: list[dict[str, Any]] = answer.json()["records"]
        return records


@pytest.fixture
async def person(pds: str) -> AsyncIterator[Person]:
    person = await Person(pds).sign_up()
    yield person
    await person.http.aclose()


@pytest.fixture
def live(agency: TestAgency) -> TestAgency:
    assert agency.sibling is not None
    return agency.sibling


async def connect(client: httpx2.AsyncClient, base: str, person: Person) -> str:
    credentials = {"identifier": person.handle, "app_password": person.app_password, "service_url": person.url}
    body = {"network": "bluesky", "credentials": credentials, "targets": "all"}
    answer = await client.post(f"{base}/connect-sessions", json=body)
    assert answer.status_code == 201, answer.text
    account: str = answer.json()["accounts"][0]["id"]
    return account


async def test_an_image_with_facets_is_published_and_read_back(platform: Platform, live: TestAgency, person: Person) -> None:
    base = f"/v1/workspaces/{encode('wsp', live.workspace.id)}"
    async with platform.client(live.key) as client:
        # Given an account on a real server, connected over our API, and a picture
        account = await connect(client, base, person)
        upload = {"file": ("rolls.png", picture("PNG"), "image/png")}
        asset = (await client.post(f"{base}/media", files=upload, data={"alt_text": "Warm rolls"})).json()
        # When a post is made for now
        body = {"text": TEXT, "media": [{"asset_id": asset["id"]}], "account_ids": [account], "schedule": "now"}
        post = (await client.post(f"{base}/posts", json=body)).json()
        await platform.work()
        publication = (await client.get(f"{base}/posts/{post['id']}")).json()["publications"][0]
        # Then it stands there, once, with its picture, its link and its hashtag at the right bytes
        assert publication["state"] == "published", publication
        (record,) = await person.posts()
        assert record["uri"] == publication["external_id"]
        value = record["value"]
        assert value["text"] == TEXT
        marked = {
            TEXT.encode()[facet["index"]["byteStart"] : facet["index"]["byteEnd"]].decode(): facet["features"][0]["$type"]
            for facet in value["facets"]
        }
        assert marked == {
            "https://example.com/rolls": "app.bsky.richtext.facet#link",
            "#bakery": "app.bsky.richtext.facet#tag",
        }
        assert value["embed"]["images"][0]["alt"] == "Warm rolls"
        # And when it is deleted over our API, it is gone there
        await client.delete(f"{base}/publications/{publication['id']}")
        await platform.work()
        assert await person.posts() == []


async def through(platform: Platform, live: TestAgency, account: str, proxy: DropProxy) -> None:
    """Let the account's stored authorisation go through the proxy, as a network's own trouble would."""
    settings = platform.context.settings
    async with platform.context.database.connection(live.tenant) as db:
        row = await db.fetchrow("select id, sealed from connections where account_id = $1", decode("acc", account))
        vault = await open_vault(db, platform.context.ring, live.actor.agency_id)
        credentials = vault.unseal(row["sealed"], row["id"])
        moved = type(credentials)({**credentials.values, "service_url": proxy.url}, credentials.expires_at, credentials.scopes)
        await db.execute("update connections set sealed = $2 where id = $1", row["id"], vault.seal(moved, row["id"]))
    assert settings.egress_allow_loopback


async def until(check: Any, what: str) -> None:
    deadline = asyncio.get_running_loop().time() + DEADLINE_S
    while not await check():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen in time"
        await asyncio.sleep(0.2)


async def test_a_worker_killed_between_the_call_and_its_record_leaves_exactly_one_post(
    platform: Platform, live: TestAgency, person: Person, tmp_path: Path
) -> None:
    base = f"/v1/workspaces/{encode('wsp', live.workspace.id)}"
    async with platform.client(live.key) as client, drop_proxy(person.url) as proxy:
        account = await connect(client, base, person)
        await through(platform, live, account, proxy)
        env = environment(platform.context.settings, lease_s="31")
        worker = Process(["workers", "worker"], env, tmp_path / "worker.log")
        scheduler = Process(["workers", "scheduler"], env, tmp_path / "scheduler.log")
        try:
            # Given a network that takes the post and whose answer never comes
            proxy.mode = "stall"
            body = {"text": "Once.", "account_ids": [account], "schedule": "now"}
            post = (await client.post(f"{base}/posts", json=body)).json()

            async def is_there() -> bool:
                return len(await person.posts()) == 1

            await until(is_there, "the post on the network")
            # When the worker is killed, and a new one comes
            worker.kill()
            read = (await client.get(f"{base}/posts/{post['id']}")).json()["publications"][0]
            assert (read["state"], read["attempts"]) == ("publishing", 1)
            proxy.mode = "pass"
            worker.start()

            async def is_published() -> bool:
                found = (await client.get(f"{base}/posts/{post['id']}")).json()["publications"][0]
                return bool(found["state"] == "published")

            await until(is_published, "the reconciled publication")
        finally:
            worker.stop()
            scheduler.stop()
        # Then there is exactly one, and we say how we know
        (record,) = await person.posts()
        found = (await client.get(f"{base}/posts/{post['id']}")).json()["publications"][0]
        assert (found["external_id"], found["resolution"], found["attempts"]) == (record["uri"], "reconciled", 1)


async def test_the_attempt_is_committed_before_the_network_hears_of_it(
    platform: Platform, live: TestAgency, person: Person
) -> None:
    base = f"/v1/workspaces/{encode('wsp', live.workspace.id)}"
    async with platform.client(live.key) as client, drop_proxy(person.url) as proxy:
        account = await connect(client, base, person)
        await through(platform, live, account, proxy)
        proxy.mode = "refuse"
        await client.post(f"{base}/posts", json={"text": "Not yet.", "account_ids": [account], "schedule": "now"})
        await platform.work()
        db = await asyncpg.connect(platform.context.settings.app_url)
        await db.execute(f"set app.agency_id = '{live.actor.agency_id}'")
        row = await db.fetchrow("select outcome, error from attempts")
        await db.close()
        assert row["outcome"] in {"not_sent", "unknown"}
        assert await person.posts() == []
