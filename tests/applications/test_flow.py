"""The whole way: an application is registered, a member says yes, and tokens do what both of them may."""

import httpx2
from fastapi import FastAPI

from core.db import Database
from tests.applications.flow import register, returned, say, workspace_of
from tests.conftest import TestAgency, client_of


async def test_a_member_says_yes_and_the_token_reaches_what_was_chosen(
    app: FastAPI, database: Database, agency: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(app, agency)
    page = await browser.get("/oauth/authorize", params=application.asks())
    assert page.status_code == 200, page.text
    assert "Dashboard" in page.text
    assert workspace_of(agency) in page.text
    answer = await say(browser, application.asks(), [workspace_of(agency)])
    told = returned(answer)
    assert (told["state"], told["iss"]) == ("st", app.state.settings.public_url)
    tokens = (await application.exchange(told["code"])).json()
    assert tokens["scope"] == "post:read workspace:read"
    assert tokens["authorization_details"] == [{"type": "workspace", "identifiers": [workspace_of(agency)]}]
    async with client_of(app, tokens["access_token"]) as client:
        listed = await client.get("/v1/workspaces")
        assert [one["id"] for one in listed.json()["data"]] == [workspace_of(agency)]
        assert (await client.get(f"/v1/workspaces/{workspace_of(agency)}/posts")).status_code == 200
