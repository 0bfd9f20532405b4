"""The consent page: what is not proven leads nowhere, and nobody hands on what is not theirs."""

import re
from html import unescape
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from core.db import Database
from core.ids import encode
from tests.applications.flow import CALLBACK, FORM, Application, register, returned, say, workspace_of
from tests.conftest import TestAgency, client_of
from tests.people.people import browser as stranger_in
from tests.people.people import join, make_person, signed_in

PAGES: list[dict[str, Any]] = [
    {"client_id": None},
    {"client_id": "oci_" + "0" * 52},
    {"client_id": "x"},
    {"client_id": "oci_é"},
    {"redirect_uri": None},
    {"redirect_uri": "https://evil.example/callback"},
    {"redirect_uri": CALLBACK + "/"},
    {"redirect_uri": CALLBACK + "?next=1"},
    {"redirect_uri": CALLBACK + "#x"},
    {"redirect_uri": CALLBACK.replace("https", "http")},
    {"redirect_uri": CALLBACK.upper()},
    {"redirect_uri": 'https://evil.example/"\\<b>'},
    {"request": "eyJ"},
    {"request_uri": "https://evil.example/request"},
    {"request_uri": "urn:ietf:params:oauth:request_uri:made-up"},
    {"response_type": "token", "redirect_uri": "https://evil.example/"},
    {"response_type": 'x"y'},
]
"""What must end at a page: application or address are not proven, or it is nothing that one could answer."""
BACK: list[tuple[dict[str, Any], str]] = [
    ({"response_type": None}, "unsupported_response_type"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_type": "code id_token"}, "unsupported_response_type"),
    ({"code_challenge": None}, "invalid_request"),
    ({"code_challenge": "short"}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge_method": None}, "invalid_request"),
    ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    ({"scope": "post:read key:manage"}, "invalid_scope"),
    ({"scope": "everything"}, "invalid_scope"),
    ({"response_mode": "fragment"}, "invalid_request"),
    ({"resource": "https://other.example"}, "invalid_target"),
]
"""What the application can be told, since both are proven: when the person goes back to it, and never by itself."""


async def ask(browser: httpx2.AsyncClient, method: str, asks: dict[str, str]) -> httpx2.Response:
    if method == "GET":
        return await browser.get("/oauth/authorize", params=asks)
    return await say(browser, asks, [])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("wrong", PAGES, ids=str)
async def test_what_is_not_proven_ends_at_a_page(
    app: FastAPI, agency: TestAgency, browser: httpx2.AsyncClient, method: str, wrong: dict[str, Any]
) -> None:
    application = await register(app, agency)
    for client in (browser, stranger_in(app)):  # nobody is asked to sign in for it either
        answer = await ask(client, method, application.asks(**wrong))
        assert answer.status_code == 400, answer.text
        assert "location" not in answer.headers
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "//evil.example" not in answer.text


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("wrong", "error"), BACK, ids=str)
async def test_what_is_proven_and_wrong_ends_at_a_page_that_shows_the_way_back(
    app: FastAPI, agency: TestAgency, browser: httpx2.AsyncClient, method: str, wrong: dict[str, Any], error: str
) -> None:
    application = await register(app, agency)
    for client in (browser, stranger_in(app)):
        answer = await ask(client, method, application.asks(**wrong))
        assert (answer.status_code, "location" in answer.headers) == (400, False)
        assert re.search(rf"{error}(</bdi>)?</p>\s*<p[^>]*>[^<=]{{15,}}</p>", answer.text), answer.text
        (address,) = re.findall(rf'href="({re.escape(CALLBACK)}\?[^"]+)"', answer.text)
        told = dict(httpx2.URL(unescape(address)).params)
        assert told == {"error": error, "state": "st", "iss": app.state.settings.public_url}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_stands_in_it_twice_ends_at_a_page(
    app: FastAPI, agency: TestAgency, browser: httpx2.AsyncClient, method: str
) -> None:
    application = await register(app, agency)
    for name in ("client_id", "redirect_uri", "scope", "state", "code_challenge"):
        query = str(httpx2.QueryParams(application.asks())) + f"&{name}=x"
        if method == "GET":
            answer = await browser.get(f"/oauth/authorize?{query}")
        else:
            answer = await browser.post("/oauth/authorize", content=query, headers=FORM)
        assert (answer.status_code, "location" in answer.headers) == (400, False), name


async def test_another_site_cannot_say_yes_for_a_member(app: FastAPI, agency: TestAgency, browser: httpx2.AsyncClient) -> None:
    application = await register(app, agency)
    for site in ("cross-site", "same-site", "none"):
        browser.headers["Sec-Fetch-Site"] = site
        answer = await say(browser, application.asks(), [workspace_of(agency)])
        assert (answer.status_code, "location" in answer.headers) == (403, False)


async def test_who_is_not_signed_in_comes_back_after_it(app: FastAPI, agency: TestAgency) -> None:
    application = await register(app, agency)
    async with stranger_in(app) as nobody:
        answer = await nobody.get("/oauth/authorize", params=application.asks())
        assert answer.status_code == 303
        assert httpx2.URL(returned(answer)["next"]).params["client_id"] == application.client_id


async def test_a_no_is_told_and_grants_nothing(app: FastAPI, agency: TestAgency, browser: httpx2.AsyncClient) -> None:
    application = await register(app, agency)
    answer = await say(browser, application.asks(), [workspace_of(agency)], "deny")
    assert returned(answer)["error"] == "access_denied"
    async with client_of(app, agency.key) as client:
        assert (await client.get("/v1/grants")).json()["data"] == []


async def test_without_a_workspace_the_page_asks_once_more(app: FastAPI, agency: TestAgency, browser: httpx2.AsyncClient) -> None:
    application = await register(app, agency)
    answer = await say(browser, application.asks(), [])
    assert (answer.status_code, 'role="alert"' in answer.text) == (422, True)


async def test_an_application_chooses_no_workspace_for_who_is_asked(
    app: FastAPI, agency: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application, room = await register(app, agency), encode("wsp", agency.workspace.id)
    page = await browser.get("/oauth/authorize", params=application.asks() | {"workspace": room})
    assert (page.status_code, room in page.text, "checked" in page.text) == (200, True, False)


async def test_nobody_hands_on_a_workspace_of_another_agency_or_one_that_it_does_not_reach(
    app: FastAPI, database: Database, agency: TestAgency, other: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(app, agency)
    async with client_of(app, agency.key) as client:
        room = (await client.post("/v1/workspaces", json={"name": "Closed", "time_zone": "UTC"})).json()["id"]
    user_id = await make_person(database, "vera@first.example")
    await join(database, agency, user_id, "member", {agency.workspace.id: "viewer"})
    async with await signed_in(app, database, user_id) as vera:
        assert "Closed" not in (await vera.get("/oauth/authorize", params=application.asks())).text
        for one in (room, workspace_of(other), "wsp_01kazm3v9sfa4t2tq9gk1x7c5e", "x"):
            for chosen in ([one], [workspace_of(agency), one]):
                answer = await say(vera, application.asks(), chosen)
                assert (answer.status_code, "location" in answer.headers) == (404, False)
    assert (await say(browser, application.asks(), [workspace_of(other)])).status_code == 404


async def test_a_member_hands_on_no_scope_that_it_lacks(app: FastAPI, database: Database, agency: TestAgency) -> None:
    application = await register(app, agency, scopes=("post:read", "post:create"))
    user_id = await make_person(database, "vera@first.example")
    await join(database, agency, user_id, "member", {agency.workspace.id: "viewer"})
    async with await signed_in(app, database, user_id) as vera:
        tokens = await application.tokens(vera, [workspace_of(agency)], "post:read post:create")
        assert tokens["scope"] == "post:read"
        answer = await say(vera, application.asks("post:create"), [workspace_of(agency)])
        assert answer.status_code == 422


async def test_an_application_is_for_its_own_agency_until_it_is_offered(
    app: FastAPI, database: Database, agency: TestAgency, other: TestAgency, ada: UUID
) -> None:
    application = await register(app, agency)
    user_id = await make_person(database, "bob@second.example")
    await join(database, other, user_id, "owner")
    async with await signed_in(app, database, user_id) as bob, client_of(app, agency.key) as client:
        # Given somebody of another agency, for whom it is not there
        assert (await bob.get("/oauth/authorize", params=application.asks())).status_code == 404
        assert (await say(bob, application.asks(), [workspace_of(other)])).status_code == 404
        # When it is offered, the grant is that agency's, and the owner of the application sees nothing of it
        await client.patch(f"/v1/applications/{application.id}", json={"offered": True})
        tokens = await application.tokens(bob, [workspace_of(other)])
        assert (await client.get("/v1/grants")).json()["data"] == []
        async with client_of(app, other.key) as theirs, client_of(app, tokens["access_token"]) as caller:
            (grant,) = (await theirs.get("/v1/grants")).json()["data"]
            assert grant["application"] == {"id": application.id, "name": "Dashboard"}
            assert (await theirs.get("/v1/applications")).json()["data"] == []
            assert (await caller.get(f"/v1/workspaces/{workspace_of(other)}")).status_code == 200
            assert (await caller.get(f"/v1/workspaces/{workspace_of(agency)}")).status_code == 404
            # And when it is offered no longer, its tokens there are worth nothing
            await client.patch(f"/v1/applications/{application.id}", json={"offered": False})
            assert (await caller.get(f"/v1/workspaces/{workspace_of(other)}")).status_code == 401
            assert (await application.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_who_is_in_several_agencies_says_for_which(
    app: FastAPI, database: Database, agency: TestAgency, other: TestAgency, ada: UUID, browser: httpx2.AsyncClient
) -> None:
    assert agency.sibling is not None
    application = await register(app, agency, offered=True)
    await join(database, other, ada, "admin")
    await join(database, agency.sibling, ada, "owner")  # live data, which an application of test data never sees
    page = await browser.get("/oauth/authorize", params=application.asks())
    assert workspace_of(agency) not in page.text
    for one, seen in ((agency, 200), (other, 200), (agency.sibling, 404)):
        params = application.asks() | {"agency": encode("agc", one.actor.agency_id)}
        answer = await browser.get("/oauth/authorize", params=params)
        assert (answer.status_code, workspace_of(one) in answer.text) == (seen, seen == 200)


async def test_a_pushed_request_counts_once_and_for_its_own_application(
    app: FastAPI, agency: TestAgency, database: Database, browser: httpx2.AsyncClient
) -> None:
    application, another = await register(app, agency, confidential=True), await register(app, agency)
    pushed = await application.post("par", **application.asks())
    assert (pushed.status_code, pushed.json()["expires_in"]) == (201, 600)
    short = {"client_id": application.client_id, "request_uri": pushed.json()["request_uri"]}
    assert (await browser.get("/oauth/authorize", params=short)).status_code == 200
    assert (await browser.get("/oauth/authorize", params=short | {"client_id": another.client_id})).status_code == 400
    async with database.connection(agency.tenant) as db:  # the person reads for some minutes
        await db.execute("update pushed_requests set expires_at = expires_at - interval '5 minutes'")
    answer = await say(browser, short, [workspace_of(agency)])
    assert (await application.exchange(returned(answer)["code"])).status_code == 200
    assert (await say(browser, short, [workspace_of(agency)])).status_code == 400
    # And it is refused where a request would be, and without the secret
    wrong = await application.post("par", **application.asks(redirect_uri="https://evil.example/"))
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_request")
    nobody = Application(application.id, application.client_id, None, application.door)
    assert (await nobody.post("par", **application.asks())).json()["error"] == "invalid_client"


@pytest.mark.parametrize(
    ("registered", "asked", "right"),
    [
        ("http://127.0.0.1/callback", "http://127.0.0.1:49152/callback", True),
        ("http://127.0.0.1:80/callback", "http://127.0.0.1/callback", True),
        ("http://[::1]/callback", "http://[::1]:8000/callback", True),
        ("http://127.0.0.1/callback", "http://127.0.0.1:49152/other", False),
        ("http://127.0.0.1/callback", "http://127.0.0.1:49152@evil.example/callback", False),
        ("http://127.0.0.1/callback", "http://127.0.0.1.evil.example/callback", False),
        ("http://127.0.0.1/callback", "http://localhost/callback", False),
        ("http://localhost:3000/callback", "http://localhost:3001/callback", False),
        ("https://dashboard.example/callback", "https://dashboard.example:444/callback", False),
    ],
)
async def test_only_the_port_of_a_loopback_address_is_free(
    app: FastAPI, agency: TestAgency, browser: httpx2.AsyncClient, registered: str, asked: str, right: bool
) -> None:
    application = await register(app, agency, redirect_uris=[registered])
    answer = await browser.get("/oauth/authorize", params=application.asks(redirect_uri=asked))
    assert answer.status_code == (200 if right else 400)
