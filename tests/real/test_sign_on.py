"""Single sign-on, whole, by a certified OpenID provider (oidc-provider): it signs a member in to ours."""

import re
from collections.abc import AsyncIterator
from html import unescape
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx2
import pytest

from core.db import Database
from tests.conftest import Platform, TestAgency
from tests.people.cast import Cast
from tests.people.people import join, make_person
from tests.people.sign_on import agc
from tests.servers.real import OidcServer, oidc_server

pytestmark = pytest.mark.real
HOPS_MAX = 12


async def agree(url: str, login: str, callback: str) -> dict[str, str]:
    """Be the person's browser at the provider, until it sends back; returns what the way back carries."""
    async with httpx2.AsyncClient() as browser:
        answer = await browser.get(url)
        for _ in range(HOPS_MAX):
            if answer.is_redirect:
                target = urljoin(str(answer.url), answer.headers["location"])
                if target.startswith(callback):
                    return dict(parse_qsl(urlsplit(target).query))
                answer = await browser.get(target)
                continue
            form, prompt = (re.search(f'{name}="([^"]+)"', answer.text) for name in ("action", 'name="prompt" value'))
            assert form is not None, answer.text
            assert prompt is not None, answer.text
            data = {"prompt": prompt[1], "login": login, "password": "x"}
            answer = await browser.post(urljoin(str(answer.url), form[1]), data=data)
    raise AssertionError("the provider never sent the person back")


@pytest.fixture
def callback(platform: Platform, agency: TestAgency) -> str:
    """Where the provider sends people back to."""
    return f"{platform.url}/sign-on/callback/{agc(agency)}"


@pytest.fixture
async def provider(callback: str) -> AsyncIterator[OidcServer]:
    """The provider, which knows that address."""
    with oidc_server(callback) as server:
        yield server


@pytest.fixture
async def page(platform: Platform) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser of nobody yet, over real HTTP."""
    async with httpx2.AsyncClient(base_url=platform.url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=30) as client:
        yield client


async def _set(platform: Platform, database: Database, agency: TestAgency, provider: OidcServer) -> str:
    ada = await Cast(platform.app, database, agency).add("ada", "owner")
    wish = {
        "name": "Staff", "issuer": provider.issuer, "client_id": provider.client_id, "client_secret": provider.client_secret,
        "domains": ["agency.test"],
    }  # fmt: skip
    made = await ada.client.post("/v1/identity-providers", json=wish)
    assert made.status_code == 201, made.text
    id: str = made.json()["id"]
    return id


async def _leave(page: httpx2.AsyncClient, agency: TestAgency, id: str) -> str:
    left = await page.post(f"/sign-on/{agc(agency)}", data={"provider": id})
    found = re.search(r'class="button" href="([^"]+)"', left.text)
    assert found is not None, left.text
    return unescape(found[1])


async def test_the_certified_provider_signs_a_member_in(
    platform: Platform, database: Database, agency: TestAgency, other: TestAgency, provider: OidcServer, callback: str,
    page: httpx2.AsyncClient,
) -> None:  # fmt: skip
    id = await _set(platform, database, agency, provider)
    user = await make_person(database, "alice@agency.test")
    await join(database, agency, user, "member", {agency.workspace.id: "content"})
    await join(database, other, user, "owner")
    brought = await agree(await _leave(page, agency, id), "alice", callback)
    assert brought["iss"] == provider.issuer
    answer = await page.get(callback, params=brought)
    assert (answer.status_code, answer.headers.get("location")) == (303, "/sign-on/done"), answer.text
    me = (await page.get("/v1/me")).json()
    assert (me["agency"]["name"], me["actor"]["email"]) == ("First", "alice@agency.test")
    assert (await page.get("/v1/me", headers={"Octavo-Agency": agc(other)})).status_code == 404
    assert (await page.get(callback, params=brought)).status_code == 400, "the way back is good once"


@pytest.mark.parametrize("login", ["nobody", "unverified-alice", "alice@elsewhere.test"])
async def test_whom_the_certified_provider_names_otherwise_does_not_come_in(
    platform: Platform, database: Database, agency: TestAgency, provider: OidcServer, callback: str, page: httpx2.AsyncClient,
    login: str,
) -> None:  # fmt: skip
    id = await _set(platform, database, agency, provider)
    for email in ("unverified-alice@agency.test", "alice@elsewhere.test"):
        await join(database, agency, await make_person(database, email), "member")
    brought = await agree(await _leave(page, agency, id), login, callback)
    answer = await page.get(callback, params=brought)
    assert (answer.status_code, "You were not signed in" in answer.text) == (403, True)
    assert (await page.get("/v1/me")).status_code == 401
