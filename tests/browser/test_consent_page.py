"""The page on which a member allows an application something, in a real browser."""

import asyncio
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.async_api import Browser

from core.db import Database
from tests.applications.flow import Application, register, workspace_of
from tests.browser.chromium import needs_chromium
from tests.browser.people_pages import VIEWS, View, chromium, opened, require_good, sign_in
from tests.conftest import Platform, TestAgency, free_port
from tests.people.people import PASSWORD, join, make_person

__all__ = ["chromium"]
pytestmark = [needs_chromium, pytest.mark.real]
ADA = "ada@first.example"


@pytest.fixture
async def application(platform: Platform, database: Database, agency: TestAgency, other: TestAgency) -> Application:
    """An application, and Ada, who owns the first agency and is in the second."""
    user_id = await make_person(database, ADA)
    await join(database, agency, user_id, "owner")
    await join(database, other, user_id, "admin")
    scopes = ("post:create", "post:read", "workspace:read")
    return await register(platform.app, agency, scopes=scopes, name="لوحة القياس Dashboard", offered=True)


@VIEWS
async def test_the_page_is_good(
    platform: Platform, chromium: Browser, view: View, application: Application, agency: TestAgency
) -> None:
    asks = f"{platform.url}/oauth/authorize?{urlencode(application.asks('post:create post:read workspace:read'))}"
    async with opened(chromium, view) as page:
        await sign_in(page, platform.url, ADA, PASSWORD)
        await page.goto(asks)
        await require_good(page, "consent-agency", view)
        await page.locator("main a").first.click()
        await require_good(page, "consent", view)
        await page.locator("main button").first.click()
        await require_good(page, "consent-again", view)
        await page.goto(f"{asks}&request=x")
        await require_good(page, "consent-refused", view)
        await page.goto(asks.replace("response_type=code", "response_type=token"))
        await require_good(page, "consent-refused-back", view)


async def test_without_a_script_a_member_allows_it_and_is_led_back(
    platform: Platform, chromium: Browser, application: Application, agency: TestAgency
) -> None:
    # Given an application on the member's own machine
    async def welcome(asked: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        while await asked.readline() not in {b"", b"\r\n"}:
            pass
        answer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<title>Here</title>Welcome back")
        answer.close()

    local = await register(platform.app, agency, redirect_uris=["http://127.0.0.1/callback"])
    local.redirect_uri = f"http://127.0.0.1:{free_port()}/callback"
    served = await asyncio.start_server(welcome, "127.0.0.1", urlsplit(local.redirect_uri).port)
    async with served, opened(chromium, scripts=False) as page:
        await page.goto(f"{platform.url}/oauth/authorize?{urlencode(local.asks())}")
        # When the member signs in on the way, chooses a workspace and says yes
        await page.locator("[name=email]").fill(ADA)
        await page.locator("[name=password]").fill(PASSWORD)
        await page.locator("main button").click()
        await page.locator(f"[value={workspace_of(agency)}]").check()
        await page.get_by_role("button", name="Allow", exact=True).click()
        # Then the browser is at the application, with a code
        await page.get_by_text("Welcome back").wait_for()
        assert page.url.startswith(f"{local.redirect_uri}?code=oac_test_")
