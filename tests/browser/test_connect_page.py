"""The page by which somebody without an account here connects one, in a real browser."""

from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from playwright.async_api import Browser, Page

from core.ids import encode
from tests.accounts.scripted import Scripted, facts
from tests.browser.chromium import needs_chromium
from tests.browser.people_pages import VIEWS, View, chromium, opened, require_good
from tests.conftest import Platform, TestAgency

__all__ = ["chromium"]
pytestmark = [needs_chromium, pytest.mark.real]


async def link(client: httpx2.AsyncClient, agency: TestAgency, **wish: Any) -> str:
    """Begin a session that has a page; returns the address of it."""
    path = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}/connect-sessions"
    answer = await client.post(path, json={"network": "scripted", "method": "credentials", "link": True} | wish)
    assert answer.status_code == 201, answer.text
    url: str = answer.json()["url"]
    return url


def serve(app: FastAPI) -> None:
    """Add a strict network whose credentials reach several things."""
    app.state.networks = {**app.state.networks, "scripted": Scripted(facts("scripted")).as_network}


async def give(page: Page, login: str, password: str) -> None:
    """Fill in the credentials, and send them."""
    await page.locator("[name=login]").fill(login)
    await page.locator("[name=password]").fill(password)
    await page.locator("main button").click()


@VIEWS
async def test_the_pages_to_connect_are_good(platform: Platform, chromium: Browser, view: View, agency: TestAgency) -> None:
    serve(platform.app)
    async with platform.client(agency.key) as client, opened(chromium, view) as page:
        url = await link(client, agency)
        await page.goto(url)
        await require_good(page, "connect", view)
        await give(page, "chain-3", "wrong")
        await require_good(page, "connect-refused", view)
        await give(page, "chain-3", "right")
        await require_good(page, "connect-choosing", view)
        await page.locator("main button").click()
        await require_good(page, "connect-none-chosen", view)
        await page.locator("[type=checkbox]").first.check()
        await page.locator("main button").click()
        await require_good(page, "connect-done", view)
        await page.goto(await link(client, agency, method="redirect"))
        await require_good(page, "connect-redirect", view)
        await page.goto(url[:-1])
        await require_good(page, "connect-gone", view)
        await page.goto(f"{platform.url}/connect/callback/scripted?state=nothing&code=x")
        await require_good(page, "connect-callback-refused", view)


async def test_without_a_script_a_client_connects_what_it_chooses(
    platform: Platform, chromium: Browser, agency: TestAgency
) -> None:  # fmt: skip
    serve(platform.app)
    async with platform.client(agency.key) as client, opened(chromium, scripts=False) as page:
        await page.goto(await link(client, agency))
        # When the network does not take what was entered, the page says so, and keeps all but the secret
        await give(page, "chain-2", "wrong")
        assert "does not take this" in await page.locator("[role=alert]").inner_text()
        assert await page.locator("[name=login]").input_value() == "chain-2"
        assert await page.locator("[name=password]").input_value() == ""
        # When it takes it, the client chooses, and the account is the agency's
        await page.locator("[name=password]").fill("right")
        await page.locator("main button").click()
        await page.locator("[value='chain.2']").check()
        await page.locator("main button").click()
        assert await page.locator("h1").inner_text() == "Connected"
        workspace = encode("wsp", agency.workspace.id)
        (account,) = (await client.get(f"/v1/workspaces/{workspace}/accounts")).json()["data"]
        assert account["external_id"] == "chain.2"
