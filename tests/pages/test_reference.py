"""The reference and what pages need: whole, unchanged, from here alone, and cheap to ask for again."""

import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from api.pages.reference import ASSETS, FOLDER, SCALAR
from core.errors import CODES
from tests.conftest import client_of

SCALAR_SHA256 = "bf091006bdc3af6067af77c2f534812e3e633e94a94e87138069f570f33b762c"
"""Of dist/browser/standalone.js in @scalar/api-reference 1.72.1, as published."""
PAGES = ("/docs", "/docs/guides", "/docs/guides/quickstart", "/errors", "/errors/not_found")
FILES = ("/openapi.json", *(f"/docs/assets/{name}" for name in ASSETS))


@pytest.fixture
async def reader(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody without a key."""
    async with client_of(app, None) as client:
        yield client


async def test_scalar_is_what_its_publisher_built(reader: httpx2.AsyncClient) -> None:
    for encoding in ("gzip", "identity"):
        answer = await reader.get(f"/docs/assets/{SCALAR}", headers={"Accept-Encoding": encoding})
        assert hashlib.sha256(answer.content).hexdigest() == SCALAR_SHA256
        assert answer.headers.get("content-encoding", "identity") == encoding
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["vary"] == "Accept-Encoding"
    assert [path.name for path in sorted(FOLDER.glob("scalar*"))] == [SCALAR.replace(".js", ".LICENSE"), f"{SCALAR}.gz"]


async def test_the_document_is_served_with_this_address_packed_or_not(reader: httpx2.AsyncClient, app: FastAPI) -> None:
    packed = await reader.get("/openapi.json")
    plain = await reader.get("/openapi.json", headers={"Accept-Encoding": "identity"})
    assert (packed.headers["content-encoding"], plain.headers.get("content-encoding")) == ("gzip", None)
    assert packed.json() == plain.json() == json.loads(json.dumps(app.openapi()))
    assert packed.json()["servers"][0]["url"] == app.state.settings.public_url
    assert packed.headers["etag"] != plain.headers["etag"]


@pytest.mark.parametrize("path", [*PAGES, *FILES])
async def test_a_page_is_public_held_by_a_policy_and_asked_for_again_by_its_tag(reader: httpx2.AsyncClient, path: str) -> None:
    answer = await reader.get(path)
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy.replace("'", "")
    scripts = [one.strip() for one in policy.split(";") if "script-src" in one]
    assert scripts == (["script-src 'self'"] if path == "/docs" else [])
    assert "no-store" not in answer.headers["cache-control"]
    head = await reader.head(path)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", answer.headers["etag"])
    again = await reader.get(path, headers={"If-None-Match": f'"other", {answer.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    refused = await reader.post(path)
    assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")


async def test_the_root_leads_to_the_guides(reader: httpx2.AsyncClient) -> None:
    answer = await reader.get("/", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs/guides")


async def test_the_pages_are_outside_the_contract(reader: httpx2.AsyncClient) -> None:
    paths = (await reader.get("/openapi.json")).json()["paths"]
    assert [path for path in paths if not path.startswith("/v1/")] == []


async def test_a_start_of_the_api_reads_none_of_it() -> None:
    look = (
        "import sys\nfrom api.app import create_app\nfrom core.settings import Settings\n"
        "app = create_app(Settings())\nfrom core.error_texts import read_texts\n"
        "print('markdown_it' in sys.modules, app.state.pages, read_texts.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, cwd=FOLDER.parents[2])
    assert done.stdout.split() == ["False", "{}", "0"]


async def test_what_is_kept_is_bounded(reader: httpx2.AsyncClient, app: FastAPI) -> None:
    for code in CODES:
        await reader.get(f"/errors/{code}")
        await reader.get(f"/errors/{code}-not")
    assert len(app.state.pages) == len(CODES)
    assert sum(len(page) for page in app.state.pages.values()) < 512 * 1024


def test_the_packed_file_says_nothing_of_where_it_was_packed() -> None:
    packed = (FOLDER / f"{SCALAR}.gz").read_bytes()
    assert packed[4:8] == b"\0" * 4  # no time, so that packing again gives the same file
    assert gzip.decompress(packed)
