"""What each page on which people act must be, in a real browser: base of the tests of such pages.

    @VIEWS
    async def test_..._page(platform: Platform, chromium: Browser, view: View) -> None:
        async with opened(chromium, view) as page:
            await page.goto(f"{platform.url}/sign-in")
            await require_good(page, "sign-in", view)

Screenshots go to the folder that OCTAVO_SCREENSHOTS names, or else to `.octavo/screenshots`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from playwright.async_api import Browser, Page, ViewportSize

from tests.browser.chromium import browser, watch
from tests.servers.real import packages

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("OCTAVO_SCREENSHOTS", str(ROOT / ".octavo/screenshots")))
WIDE = ViewportSize(width=1280, height=900)
NARROW = ViewportSize(width=360, height=740)


class View(NamedTuple):
    """One way to look at a page."""

    name: str
    size: ViewportSize
    language: str
    scheme: Literal["light", "dark"] = "light"


ALL = (
    View("desktop", WIDE, "en"),
    View("desktop-dark", WIDE, "en", "dark"),
    View("phone", NARROW, "en"),
    View("phone-ru", NARROW, "ru", "dark"),
    View("desktop-rtl", WIDE, "ar"),
    View("phone-rtl", NARROW, "ar"),
)
VIEWS = pytest.mark.parametrize("view", ALL, ids=[view.name for view in ALL])


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """A browser."""
    async with browser() as started:
        yield started


@asynccontextmanager
async def opened(chromium: Browser, view: View = ALL[0], *, scripts: bool = True, **more: Any) -> AsyncIterator[Page]:
    """Open a page that looks as `view` says; without `scripts` it runs none, as for people who have switched them off.

    The page's own policy is set aside only so that axe can be run in it. Whatever the page complains about fails the test.
    """
    context = await chromium.new_context(
        viewport=view.size, locale=view.language, color_scheme=view.scheme, bypass_csp=scripts, java_script_enabled=scripts, **more
    )
    page = await context.new_page()
    seen = watch(page)
    yield page
    await context.close()
    # That a form was refused is what some tests are about: the browser notes each such status.
    complaints = [one for one in seen.complaints if "the server responded with a status of 4" not in one]
    assert not complaints, complaints


async def sign_in(page: Page, url: str, email: str, password: str) -> None:
    """Fill in the page to sign in."""
    await page.goto(f"{url}/sign-in")
    await page.locator("[name=email]").fill(email)
    await page.locator("[name=password]").fill(password)
    await page.locator("main button").click()


async def require_good(page: Page, name: str, view: View) -> None:
    """Hold what all pages must be: in the view's language and direction, no wider than the screen, clean for axe; and picture it.

    Raises LookupError where axe is not installed (tests/servers/install.sh does it).
    """
    folder = packages()
    if folder is None:
        raise LookupError("tests/servers/install.sh has not been run")
    FOLDER.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=FOLDER / f"{name}.{view.name}.png", full_page=True)
    assert await page.evaluate("[document.documentElement.lang, document.documentElement.dir]") == [
        view.language, "rtl" if view.language == "ar" else "ltr",
    ]  # fmt: skip
    scrolled, visible = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert scrolled <= visible, f"{name} is {scrolled} wide on a screen of {visible}"
    await page.evaluate((folder / "node_modules/axe-core/axe.min.js").read_text())
    found: list[dict[str, Any]] = await page.evaluate("axe.run().then(result => result.violations)")
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == [], name
