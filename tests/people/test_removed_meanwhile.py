"""Who is removed while a body is still coming in writes nothing with it any more."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2
import pytest

from core.ids import encode
from core.settings import Settings
from tests.conftest import TestAgency, client_of
from tests.media.files import picture
from tests.people.cast import Cast, Someone
from tests.people.people import browser

Ends = Callable[[Someone, Someone], Awaitable[httpx2.Response]]
FORM = "multipart/form-data; boundary=B"
PART = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
FILE = ("media", FORM, PART + picture() + b"\r\n--B--\r\n")
SHEET = ("posts/import?dry_run=true", "text/csv", b"text,account_ids,at,time_zone\r\nFresh rolls,,,\r\n")
BODIES = pytest.mark.parametrize("sent", [FILE, SHEET], ids=["file", "sheet"])


def base_of(agency: TestAgency) -> str:
    return f"/v1/workspaces/{encode('wsp', agency.workspace.id)}"


class Upload:
    """A request whose body stops in the middle until it goes on."""

    def __init__(self, client: httpx2.AsyncClient, agency: TestAgency, sent: tuple[str, str, bytes]) -> None:
        path, kind, self.body = sent
        self.halfway, self.rest = asyncio.Event(), asyncio.Event()
        headers = {"Content-Type": kind}
        self.answer = asyncio.create_task(client.post(f"{base_of(agency)}/{path}", content=self.pieces(), headers=headers))

    async def pieces(self) -> AsyncIterator[bytes]:
        middle = len(self.body) // 2
        yield self.body[:middle]
        self.halfway.set()
        await self.rest.wait()
        yield self.body[middle:]

    async def end(self) -> httpx2.Response:
        self.rest.set()
        return await self.answer


async def kept(cast: Cast, settings: Settings) -> int:
    """How many files, operations and bytes there are."""
    async with cast.database.connection(cast.agency.tenant) as db:
        rows = await db.fetchval("select (select count(*) from assets) + (select count(*) from operations)")
    return int(rows) + sum(1 for path in (Path(settings.home) / "media").rglob("*") if path.is_file())


async def removal(ada: Someone, cleo: Someone) -> httpx2.Response:
    return await ada.client.delete(f"/v1/members/{cleo.id}")


async def signing_out(ada: Someone, cleo: Someone) -> httpx2.Response:
    return await cleo.client.delete("/v1/sessions/current")


@BODIES
@pytest.mark.parametrize(("ends", "status"), [(removal, 404), (signing_out, 401)])
async def test_a_member_who_is_gone_when_the_upload_ends_stores_nothing(
    cast: Cast, settings: Settings, sent: tuple[str, str, bytes], ends: Ends, status: int
) -> None:
    ada, cleo = await cast.add("ada", "owner"), await cast.add("cleo", "member", {cast.agency.workspace.id: "content"})
    cookie, agency = cleo.client.cookies["sid"], cleo.client.headers["Octavo-Agency"]
    async with browser(cast.app, cookie=cookie, **{"Octavo-Agency": agency}) as other:
        upload = Upload(other, cast.agency, sent)
        await upload.halfway.wait()
        assert (await ends(ada, cleo)).status_code == 204
        answer = await upload.end()
    assert answer.status_code == status, answer.text
    assert await kept(cast, settings) == 0


@BODIES
@pytest.mark.parametrize("by", ["revocation", "the removal of its maker"])
async def test_a_key_that_has_ended_when_the_upload_ends_stores_nothing(
    cast: Cast, settings: Settings, sent: tuple[str, str, bytes], by: str
) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "admin")
    made = (await ben.client.post("/v1/api-keys", json={"name": "k", "scopes": ["media:create", "post:create"]})).json()
    ends = f"/v1/api-keys/{made['id']}" if by == "revocation" else f"/v1/members/{ben.id}"
    async with client_of(cast.app, made["key"]) as client:
        upload = Upload(client, cast.agency, sent)
        await upload.halfway.wait()
        assert (await ada.client.delete(ends)).status_code in {200, 204}
        assert (await upload.end()).status_code == 401
    assert await kept(cast, settings) == 0


@BODIES
async def test_a_member_who_has_lost_the_workspace_or_the_permission_by_then_stores_nothing(
    cast: Cast, settings: Settings, sent: tuple[str, str, bytes]
) -> None:
    room = cast.agency.workspace.id
    ada, cleo = await cast.add("ada", "owner"), await cast.add("cleo", "member", {room: "content"})
    place = f"{base_of(cast.agency)}/members/{cleo.id}"
    demoted, gone = Upload(cleo.client, cast.agency, sent), Upload(cleo.client, cast.agency, sent)
    await asyncio.gather(demoted.halfway.wait(), gone.halfway.wait())
    assert (await ada.client.put(place, json={"role": "viewer"})).status_code == 200
    assert (await demoted.end()).status_code == 403
    assert (await ada.client.delete(place)).status_code == 204
    assert (await gone.end()).status_code == 404
    assert await kept(cast, settings) == 0


async def test_others_uploads_go_on(cast: Cast, other: TestAgency, settings: Settings) -> None:
    ada, cleo = await cast.add("ada", "owner"), await cast.add("cleo", "member", {cast.agency.workspace.id: "content"})
    async with client_of(cast.app, cast.agency.key) as own, client_of(cast.app, other.key) as foreign:
        uploads = [Upload(own, cast.agency, FILE), Upload(own, cast.agency, SHEET), Upload(foreign, other, FILE)]
        await asyncio.gather(*(one.halfway.wait() for one in uploads))
        assert (await removal(ada, cleo)).status_code == 204
        assert [(await one.end()).status_code for one in uploads] == [201, 202, 201]
