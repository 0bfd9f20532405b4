"""Pages of other origins: closed by default, open for those that are registered, and for nobody who looks like them."""

from collections.abc import AsyncIterator

import asyncpg
import httpx2
import pytest
from pydantic import ValidationError

from api.app import create_app
from core.settings import Settings
from tests.conftest import TestAgency, client_of

DASHBOARD, LOCAL = "https://dashboard.example", "http://localhost:3000"
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,idempotency-key"}
STRANGERS = (
    "https://evil.example", "https://dashboard.example.evil.example", "http://dashboard.example", "https://dashboard.example:8443",
    "https://app.dashboard.example", "HTTPS://DASHBOARD.EXAMPLE", "null", "*", "",
)  # fmt: skip


def granted(answer: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


@pytest.fixture
async def page(settings: Settings, agency: TestAgency) -> AsyncIterator[httpx2.AsyncClient]:
    """The agency's client of an application with two registered origins."""
    app = create_app(settings.model_copy(update={"cors_origins": f"{DASHBOARD}, {LOCAL}"}))
    async with app.router.lifespan_context(app), client_of(app, agency.key) as client:
        yield client


async def test_no_origin_is_let_in_by_default(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/v1/me", headers={"Origin": DASHBOARD})
    assert (answer.status_code, granted(answer), "vary" in answer.headers) == (200, {}, False)
    preflight = await client.options("/v1/me", headers={"Origin": DASHBOARD} | ASKED)
    assert (preflight.status_code, granted(preflight)) == (204, {})


@pytest.mark.parametrize("origin", [DASHBOARD, LOCAL])
async def test_a_registered_page_reads_answers_and_their_headers(page: httpx2.AsyncClient, origin: str) -> None:
    fine = await page.get("/v1/me", headers={"Origin": origin})
    wrong = await page.get("/v1/nothing", headers={"Origin": origin})
    refused = await page.get("/v1/me", headers={"Origin": origin, "Authorization": "Bearer x"})
    assert [answer.status_code for answer in (fine, wrong, refused)] == [200, 404, 401]
    for answer in (fine, wrong, refused):
        assert (answer.headers["Access-Control-Allow-Origin"], answer.headers["Vary"]) == (origin, "Origin")
        assert "access-control-allow-credentials" not in answer.headers
        shown = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
        wanted = "RateLimit RateLimit-Policy Retry-After ETag Location Request-Id Deprecation Sunset"
        assert set(wanted.split()) <= shown


@pytest.mark.parametrize("origin", STRANGERS)
async def test_nobody_else_is_let_in(page: httpx2.AsyncClient, origin: str) -> None:
    answer = await page.get("/v1/me", headers={"Origin": origin})
    assert (answer.status_code, granted(answer), answer.headers["Vary"]) == (200, {}, "Origin")
    preflight = await page.options("/v1/me", headers={"Origin": origin} | ASKED)
    assert (preflight.status_code, granted(preflight)) == (204, {})


async def test_who_calls_from_no_page_is_served_as_ever(page: httpx2.AsyncClient) -> None:
    answer = await page.get("/v1/me")
    assert (answer.status_code, granted(answer), answer.headers["Vary"]) == (200, {}, "Origin")


async def test_a_preflight_is_answered_without_a_key_and_without_the_database(page: httpx2.AsyncClient, settings: Settings) -> None:
    del page.headers["Authorization"]  # a browser sends none
    db = await asyncpg.connect(settings.database_url)
    async with db.transaction():
        await db.execute("lock table api_keys in access exclusive mode")
        answer = await page.options("/v1/workspaces", headers={"Origin": DASHBOARD} | ASKED)
    await db.close()
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == DASHBOARD
    assert {"GET", "POST", "PATCH", "DELETE"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    taken = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "idempotency-key", "if-match"} <= set(taken)
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    vary = set(answer.headers["Vary"].split(", "))
    assert vary == {"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"}


async def test_options_that_are_no_preflight_and_other_paths_stay_as_they_were(page: httpx2.AsyncClient) -> None:
    plain = await page.options("/v1/me", headers={"Origin": DASHBOARD})
    assert (plain.status_code, plain.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    outside = await page.get("/livez", headers={"Origin": DASHBOARD})
    assert granted(outside) == {}


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://*.example",
        "https://dashboard.example/",
        "https://Dashboard.example",
        "dashboard.example",
        "https://a b",
    ],
)
def test_only_exact_origins_can_be_registered(origin: str) -> None:
    with pytest.raises(ValidationError, match="an origin is"):
        Settings(cors_origins=f"{DASHBOARD}, {origin}")
