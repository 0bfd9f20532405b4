"""Media over HTTP: uploading, fetching by address, reading back, and the errors on the way (reliability B48-B53)."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from aiohttp import web

from core.settings import Settings
from tests.conftest import Platform, TestAgency, client_of
from tests.media import files

Client = httpx2.AsyncClient


@pytest.fixture
def place(client: Client, agency: TestAgency) -> str:
    """The path of the first agency's media."""
    return f"/v1/workspaces/{wire_id(agency)}/media"


def wire_id(agency: TestAgency) -> str:
    from core.ids import encode

    return encode("wsp", agency.workspace.id)


async def upload(
    client: Client, place: str, content: bytes | None = None, *, kind: str = "image/jpeg", **about: Any
) -> httpx2.Response:
    """Post one file; `about` goes to the client (`data` for the fields, `headers`)."""
    file = {"file": ("buns.jpg", files.picture() if content is None else content, kind)}
    return await client.post(place, files=file, **about)


def bytes_kept(settings: Settings) -> list[Path]:
    return [path for path in (Path(settings.home) / "media").rglob("*") if path.is_file()]


async def test_from_upload_to_deletion(client: Client, place: str, settings: Settings) -> None:
    made = await upload(client, place, files.photo_with_position(), data={"alt_text": "Buns"})
    assert made.status_code == 201, made.text
    asset = made.json()
    assert made.headers["location"] == f"{place}/{asset['id']}"
    assert made.headers["etag"] == '"1"'
    assert (asset["content_type"], asset["width"], asset["height"], asset["alt_text"]) == ("image/jpeg", 48, 64, "Buns")
    assert asset["versions"][0]["id"].startswith("asv_")
    assert (await client.get(place)).json() == {"data": [asset], "next_cursor": None}
    assert (await client.get(f"{place}/{asset['id']}")).json() == asset

    content = await client.get(asset["url"])
    assert content.status_code == 200
    assert files.GPS_TEXT not in content.content
    assert hashlib.sha256(content.content).hexdigest() == asset["versions"][0]["sha256"]
    assert content.headers["content-type"] == "image/jpeg"
    assert content.headers["content-length"] == str(asset["size_bytes"])
    assert content.headers["content-disposition"].startswith("attachment; filename=")
    assert content.headers["x-content-type-options"] == "nosniff"
    assert content.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert content.headers["cache-control"] == "private, no-cache"
    again = await client.get(asset["url"], headers={"If-None-Match": content.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")

    changed = await client.patch(f"{place}/{asset['id']}", json={"alt_text": None, "filename": 'a"/../b.png'})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["filename"], changed.json()["alt_text"], changed.json()["version"]) == ("b.png.jpg", "", 2)
    stale = await client.delete(f"{place}/{asset['id']}", headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    assert len(bytes_kept(settings)) == 1
    gone = await client.delete(f"{place}/{asset['id']}", headers={"If-Match": '"2"'})
    assert (gone.status_code, gone.content) == (204, b"")
    assert bytes_kept(settings) == []
    for path in (f"{place}/{asset['id']}", asset["url"]):
        assert (await client.get(path)).json()["code"] == "not_found"


async def test_an_upload_is_repeated_safely(client: Client, place: str, settings: Settings) -> None:
    key = {"Idempotency-Key": "upload-1"}
    first, second = [await upload(client, place, headers=key) for _ in range(2)]
    assert second.status_code == 201
    assert second.json() == first.json()
    assert second.headers["idempotent-replayed"] == "true"
    other = await upload(client, place, files.picture("PNG"), headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    described = await upload(client, place, headers=key, data={"alt_text": "other"})
    assert described.json()["code"] == "idempotency_mismatch"
    assert len(bytes_kept(settings)) == 1


async def test_a_deletion_is_repeated_safely(client: Client, place: str) -> None:
    asset = (await upload(client, place)).json()
    for _ in range(2):
        gone = await client.delete(f"{place}/{asset['id']}", headers={"Idempotency-Key": "d"})
        assert gone.status_code == 204


@pytest.mark.parametrize(
    ("data", "kind", "status", "code"),
    [
        (files.SVG, "image/svg+xml", 415, "unsupported_media"),
        (files.HTML, "image/jpeg", 415, "unsupported_media"),
        (files.gifar(), "image/gif", 415, "unsupported_media"),
        (files.png_bomb(), "image/png", 422, "image_too_large"),
        (files.picture("PNG")[:-30], "image/png", 422, "media_invalid"),
        (b"", "image/png", 422, "media_invalid"),
        (b"\xff\xd8\xff" + bytes(20 * 1024 * 1024), "image/jpeg", 413, "body_too_large"),
        (b"\xff\xd8\xff" + bytes(22 * 1024 * 1024), "image/jpeg", 413, "body_too_large"),
    ],
)
async def test_bad_files_are_refused_and_leave_nothing(
    client: Client, place: str, settings: Settings, data: bytes, kind: str, status: int, code: str
) -> None:
    answer = await upload(client, place, data, kind=kind)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert bytes_kept(settings) == []


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({"data": {"alt_text": "x" * 2_001}}, 422, "validation_failed", "/alt_text"),
        ({"data": {"alt_text": "a\0b"}}, 422, "validation_failed", "/alt_text"),
        ({"data": {"tenant_id": "x"}}, 422, "unknown_field", "/tenant_id"),
        ({"data": {f"f{number}": "x" for number in range(10_000)}}, 400, "invalid_multipart", None),
    ],
)
async def test_bad_fields(client: Client, place: str, body: dict[str, Any], status: int, code: str, pointer: str | None) -> None:
    answer = await upload(client, place, **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    if pointer:
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"x=1", "application/x-www-form-urlencoded", 415, "unsupported_content_type"),
        (b"", "", 415, "unsupported_content_type"),
        (b"", "application/json", 400, "body_required"),
        (b'{"url": 1, "url": 2}', "application/json", 400, "duplicate_key"),
        (b"null", "application/json", 422, "validation_failed"),
        (b'{"url": "https://a.example/b", "x": 1}', "application/json", 422, "unknown_field"),
        (b"--b", "multipart/form-data; boundary=b", 400, "invalid_multipart"),
    ],
)
async def test_bad_bodies(client: Client, place: str, content: bytes, kind: str, status: int, code: str) -> None:
    answer = await client.post(place, content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_others_find_nothing(client: Client, place: str, app: Any, agency: TestAgency, other: TestAgency) -> None:
    asset = (await upload(client, place)).json()
    assert agency.sibling is not None
    foreign = f"/v1/workspaces/{wire_id(other)}/media"
    for key in (other.key, agency.sibling.key):
        async with client_of(app, key) as stranger:
            for base in (place, foreign):
                path = f"{base}/{asset['id']}"
                answers = [
                    await stranger.get(path),
                    await stranger.get(path + "/content"),
                    await stranger.patch(path, json={"alt_text": "x"}),
                    await stranger.delete(path),
                ]
                assert {answer.status_code for answer in answers} == {404}
            assert (await upload(stranger, place)).status_code == 404
            assert (await stranger.get(place)).status_code == 404
    assert (await client.get(asset["url"])).status_code == 200


async def test_without_a_key(app: Any, place: str) -> None:
    async with client_of(app, None) as stranger:
        assert (await upload(stranger, place)).status_code == 401


# --- by address ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """A web server with files, some of which lie."""

    async def give(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name == "redirect":
            raise web.HTTPFound("/ok.jpg")
        if name == "endless":
            answer = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
            await answer.prepare(request)
            for _ in range(400):
                await answer.write(b"\xff\xd8\xff" + bytes(65_536))
            return answer
        bodies = {"ok.jpg": files.picture(), "empty": b"", "html": files.HTML}
        if name not in bodies:
            raise web.HTTPNotFound
        return web.Response(body=bodies[name], content_type="image/jpeg")

    app = web.Application()
    app.router.add_get("/{name}", give)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


async def test_a_file_by_its_address(client: Client, place: str, site: str, settings: Settings) -> None:
    body = {"url": f"{site}/ok.jpg?size=large", "alt_text": "Buns"}
    made = [await client.post(place, json=body, headers={"Idempotency-Key": "f"}) for _ in range(2)]
    assert made[0].status_code == 201, made[0].text
    assert (made[0].json()["filename"], made[0].json()["alt_text"]) == ("ok.jpg", "Buns")
    assert made[1].json() == made[0].json()
    assert len(bytes_kept(settings)) == 1


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("html", 415, "unsupported_media"),
        ("empty", 422, "media_invalid"),
        ("none", 422, "url_unreachable"),
        ("redirect", 422, "url_unreachable"),
        ("endless", 422, "url_unreachable"),
    ],
)
async def test_addresses_that_give_no_picture(
    client: Client, place: str, site: str, settings: Settings, name: str, status: int, code: str
) -> None:
    answer = await client.post(place, json={"url": f"{site}/{name}"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert bytes_kept(settings) == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "https://169.254.169.254/x", "https://u:p@example.com/", "ftp://x/y"])
