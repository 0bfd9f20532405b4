"""The page by which somebody without an account looks at a post, in a real browser."""

import pytest
from playwright.async_api import Browser

from core.ids import encode
from tests.browser.chromium import needs_chromium
from tests.browser.people_pages import VIEWS, View, chromium, opened, require_good
from tests.conftest import Platform, TestAgency
from tests.media.files import picture
from tests.sharing.desk import LATER, Desk, desk

__all__ = ["chromium", "desk"]
pytestmark = [needs_chromium, pytest.mark.real]
TEXT = """Fresh rolls from six in the morning, and cakes all day.

الخبز الطازج من السادسة صباحًا
https://bakery.example/a-very-long-address-without-any-place-to-break-it/which-goes-on-and-on-and-on?with=a-query"""


async def several(desk: Desk) -> None:
    """A post for two accounts, one of which has a text of its own, with two pictures."""
    body = {"network": "sandbox", "credentials": {"handle": "always_ok-second"}, "targets": "all"}
    second = (await desk.client.post(f"{desk.base}/connect-sessions", json=body)).json()["accounts"][0]["id"]
    first = desk.post["publications"][0]["account_id"]
    wide = picture("PNG", size=(1600, 900))
    other = (await desk.client.post(f"{desk.base}/media", files={"file": ("b.png", wide, "image/png")})).json()
    wish = {
        "text": TEXT, "account_ids": [first, second], "schedule": LATER,
        "media": [{"asset_id": other["id"], "alt_text": "A table full of rolls"}, {"asset_id": desk.asset["id"]}],
        "variants": [{"account_id": second, "text": "الخبز الطازج كل صباح", "media": []}],
    }  # fmt: skip
    made = await desk.client.post(f"{desk.base}/posts", json=wish)
    assert made.status_code == 201, made.text
    desk.post = made.json()


@VIEWS
async def test_the_pages_of_a_shared_post_are_good(
    platform: Platform, chromium: Browser, view: View, agency: TestAgency, desk: Desk
) -> None:
    await several(desk)
    link = await desk.link()
    async with opened(chromium, view) as page:
        await page.goto(link["url"])
        await require_good(page, "shared-cover", view)
        await page.locator("main button").click()
        await page.wait_for_load_state("networkidle")
        await require_good(page, "shared", view)
        assert await page.evaluate("[...document.images].map(one => one.naturalWidth)") == [1600, 64]
        await desk.client.delete(f"/v1/workspaces/{encode('wsp', agency.workspace.id)}/share-links/{link['id']}")
        await page.reload()
        await require_good(page, "shared-gone", view)


async def test_without_a_script_a_client_looks_at_a_post_once(chromium: Browser, desk: Desk) -> None:
    link = await desk.link(max_opens=1)
    async with opened(chromium, scripts=False) as page:
        asked: list[dict[str, str]] = []
        page.on("request", lambda request: asked.append(request.headers))
        await page.goto(link["url"])
        await page.locator("main button").click()
        await page.wait_for_load_state("networkidle")
        assert "Fresh rolls" in await page.locator("main").inner_text()
        await page.get_by_role("link", name="Русский").click()
        assert "Fresh rolls" in await page.locator("main").inner_text()
        assert (await desk.client.get(f"{desk.base}/share-links/{link['id']}")).json()["opens"] == 1
        # No request of the page tells where it came from
        assert [one for one in asked if one.get("referer")] == []
    async with opened(chromium, scripts=False) as page:
        await page.goto(link["url"])
        assert await page.locator("h1").inner_text() == "There is nothing here"
