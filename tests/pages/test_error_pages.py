"""Every code of the registry has a page of its own at the address that `type` names."""

import re
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from api.document.refusals import statuses_of
from core.error_texts import read_texts
from core.errors import CODES
from tests.conftest import Platform, client_of


@pytest.fixture
async def reader(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody without a key."""
    async with client_of(app, None) as client:
        yield client


@pytest.mark.parametrize("code", sorted(CODES))
async def test_a_code_has_its_page(reader: httpx2.AsyncClient, code: str) -> None:
    answer = await reader.get(f"/errors/{code}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f"<h1><code>{code}</code></h1>" in answer.text
    for status in statuses_of(code):
        assert f"&quot;status&quot;: {status}" in answer.text or f'"status": {status}' in answer.text
    for title in ("What it means", "When it happens", "What to do", "Does a retry help?", "Status", "Example"):
        assert f"<h2>{title}</h2>" in answer.text
    assert f'href="/errors/{code}"' in (await reader.get("/errors")).text


async def test_the_address_in_a_problem_is_the_page_of_its_code(platform: Platform) -> None:
    async with httpx2.AsyncClient(base_url=platform.url) as client:
        problem = (await client.get("/v1/me")).json()
        assert problem["code"] == "unauthenticated"
        page = await client.get(problem["type"])
    assert page.status_code == 200
    assert "<h1><code>unauthenticated</code></h1>" in page.text


@pytest.mark.parametrize("code", ["nope", "NOT_FOUND", "not_found/", "..%2fapp", "not_found%00", "x" * 5_000])
async def test_what_is_no_code_has_no_page(reader: httpx2.AsyncClient, code: str) -> None:
    answer = await reader.get(f"/errors/{code}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_what_a_page_says_about_a_retry_fits_its_status(reader: httpx2.AsyncClient) -> None:
    for code, text in read_texts().items():
        says = re.search(r"retry help\?</h2>\n<p>(\w+)", (await reader.get(f"/errors/{code}")).text)
        assert says is not None
        again = {408, 429, 500, 503} & set(statuses_of(code)) or code == "idempotency_in_flight"
        assert (text.retry == "same") == bool(again), code
        assert (says[1] == "Yes") == bool(again), code
