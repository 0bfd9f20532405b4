"""The links to other languages on what a form brings: they lead to the form's page with all that it was asked, or are left out."""

import html
import re
from collections.abc import Iterator
from itertools import product
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest
from fastapi import FastAPI

from api.pages.people.routes import PageRoute
from tests.applications.flow import register, say
from tests.people.cast import Cast, Someone
from tests.people.conftest import cast
from tests.people.credentials import add_app
from tests.people.inviting import invite, token_of
from tests.people.people import PASSWORD, browser, sign_in

__all__ = ["cast"]
LINK = re.compile(r'<a href="([^"]*)" lang="(\w\w)"')
HTML = "text/html; charset=utf-8"


def links(answer: httpx2.Response) -> list[str]:
    """Where the links to other languages lead, from where the browser is."""
    return [urljoin(answer.url.raw_path.decode(), html.unescape(one[0])) for one in LINK.findall(answer.text)]


def page_routes(routes: list[Any]) -> Iterator[PageRoute]:
    """Every route of people's pages, however deep it stands."""
    for route in routes:
        if isinstance(route, PageRoute):
            yield route
        else:
            inner = getattr(route, "original_router", route)
            yield from page_routes(getattr(inner, "routes", []))


async def browsers(cast: Cast, ada: Someone) -> dict[str, httpx2.AsyncClient]:
    """One who is signed in, one who is half, and one who is nobody."""
    await cast.add("ben", "member")
    half, ben = browser(cast.app), browser(cast.app)
    await sign_in(ben, "ben@first.example")
    await add_app(ben)
    await ben.aclose()
    await sign_in(half, "ben@first.example")
    return {"whole": ada.client, "half": half, "nobody": browser(cast.app)}


async def texts_of(ada: Someone) -> dict[str, str]:
    """What stands in the paths that name something, by how they begin."""
    room = (await ada.client.get("/v1/workspaces")).json()["data"][0]["id"]
    linked = await ada.client.post(f"/v1/workspaces/{room}/connect-sessions", json={"network": "sandbox", "link": True})
    return {
        "/connect/": linked.json()["url"].rpartition("/")[2],
        "/invitations/": token_of(await invite(ada.client)),
        "/sign-on/": ada.client.headers["Octavo-Agency"],
    }


async def test_no_form_leads_to_where_nothing_can_be_looked_at(cast: Cast, app: FastAPI) -> None:
    ada = await cast.add("ada", "owner")
    await ada.client.post("/security/app")
    texts, known, seen = await texts_of(ada), await browsers(cast, ada), set()
    forms = {one.path for one in page_routes(app.routes) if "POST" in one.methods} - {"/sign-out"}
    assert len(forms) > 15
    for path, (who, client) in product(sorted(forms), known.items()):
        text = next((text for begin, text in texts.items() if path.startswith(begin)), "nothing")
        answer = await client.post(re.sub(r"\{\w+\}", text, path), data={"next": "/security"})
        onward = httpx2.URL(answer.headers.get("location", ""))
        found = [str(onward), onward.params.get("next", "")] if answer.status_code == 303 else links(answer)
        for address in filter(None, found):
            seen.add(path)
            led = await (ada.client if address == onward.params.get("next") else client).get(address)
            assert led.headers.get("content-type", HTML) == HTML, (path, who, address)
            assert led.status_code not in {404, 405}, (path, who, address)
    assert {"/security/confirm", "/security/password", "/invitations/{token}/join", "/sign-in", "/connect/{text}"} <= seen


async def test_recovery_codes_are_not_lost_for_another_language(cast: Cast) -> None:
    ada = await cast.add("ada", "owner")
    await add_app(ada.client)
    answer = await ada.client.post("/security/recovery-codes")
    assert len(re.findall(r"<li><code>", answer.text)) == 10
    assert links(answer) == []


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/passkey"])
async def test_where_one_wanted_to_be_is_kept_in_another_language(app: FastAPI, path: str) -> None:
    async with browser(app) as door:
        answer = await door.post(path, data={"next": "/security?a=b"})
        assert links(answer) == [f"{path}?next=%2Fsecurity%3Fa%3Db&lang={code}" for code in ("en", "ru", "ar")]
        assert 'name="next" value="/security?a=b"' in (await door.get(links(answer)[1])).text


async def test_the_link_of_a_mail_is_kept_in_another_language(app: FastAPI) -> None:
    async with browser(app) as door:
        for path in ("/reset-password", "/verify-email"):
            answer = await door.post(path, data={"token": "abc", "new_password": PASSWORD})
            assert links(answer)[2] == f"{path}?token=abc&lang=ar"


async def test_what_an_application_asks_for_is_kept_in_another_language_and_through_the_sign_in(cast: Cast) -> None:
    ada, application = await cast.add("ada", "owner"), await register(cast.app, cast.agency)
    shown = await ada.client.get("/oauth/authorize", params=application.asks())
    answer = await say(ada.client, application.asks(), [])
    assert answer.status_code == 422
    again = await ada.client.get(links(answer)[1])
    assert (again.status_code, again.headers["content-language"]) == (200, "ru")
    for name, value in application.asks().items():
        assert f'name="{name}" value="{html.escape(value)}"' in again.text
    assert shown.status_code == 200
    async with browser(cast.app) as nobody:
        led = await say(nobody, application.asks(), [])
        onward = httpx2.URL(led.headers["location"]).params["next"]
    assert (await ada.client.get(onward)).status_code == 200
