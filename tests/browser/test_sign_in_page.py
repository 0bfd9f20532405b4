"""The pages to sign in and to see where one is signed in, in a real browser."""

import pytest
from playwright.async_api import Browser

from core.db import Database
from tests.browser.chromium import needs_chromium
from tests.browser.people_pages import VIEWS, View, chromium, opened, require_good, sign_in
from tests.conftest import Platform, TestAgency
from tests.people.people import PASSWORD, join, make_person

__all__ = ["chromium"]
pytestmark = [needs_chromium, pytest.mark.real]
ADA = "ada@first.example"


@pytest.fixture
async def ada(database: Database, agency: TestAgency) -> str:
    """Ada owns the first agency."""
    await join(database, agency, await make_person(database, ADA), "owner")
    return ADA


@VIEWS
async def test_the_pages_to_sign_in_are_good(platform: Platform, chromium: Browser, view: View, ada: str) -> None:
    async with opened(chromium, view) as page:
        await page.goto(f"{platform.url}/sign-in")
        await require_good(page, "sign-in", view)
        await sign_in(page, platform.url, ada, "a wrong one")
        await require_good(page, "sign-in-refused", view)
        await page.goto(f"{platform.url}/sign-in?next=/a&next=/b")
        await require_good(page, "error", view)
        await sign_in(page, platform.url, ada, PASSWORD)
        await page.goto(f"{platform.url}/sessions")
        await require_good(page, "sessions", view)


async def test_without_a_script_one_signs_in_and_out(platform: Platform, chromium: Browser, ada: str) -> None:
    async with opened(chromium, scripts=False) as page:
        # Given a person who is asked to sign in on the way to a page
        await page.goto(f"{platform.url}/sessions?lang=ru")
        assert (page.url, await page.locator("html").get_attribute("lang")) == (f"{platform.url}/sign-in", "ru")
        await page.goto(f"{platform.url}/sign-in?lang=en")
        # When the password is wrong, the page says so and keeps the e-mail, and nothing else
        await sign_in(page, platform.url, ada, "a wrong one")
        assert await page.get_by_role("alert").inner_text() == "The e-mail and the password do not fit."
        assert await page.locator("[name=email]").input_value() == ada
        assert await page.locator("[name=password]").input_value() == ""
        # When it is right, the person comes to where it wanted to be, and signs out again
        await sign_in(page, platform.url, ada, PASSWORD)
        assert page.url == f"{platform.url}/sessions"
        assert await page.get_by_text("This browser").count() == 1
        await page.get_by_role("button", name="Sign out", exact=True).click()
        assert page.url == f"{platform.url}/sign-in"
        await page.goto(f"{platform.url}/sessions")
        assert page.url == f"{platform.url}/sign-in"


async def test_what_is_refused_is_said_at_its_field_and_has_the_focus(platform: Platform, chromium: Browser) -> None:
    async with opened(chromium, scripts=False) as page:
        await page.goto(f"{platform.url}/sign-in")
        await page.locator("form").evaluate("form => form.noValidate = true")
        await page.locator("[name=password]").fill("something")
        await page.locator("main button").click()
        email = page.locator("[name=email]")
        assert await email.get_attribute("aria-invalid") == "true"
        assert await page.locator(f"#{await email.get_attribute('aria-describedby')}").inner_text() == "Enter your e-mail address."
        assert await page.evaluate("document.activeElement.name") == "email"


async def test_another_browser_is_signed_out_from_the_page(platform: Platform, chromium: Browser, ada: str) -> None:
    async with opened(chromium) as here, opened(chromium) as there:
        for page in (there, here):
            await sign_in(page, platform.url, ada, PASSWORD)
        await here.get_by_role("button", name="Sign out there").click()
        assert await here.get_by_role("button", name="Sign out there").count() == 0
        await there.goto(f"{platform.url}/sessions")
        assert there.url == f"{platform.url}/sign-in"
