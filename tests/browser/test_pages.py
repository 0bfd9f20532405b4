"""The documentation in a real browser: it renders, stays with its origin, fits a phone, and is clean for assistive technology."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, ViewportSize

from api.pages.guides import GUIDES
from tests.api.tools import FOLDER_VARIABLE, folder
from tests.browser.chromium import DESKTOP, PHONE, browser, needs_chromium, watch
from tests.conftest import Platform, TestAgency

pytestmark = needs_chromium
PATHS = ("/docs/guides", *(f"/docs/guides/{name}" for name in GUIDES), "/errors", "/errors/validation_failed")
SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """A browser."""
    async with browser() as started:
        yield started


async def _widths(page: Page) -> tuple[int, int]:
    found: list[int] = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    return found[0], found[1]


@SIZES
async def test_the_reference_shows_every_operation_and_asks_nobody_else(
    platform: Platform, chromium: Browser, size: ViewportSize
) -> None:
    # Given a page that is watched from its first request on
    page = await chromium.new_page(viewport=size)
    seen = watch(page)
    # When it has rendered, and each part of its list is opened
    await page.goto(f"{platform.url}/docs")
    await page.get_by_role("heading", name="Octavo", exact=True).wait_for()
    if size == PHONE:
        await page.get_by_role("button", name="Open Menu").click()
    document = platform.app.openapi()
    listing = page.get_by_role("complementary", name="Sidebar for Octavo")
    for closed in await listing.get_by_role("button", name="Open Group").all_inner_texts():
        await listing.get_by_role("button", name=closed.strip(), exact=True).click()
    # Then every operation is there, nothing was complained about, and nobody but this service was asked
    shown = await listing.inner_text()
    summaries = [one["summary"] for item in document["paths"].values() for one in item.values()]
    assert [summary for summary in summaries if summary not in shown] == []
    assert seen.complaints == []
    assert seen.hosts == {urlsplit(platform.url).netloc}
    scrolled, visible = await _widths(page)
    assert scrolled <= visible


@SIZES
async def test_guides_and_errors_fit_the_screen(platform: Platform, chromium: Browser, size: ViewportSize) -> None:
    page = await chromium.new_page(viewport=size)
    seen = watch(page)
    for path in PATHS:
        await page.goto(platform.url + path)
        scrolled, visible = await _widths(page)
        assert scrolled <= visible, path
    assert seen.complaints == []
    assert seen.hosts == {urlsplit(platform.url).netloc}


@pytest.mark.real(FOLDER_VARIABLE)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@SIZES
async def test_axe_finds_nothing_serious(platform: Platform, chromium: Browser, size: ViewportSize, scheme: Any) -> None:
    axe = (folder() / "node_modules/axe-core/axe.min.js").read_text()
    page = await chromium.new_page(viewport=size, color_scheme=scheme)
    for path in PATHS:
        await page.goto(platform.url + path)
        await page.evaluate(axe)
        found: list[dict[str, Any]] = await page.evaluate("axe.run().then(result => result.violations)")
        assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in {"serious", "critical"}] == [], path


async def test_the_keyboard_skips_to_the_content(platform: Platform, chromium: Browser) -> None:
    page = await chromium.new_page(viewport=DESKTOP)
    await page.goto(f"{platform.url}/docs/guides/quickstart")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
    await page.keyboard.press("Enter")
    assert page.url.endswith("#main")


async def test_a_call_can_be_tried_from_the_reference(platform: Platform, chromium: Browser, agency: TestAgency) -> None:
    # Given the reference, and a key that somebody typed in
    page = await chromium.new_page(viewport=DESKTOP)
    seen = watch(page)
    await page.goto(f"{platform.url}/docs")
    await page.get_by_placeholder("Token").first.fill(agency.key)
    await page.get_by_role("link", name="Who is calling").click()
    await page.get_by_role("button", name="Test Request (get /v1/me)").click()
    # When a call is sent
    async with page.expect_response(f"{platform.url}/v1/me") as awaited:
        await page.get_by_role("button", name="Send get request to").click()
    # Then it is answered, and the key has gone nowhere else and is stored nowhere
    answer = await (await awaited.value).json()
    assert answer["agency"]["name"] == agency.actor.agency_name
    assert seen.complaints == []
    assert seen.hosts == {urlsplit(platform.url).netloc}
    stored: str = await page.evaluate("JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie")
    assert agency.key not in stored
