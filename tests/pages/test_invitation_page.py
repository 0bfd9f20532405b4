"""The page of an invitation without a browser: it tells nothing of accounts, spends nothing by a look, and nobody forges a form."""

import httpx2

from core.settings import Settings
from tests.conftest import Platform, TestAgency, client_of
from tests.people.cast import Cast
from tests.people.conftest import cast
from tests.people.credentials import add_app
from tests.people.inviting import GUEST, OTHER, guest, invite, mailed, token_of
from tests.people.people import browser

__all__ = ["cast"]


async def _page(client: httpx2.AsyncClient, token: str) -> httpx2.Response:
    return await client.get(f"/invitations/{token}")


async def test_a_look_by_a_mail_scanner_spends_nothing(cast: Cast, agency: TestAgency, settings: Settings) -> None:
    async with client_of(cast.app, agency.key) as client, client_of(cast.app, None) as scanner:
        token = token_of(await invite(client))
        for method in ("GET", "HEAD", "GET"):
            answer = await scanner.request(method, f"/invitations/{token}")
            assert answer.status_code == 200
            assert answer.headers["Referrer-Policy"] == "no-referrer"
        ben = await guest(cast)
        done = await ben.post(f"/invitations/{token}", headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert (done.status_code, "First" in done.text) == (200, True)
        assert (await _page(scanner, token)).status_code == 404


async def test_the_page_is_the_same_whether_the_address_has_an_account_or_not(cast: Cast) -> None:
    ada = await cast.add("ada", "owner")
    async with client_of(cast.app, None) as nobody:
        pages = []
        for exists in (False, True):
            if exists:
                await guest(cast)
            token = token_of(await invite(ada.client))
            shown = await _page(nobody, token)
            assert shown.status_code == 200
            pages.append(shown.text.replace(token, "token"))
    assert pages[0].split("UTC")[1:] == pages[1].split("UTC")[1:]


async def test_a_link_that_did_not_come_by_mail_offers_no_account_and_makes_none(cast: Cast) -> None:
    ada = await cast.add("ada", "owner")
    token = token_of(await invite(ada.client))
    ben = await guest(cast, "eve@second.example")
    ben.cookies.clear()
    assert 'name="password"' not in (await _page(ben, token)).text
    form = {"name": "Ben", "password": OTHER}
    answer = await ben.post(f"/invitations/{token}/join", data=form)
    assert (answer.status_code, GUEST in answer.text) == (409, True)
    forged = await ben.post(f"/invitations/{token}/join", data=form, headers={"Sec-Fetch-Site": "cross-site"})
    assert forged.status_code == 403
    assert (await ben.post(f"/invitations/{token}", data={})).headers["Location"].startswith("/sign-in?next=%2Finvitations%2F")


async def test_an_inviter_who_may_no_more_is_told_on_the_page(cast: Cast) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "admin")
    token = token_of(await invite(ben.client))
    assert (await ada.client.delete(f"/v1/members/{ben.id}")).status_code == 204
    answer = await (await guest(cast)).post(f"/invitations/{token}", data={})
    assert (answer.status_code, "may not give this any more" in answer.text) == (409, True)
    async with client_of(cast.app, None) as nobody:
        for bad in ("x", token[:-1] + ("0" if token[-1] != "0" else "1"), "%00", "ä"):
            assert (await _page(nobody, bad)).status_code == 404


async def test_who_has_no_second_factor_and_needs_one_is_led_to_where_it_is_added(
    cast: Cast, platform: Platform, settings: Settings
) -> None:
    ada, ben, eve = await cast.add("ada", "owner"), await guest(cast), await guest(cast, "eve@second.example")
    assert (await invite(ada.client, "dan@second.example", delivery="email")).status_code == 201
    third = await mailed(platform, settings)
    await add_app(eve)
    first, second = [token_of(await invite(ada.client, email)) for email in (GUEST, "eve@second.example")]
    await add_app(ada.client)
    assert (await ada.client.patch("/v1/agency", json={"second_factor_required": True})).status_code == 200
    done = await ben.post(f"/invitations/{first}", data={})
    assert (done.status_code, 'href="/security"' in done.text, 'href="/sessions">Go on' in done.text) == (200, True, False)
    assert (await ben.get("/security")).status_code == 200
    done = await eve.post(f"/invitations/{second}", data={})
    assert (done.status_code, 'href="/sessions">Go on' in done.text) == (200, True)
    async with browser(cast.app) as new:
        done = await new.post(f"/invitations/{third}/join", data={"name": "Dan", "password": OTHER})
        assert (done.status_code, "Add a second factor" in done.text) == (200, True)
        assert (await new.get("/security")).status_code == 200