async def test_addresses_that_nobody_calls(client: Client, place: str, url: str) -> None:
    answer = await client.post(place, json={"url": url})
    assert (answer.status_code, answer.json()["code"]) == (422, "url_not_allowed")
    assert answer.json()["errors"][0]["pointer"] == "/url"
    assert "169.254" not in answer.text


async def test_an_address_that_does_not_answer(client: Client, place: str) -> None:
    answer = await client.post(place, json={"url": "http://127.0.0.1:9/x"})
    assert (answer.status_code, answer.json()["code"]) == (422, "url_unreachable")


# --- over a real connection ------------------------------------------------------------------------------------------


async def test_head_of_a_file(platform: Platform, agency: TestAgency) -> None:
    async with platform.client(agency.key) as client:
        asset = (await upload(client, f"/v1/workspaces/{wire_id(agency)}/media")).json()
        head = await client.head(asset["url"])
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(asset["size_bytes"]), b"")
        assert (await client.get(asset["url"])).status_code == 200


async def test_bodies_without_end_are_cut_while_they_arrive(platform: Platform, agency: TestAgency) -> None:
    """Chunked, so no length gives them away; the answer comes long before a gigabyte, and the connection ends."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n\xff\xd8\xff'
    for first, status, code in ((b"\r\n", 400, "invalid_multipart"), (head, 413, "body_too_large")):
        sent, answer = await send_without_end(platform, agency, first)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert f'"code":"{code}"'.encode() in answer
        assert sent < 64 * 1024 * 1024


async def send_without_end(platform: Platform, agency: TestAgency, first: bytes) -> tuple[int, bytes]:
    """Send zeros after `first` until the other side answers and hangs up: how many, and what it said."""
    url = httpx2.URL(platform.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    request = (
        f"POST /v1/workspaces/{wire_id(agency)}/media HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {agency.key}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    writer.write(request.encode() + b"%x\r\n%b\r\n" % (len(first), first))
    answer = asyncio.create_task(reader.read(100_000))
    sent = 0
    with contextlib.suppress(ConnectionError):
        while not answer.done() and sent < 1_000_000_000:
            writer.write(b"10000\r\n" + bytes(65_536) + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
            sent += 65_536
    text = await answer
    writer.transport.abort()
    return sent, text


async def test_bombs_cost_the_api_no_memory(client: Client, place: str) -> None:
    await upload(client, place)
    before = psutil.Process().memory_info().rss
    for bomb in (files.png_bomb(), files.gif_of_many_frames(), files.png_text_bomb(), files.webp_bomb()):
        assert (await upload(client, place, bomb, kind="image/png")).status_code == 422
    assert psutil.Process().memory_info().rss - before < 32 * 1024 * 1024
