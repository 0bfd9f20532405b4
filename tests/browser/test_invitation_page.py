"""The page of an invitation, in a real browser: good to look at, and enough to come in without a script."""

import pytest
from playwright.async_api import Browser

from core.db import Database
from core.ids import encode
from core.settings import Settings
from tests.browser.chromium import needs_chromium
from tests.browser.people_pages import VIEWS, View, chromium, opened, require_good, sign_in
from tests.conftest import Platform, TestAgency
from tests.people.inviting import GUEST, OTHER, invite, mailed, token_of
from tests.people.people import PASSWORD, make_person

__all__ = ["chromium"]
pytestmark = [needs_chromium, pytest.mark.real]


@VIEWS
async def test_the_pages_of_an_invitation_are_good(
    platform: Platform, chromium: Browser, view: View, agency: TestAgency, settings: Settings, database: Database
) -> None:
    async with platform.client(agency.key) as client, opened(chromium, view) as page:
        rooms = [{"workspace_id": encode("wsp", agency.workspace.id), "role": "community"}]
        assert (await invite(client, delivery="email", role="member", workspaces=rooms)).status_code == 201
        url = f"{platform.url}/invitations/{await mailed(platform, settings)}"
        await page.goto(url)
        await require_good(page, "invitation", view)
        await page.locator("[name=name]").fill("Ben Baker")
        await page.locator("[name=password]").fill("aaaaaaaaaaaaaaaaaaaaaaaa")
        await page.locator("main button").click()
        await require_good(page, "invitation-refused", view)
        await page.goto(f"{platform.url}/invitations/{token_of(await invite(client, 'eve@second.example', delivery='link'))}")
        await require_good(page, "invitation-link", view)
        await page.goto(url)
        await page.locator("[name=name]").fill("Ben Baker")
        await page.locator("[name=password]").fill(OTHER)
        await page.locator("main button").click()
        await require_good(page, "invitation-done", view)
        await page.goto(f"{platform.url}/invitations/{token_of(await invite(client, 'eve@second.example', delivery='link'))}")
        await require_good(page, "invitation-wrong-person", view)
        await page.goto(f"{platform.url}/invitations/{token_of(await invite(client, delivery='link'))}")
        await require_good(page, "invitation-signed-in", view)
        async with database.connection(agency.tenant) as db:
            await db.execute("update agencies set second_factor_required = true where id = $1", agency.actor.agency_id)
        await page.locator("main button").click()
        await require_good(page, "invitation-done-factor", view)
        await page.locator("main a.button").click()
        assert page.url == f"{platform.url}/security"
        await page.goto(url)
        await require_good(page, "invitation-used", view)


async def test_without_a_script_somebody_new_comes_in(
    platform: Platform, chromium: Browser, agency: TestAgency, settings: Settings
) -> None:
    rooms = [{"workspace_id": encode("wsp", agency.workspace.id), "role": "content"}]
    async with platform.client(agency.key) as client, opened(chromium, scripts=False) as page:
        assert (await invite(client, delivery="email", workspaces=rooms)).status_code == 201
        await page.goto(f"{platform.url}/invitations/{await mailed(platform, settings)}")
        # When the password is weak, the page says so at its field and keeps the name
        await page.locator("[name=name]").fill("Ben Baker")
        await page.locator("[name=password]").fill("too short")
        await page.locator("main button").click()
        assert await page.locator("#password-fault").inner_text() == "Choose a longer one that others cannot guess."
        assert await page.locator("[name=name]").input_value() == "Ben Baker"
        assert await page.locator("[name=password]").input_value() == ""
        # When it is good, the person is a member and signed in
        await page.locator("[name=password]").fill(OTHER)
        await page.locator("main button").click()
        assert await page.locator("h1").inner_text() == "You belong to First now"
        await page.get_by_role("link", name="Go on").click()
        assert page.url == f"{platform.url}/sessions"
        (member,) = (await client.get("/v1/members")).json()["data"]
        assert (member["name"], member["email"], member["workspaces"]) == ("Ben Baker", GUEST, rooms)


async def test_who_has_an_account_signs_in_on_the_way_and_accepts(
    platform: Platform, chromium: Browser, database: Database, agency: TestAgency
) -> None:
    await make_person(database, GUEST)
    async with platform.client(agency.key) as client, opened(chromium, scripts=False) as page:
        url = f"{platform.url}/invitations/{token_of(await invite(client))}"
        await page.goto(url)
        await page.get_by_role("link", name="Sign in").click()
        await page.locator("[name=email]").fill(GUEST)
        await page.locator("[name=password]").fill(PASSWORD)
        await page.locator("main button").click()
        assert page.url == url
        await page.get_by_role("button", name="Accept").click()
        assert await page.locator("h1").inner_text() == "You belong to First now"
        assert len((await client.get("/v1/members")).json()["data"]) == 1


async def test_who_is_signed_in_as_somebody_else_is_told_so(
    platform: Platform, chromium: Browser, database: Database, agency: TestAgency
) -> None:
    await make_person(database, "eve@second.example")
    async with platform.client(agency.key) as client, opened(chromium, scripts=False) as page:
        await sign_in(page, platform.url, "eve@second.example", PASSWORD)
        await page.goto(f"{platform.url}/invitations/{token_of(await invite(client))}")
        assert "eve@second.example" in await page.locator(".note").inner_text()
        assert await page.locator("main button").count() == 0
        assert (await client.get("/v1/members")).json()["data"] == []
