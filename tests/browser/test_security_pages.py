"""The pages of second factors, forgotten passwords and the own security, in a real browser with an authenticator of its own."""

from dataclasses import replace

import pytest
from playwright.async_api import Browser, Page

from core.db import Database
from core.development import address_of
from core.settings import Settings
from tests.browser.chromium import needs_chromium
from tests.browser.people_pages import VIEWS, View, chromium, opened, require_good, sign_in
from tests.conftest import Platform, TestAgency
from tests.conftest import platform as running
from tests.people.credentials import App, deliver_mail, read_mail
from tests.people.people import PASSWORD, join, make_person

__all__ = ["chromium", "running"]
pytestmark = [needs_chromium, pytest.mark.real]
ADA = "ada@first.example"
NEW = "seven loud lanterns on the hill"


@pytest.fixture
def platform(running: Platform) -> Platform:
    """The same where `make run` says that it is found: passkeys are bound to a host by its name (WebAuthn Level 3, RP ID)."""
    host, _, port = running.url.removeprefix("http://").partition(":")
    url = address_of(host, int(port))
    house = replace(running.app.state.house, public_url=url)
    running.app.state.house = house
    running.app.state.settings = running.app.state.settings.model_copy(update={"public_url": url})
    settings = running.context.settings.model_copy(update={"public_url": url})
    return Platform(running.app, url, replace(running.context, settings=settings))


@pytest.fixture
async def ada(database: Database, agency: TestAgency) -> str:
    """Ada owns the first agency."""
    await join(database, agency, await make_person(database, ADA), "owner")
    return ADA


async def with_authenticator(page: Page) -> None:
    """Give the browser a device with passkeys, by the DevTools Protocol (domain WebAuthn)."""
    session = await page.context.new_cdp_session(page)
    await session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    await session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


async def press(page: Page, action: str) -> None:
    """Send the form that goes to an address, and wait for what comes."""
    async with page.expect_navigation():
        await page.locator(f"form[action='{action}'] button").first.click()


async def add_app(page: Page) -> App:
    """Add an authenticator app on the security page, up to the code."""
    await press(page, "/security/app")
    return App((await page.locator("code").inner_text()).replace(" ", ""))


async def confirm(page: Page, app: App) -> list[str]:
    """Give its code. Returns the recovery codes."""
    await page.locator("[name=code]").fill(app.code())
    await press(page, "/security/app/confirm")
    return await page.locator(".codes code").all_inner_texts()


@VIEWS
async def test_the_pages_of_security_are_good(
    platform: Platform, chromium: Browser, view: View, ada: str, settings: Settings
) -> None:  # fmt: skip
    async with opened(chromium, view) as page:
        for name in ("forgot-password", "reset-password?token=x", "verify-email?token=x", "sign-in/passkey"):
            await page.goto(f"{platform.url}/{name}")
            await require_good(page, name.partition("?")[0].replace("/", "-"), view)
        await sign_in(page, platform.url, ada, PASSWORD)
        await page.goto(f"{platform.url}/security")
        await require_good(page, "security", view)
        app = await add_app(page)
        await require_good(page, "security-app", view)
        await page.locator("[name=code]").fill("000000")
        await press(page, "/security/app/confirm")
        await require_good(page, "security-app-refused", view)
        await confirm(page, app)
        await require_good(page, "recovery-codes", view)
        await page.goto(f"{platform.url}/security")
        await require_good(page, "security-with-app", view)
        await page.context.clear_cookies(name="sid")
        await sign_in(page, platform.url, ada, PASSWORD)
        await require_good(page, "second-factor", view)


