"""The Bluesky connector against Bluesky's own server: what the documents say, and what a lost answer leaves behind."""

import dataclasses
import itertools
import json
import struct
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from core import clock
from networks.base import (
    Absent,
    Call,
    Connected,
    Credentials,
    Draft,
    Duplicate,
    Expired,
    Found,
    Media,
    Rejected,
    Unauthorized,
    Unavailable,
    Uncertain,
)
from networks.bluesky import Bluesky
from networks.client import Client
from tests.servers.proxy import DropProxy, drop_proxy
from tests.servers.real import REASON, bluesky_server, packages

pytestmark = [pytest.mark.real, pytest.mark.skipif(packages() is None, reason=REASON)]

NUMBERS = itertools.count(int(time.time()) % 100_000)
PASSWORD = "a long password"
COLLECTION = "app.bsky.feed.post"


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with bluesky_server() as server:
        yield server.url


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    client = Client(allow_loopback=True)
    yield client
    await client.close()


@pytest.fixture
def network(client: Client, server_url: str) -> Bluesky:
    return Bluesky(client, default_service_url=server_url)


class Account:
    """An account on the server, with an app password, and a look at what it really holds."""

    def __init__(self, client: Client, server_url: str) -> None:
        self._client, self._server_url = client, server_url
        self.handle = f"a{next(NUMBERS)}.test"
        self.form: dict[str, str] = {}
        self._token = ""
        self.did = ""

    async def open(self) -> "Account":
        wish = {"email": f"{self.handle}@agency.test", "handle": self.handle, "password": PASSWORD}
        session = await self.call("POST", "com.atproto.server.createAccount", json=wish)
        self._token, self.did = session["accessJwt"], session["did"]
        app = await self.call("POST", "com.atproto.server.createAppPassword", json={"name": "octavo"})
        self.form = {"identifier": self.handle, "app_password": app["password"]}
        return self

    async def call(self, method: str, name: str, **sent: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        answer = await self._client.request(method, f"{self._server_url}/xrpc/{name}", headers=headers, deadline_s=10, **sent)
        assert answer.status == 200, answer.body
        return answer.json()

    async def posts(self) -> list[dict[str, Any]]:
        params = {"repo": self.did, "collection": COLLECTION, "limit": "100"}
        records: list[dict[str, Any]] = (await self.call("GET", "com.atproto.repo.listRecords", params=params))["records"]
        return records


@pytest.fixture
async def account(client: Client, server_url: str) -> Account:
    return await Account(client, server_url).open()


@pytest.fixture
async def connected(network: Bluesky, account: Account) -> Connected:
    return await network.connect(account.form)


@pytest.fixture
async def proxy(server_url: str) -> AsyncIterator[DropProxy]:
    async with drop_proxy(server_url) as proxy:
        yield proxy


def call_for(connected: Connected, text: str, *media: Media, **about: Any) -> Call:
    return Call(
        credentials=connected.credentials,
        account=connected.targets[0],
        draft=Draft(text, media),
        key=f"pub_{next(NUMBERS)}",
        started_at=clock.now(),
        **about,
    )


def through(proxy: DropProxy, call: Call) -> Call:
    """The same call, on its way through the proxy."""
    values = {**call.credentials.values, "service_url": proxy.url}
    return dataclasses.replace(call, credentials=Credentials(values, call.credentials.expires_at))


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress((b"\0" + b"\x20\x80\xff" * width) * height)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def frozen(network: Bluesky, call: Call) -> Call:
    """The call with what `freeze` fixed, as it comes back from the database."""
    return dataclasses.replace(call, handles=json.loads(json.dumps({**call.handles, **network.freeze(call)})))


async def test_connect(network: Bluesky, account: Account, server_url: str) -> None:
    connected = await network.connect(account.form)
    (target,) = connected.targets
    assert (target.external_id, target.handle, target.newest_external_id) == (account.did, account.handle, None)
    values = connected.credentials.values
    assert (values["service_url"], values["did"], values["handle"]) == (server_url, account.did, account.handle)
    assert connected.credentials.scopes == ("com.atproto.appPass",)
    assert connected.credentials.expires_at is not None
    assert 7_100 < (connected.credentials.expires_at - clock.now()).total_seconds() <= 7_200


async def test_connect_to_a_named_server_leads_to_the_accounts_own(
    client: Client, account: Account, server_url: str, proxy: DropProxy
) -> None:
    elsewhere = Bluesky(client, default_service_url="https://bsky.invalid")
    connected = await elsewhere.connect({**account.form, "service_url": proxy.url})
    assert connected.credentials.values["service_url"] == server_url


async def test_wrong_passwords_are_refused(network: Bluesky, account: Account) -> None:
    with pytest.raises(Unauthorized) as caught:
        await network.connect({**account.form, "app_password": "aaaa-bbbb-cccc-dddd"})
    assert (caught.value.raw_code, caught.value.http_status) == ("AuthenticationRequired", 401)


async def test_a_post_with_everything(network: Bluesky, client: Client, server_url: str, connected: Connected) -> None:
    friend = await Account(client, server_url).open()
    image = Media("v1", "image/png", 100, 4, 2, "Ein Rechteck")
    text = f"Привет 👩‍👩‍👧 @{friend.handle} @nobody-{next(NUMBERS)}.test https://example.com/a?b=ü #тег"
    call = call_for(connected, text, image, media_data={"v1": png(4, 2)})
    call = dataclasses.replace(call, draft=dataclasses.replace(call.draft, options={"langs": ["de"]}))
    assert network.check(call.draft) == []
    for step in network.plan(call.draft):
        call = dataclasses.replace(call, handles={**call.handles, **await network.prepare(step, call)})
    call = frozen(network, call)
    receipt = await network.publish(call)
    assert receipt.external_id == f"at://{connected.targets[0].external_id}/{COLLECTION}/{call.handles['rkey']}"

    found = await network.reconcile(call)
    assert isinstance(found, Found)
    assert found.receipt == receipt
    answer = await client.request(
        "GET",
        f"{server_url}/xrpc/com.atproto.repo.getRecord",
        params={"repo": call.account.external_id, "collection": COLLECTION, "rkey": call.handles["rkey"]},
        deadline_s=5,
    )
    value = answer.json()["value"]
    assert value == call.handles["record"]
    raw = text.encode()
    shown = [raw[one["index"]["byteStart"] : one["index"]["byteEnd"]].decode() for one in value["facets"]]
    assert shown == [f"@{friend.handle}", "https://example.com/a?b=ü", "#тег"]
    assert value["facets"][0]["features"][0]["did"] == friend.did
    assert value["embed"]["images"][0]["aspectRatio"] == {"width": 4, "height": 2}

    again = await network.connect({"identifier": friend.handle, "app_password": friend.form["app_password"]})
    assert again.targets[0].newest_external_id is None


async def test_a_repeat_leaves_one_post(network: Bluesky, account: Account, connected: Connected) -> None:
    call = frozen(network, call_for(connected, "Once"))
    assert await network.publish(call) == await network.publish(call)
    assert len(await account.posts()) == 1
    assert (await network.connect(account.form)).targets[0].newest_external_id == (await account.posts())[0]["uri"]


async def test_another_record_under_the_key_is_not_overwritten(network: Bluesky, account: Account, connected: Connected) -> None:
    call = frozen(network, call_for(connected, "First"))
    await network.publish(call)
    other = dataclasses.replace(call, handles={**call.handles, "record": {**call.handles["record"], "text": "Second"}})
    with pytest.raises(Duplicate):
        await network.publish(other)
    assert [one["value"]["text"] for one in await account.posts()] == ["First"]


async def test_a_lost_answer_is_found_and_a_repeat_is_harmless(
    network: Bluesky, account: Account, connected: Connected, proxy: DropProxy
) -> None:
    call = frozen(network, call_for(connected, "Lost"))
    assert isinstance(await network.reconcile(call), Absent)
    proxy.mode = "drop_response"
    with pytest.raises(Uncertain):
        await network.publish(through(proxy, call))
    assert proxy.dropped == 1
    found = await network.reconcile(call)
    assert isinstance(found, Found)
    assert await network.publish(call) == found.receipt
    assert len(await account.posts()) == 1


async def test_a_refused_connection_sends_nothing(network: Bluesky, account: Account, connected: Connected) -> None:
    call = frozen(network, call_for(connected, "Never"))
    nobody = Credentials({**call.credentials.values, "service_url": "http://127.0.0.1:1"})
    with pytest.raises(Unavailable):
        await network.publish(dataclasses.replace(call, credentials=nobody))
    assert isinstance(await network.reconcile(call), Absent)
    assert await account.posts() == []


async def test_what_check_forbids_the_server_refuses(network: Bluesky, connected: Connected) -> None:
    for text in ("й" * 301, "👩‍👩‍👧" * 170):
        call = frozen(network, call_for(connected, text))
        assert network.check(call.draft)
        with pytest.raises(Rejected) as caught:
            await network.publish(call)
        assert caught.value.raw_code == "InvalidRequest"
    for text in ("й" * 300, "👩‍👩‍👧" * 166):
        call = frozen(network, call_for(connected, text))
        assert not network.check(call.draft)
        await network.publish(call)


async def test_an_upload_beyond_the_servers_limit_is_refused(network: Bluesky, connected: Connected) -> None:
    image = Media("v1", "image/png", 6_000_000, 1, 1, "x")
    call = call_for(connected, "", image, media_data={"v1": b"\0" * 6_000_000})
    with pytest.raises((Rejected, Uncertain)):
        await network.prepare("image_0", call)


async def test_refresh(network: Bluesky, account: Account, connected: Connected, proxy: DropProxy) -> None:
    renewed = await network.refresh(connected.credentials)
    assert renewed.values["refresh_token"] != connected.credentials.values["refresh_token"]
    assert renewed.values["did"] == account.did

    lossy = Credentials({**renewed.values, "service_url": proxy.url})
    proxy.mode = "drop_response"
    with pytest.raises(Uncertain):
        await network.refresh(lossy)
    assert (await network.refresh(renewed)).values["did"] == account.did  # within the grace the old one still works

    call = frozen(network, dataclasses.replace(call_for(connected, "Renewed"), credentials=renewed))
    await network.publish(call)
    with pytest.raises(Unauthorized):
        await network.refresh(Credentials({**renewed.values, "refresh_token": "not.a.token"}))


async def test_a_session_that_was_ended_is_dead(network: Bluesky, client: Client, connected: Connected) -> None:
    values = connected.credentials.values
    answer = await client.request(
        "POST",
        f"{values['service_url']}/xrpc/com.atproto.server.deleteSession",
        headers={"Authorization": f"Bearer {values['refresh_token']}"},
        deadline_s=5,
    )
    assert answer.status == 200
    with pytest.raises(Unauthorized):
        await network.refresh(connected.credentials)


async def test_a_token_that_is_none_is_refused(network: Bluesky, connected: Connected) -> None:
    call = frozen(network, call_for(connected, "No"))
    bad = Credentials({**call.credentials.values, "access_token": "x.y.z"})
    with pytest.raises((Unauthorized, Expired)):
        await network.publish(dataclasses.replace(call, credentials=bad))


async def test_delete_twice(network: Bluesky, account: Account, connected: Connected) -> None:
    call = frozen(network, call_for(connected, "Gone soon"))
    receipt = await network.publish(call)
    for _ in range(2):
        await network.delete(dataclasses.replace(call, external_id=receipt.external_id))
    assert await account.posts() == []
    assert isinstance(await network.reconcile(call), Absent)
