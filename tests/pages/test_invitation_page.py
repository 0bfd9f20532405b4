"""The page of an invitation without a browser: it tells nothing of accounts, spends nothing by a look, and nobody forges a form."""

import httpx2

from core.settings import Settings
from tests.conftest import TestAgency, client_of
from tests.people.cast import Cast
from tests.people.conftest import cast
from tests.people.inviting import GUEST, OTHER, guest, invite, token_of

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