async def test_without_a_script_one_adds_an_app_and_signs_in_with_it(platform: Platform, chromium: Browser, ada: str) -> None:
    async with opened(chromium, scripts=False) as page:
        await sign_in(page, platform.url, ada, PASSWORD)
        await page.goto(f"{platform.url}/security")
        app = await add_app(page)
        codes = await confirm(page, app)
        assert len(codes) == 10
        await page.goto(f"{platform.url}/sessions")
        await page.get_by_role("button", name="Sign out", exact=True).click()
        # Who is asked for the second step comes to where he wanted to be, and nowhere before
        await page.goto(f"{platform.url}/security")
        await page.locator("[name=email]").fill(ada)
        await page.locator("[name=password]").fill(PASSWORD)
        await press(page, "/sign-in")
        assert page.url == f"{platform.url}/second-factor?next=%2Fsecurity"
        await page.goto(f"{platform.url}/sessions")
        assert page.url == f"{platform.url}/second-factor"
        await page.goto(f"{platform.url}/second-factor?next=%2Fsecurity")
        await page.locator("[name=code]").fill("000000")
        await press(page, "/second-factor")
        assert await page.get_by_role("alert").inner_text() == "That was not right, or was used already."
        await page.locator("[name=recovery_code]").fill(codes[0])
        async with page.expect_navigation():
            await page.locator("form[action='/second-factor'] button").last.click()
        assert page.url == f"{platform.url}/security"
        assert await page.get_by_text("Left to use: 9").count() == 1
        await press(page, "/security/app/remove")
        assert await page.get_by_text("An app is set up").count() == 0


async def test_a_passkey_of_the_browser_signs_in_beside_the_password_and_alone(
    platform: Platform, chromium: Browser, ada: str
) -> None:  # fmt: skip
    async with opened(chromium) as page:
        await with_authenticator(page)
        await sign_in(page, platform.url, ada, PASSWORD)
        await page.goto(f"{platform.url}/security")
        await page.locator("[name=name]").fill("Laptop")
        await press(page, "/security/passkeys")
        assert await page.locator(".codes code").count() == 10
        await page.goto(f"{platform.url}/security")
        assert await page.locator(".rows strong").all_inner_texts() == ["Laptop"]
        # As a second factor
        await page.context.clear_cookies()
        await sign_in(page, platform.url, ada, PASSWORD)
        assert page.url == f"{platform.url}/second-factor"
        await press(page, "/second-factor")
        assert page.url == f"{platform.url}/sessions"
        # And alone
        await page.context.clear_cookies()
        await page.goto(f"{platform.url}/sign-in/passkey?next=%2Fsecurity")
        await press(page, "/sign-in/passkey")
        assert page.url == f"{platform.url}/security"
        await press(page, "/security/passkeys/remove")
        assert await page.locator(".rows strong").count() == 0


async def test_a_forgotten_password_is_replaced_on_pages_alone(
    platform: Platform, chromium: Browser, ada: str, settings: Settings
) -> None:
    async with opened(chromium, scripts=False) as page:
        await page.goto(f"{platform.url}/forgot-password")
        await page.locator("[name=email]").fill(ada)
        await press(page, "/forgot-password")
        assert await page.get_by_role("status").inner_text() == "Look into your mail."
        await deliver_mail(platform.context)
        (letter,) = read_mail(settings)
        address = f"{platform.url}/reset-password?token={letter.token}"
        assert address in letter.body
        await page.goto(address)
        await page.locator("[name=new_password]").fill("too short")
        await page.locator("form[action='/reset-password']").evaluate("form => form.noValidate = true")
        await press(page, "/reset-password")
        assert await page.locator("#new_password-fault").count() == 1
        await page.locator("[name=new_password]").fill(NEW)
        await press(page, "/reset-password")
        await sign_in(page, platform.url, ada, NEW)
        assert page.url == f"{platform.url}/sessions"
        await page.goto(address)  # it was used
        await page.locator("[name=new_password]").fill(NEW)
        await press(page, "/reset-password")
        assert "used, has expired, or was replaced" in await page.get_by_role("alert").inner_text()


async def test_an_email_is_confirmed_by_a_button_and_not_by_looking(
    platform: Platform, chromium: Browser, ada: str, settings: Settings
) -> None:
    async with opened(chromium) as page:
        await sign_in(page, platform.url, ada, PASSWORD)
        asked = "fetch('/v1/email-verifications', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'})"
        assert await page.evaluate(f"{asked}.then(answer => answer.status)") == 202
        await deliver_mail(platform.context)
        (letter,) = read_mail(settings)
        for _ in range(2):
            await page.goto(f"{platform.url}/verify-email?token={letter.token}")
        await press(page, "/verify-email")
        assert await page.get_by_role("status").inner_text() == f"{ada} is confirmed."
