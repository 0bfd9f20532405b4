"""The pages of single sign-on, in a real browser."""

from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser

from core.db import Database
from tests.browser.chromium import needs_chromium
from tests.browser.people_pages import VIEWS, View, chromium, opened, require_good
from tests.conftest import Platform, TestAgency, free_port
from tests.fakes.openid import openid_provider
from tests.people.cast import Cast
from tests.people.sign_on import agc, set_provider

__all__ = ["chromium"]
pytestmark = [needs_chromium, pytest.mark.real]


@VIEWS
async def test_the_pages_of_single_sign_on_are_good(
    platform: Platform, chromium: Browser, view: View, database: Database, agency: TestAgency
) -> None:
    ada = await Cast(platform.app, database, agency).add("ada", "owner")
    await set_provider(ada.client, "http://127.0.0.1:9", name="موظفو First staff")
    async with opened(chromium, view) as page:
        await page.goto(f"{platform.url}/sign-on")
        await require_good(page, "sign-on", view)
        await page.locator("[name=agency]").fill("nonsense")
        await page.locator("main button").click()
        await require_good(page, "sign-on-refused", view)
        await page.locator("[name=agency]").fill(agc(agency))
        await page.locator("main button").click()
        await require_good(page, "sign-on-providers", view)
        await page.goto(f"{platform.url}/sign-on/callback/{agc(agency)}?state=x&code=y")
        await require_good(page, "sign-on-invalid", view)


@VIEWS
async def test_the_pages_on_the_way_to_a_provider_and_back_are_good(
    platform: Platform, chromium: Browser, view: View, database: Database, agency: TestAgency
) -> None:
    ada = await Cast(platform.app, database, agency).add("ada", "owner")
    async with openid_provider(free_port()) as provider, opened(chromium, view) as page:
        await set_provider(ada.client, provider.issuer, name="موظفو First staff")
        # The page leads on at once: it stays to be looked at, since nobody answers there
        await page.route(f"{provider.issuer}/**", lambda route: route.abort("aborted"))
        await page.goto(f"{platform.url}/sign-on/{agc(agency)}")
        await page.locator("main button").click()
        await require_good(page, "leave", view)
        address = str(await page.locator("main a.button").get_attribute("href"))
        await page.goto(f"{platform.url}/sign-on/callback/{agc(agency)}?{urlencode(provider.agree(address, 'ada@first.example'))}")
        await require_good(page, "sign-on-done", view)
