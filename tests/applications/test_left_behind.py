"""Links and pages that somebody left for others to open end with who made them, and with the application that did so for him."""

from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from core.db import Database
from tests.applications.flow import Application, register, workspace_of
from tests.conftest import Platform, TestAgency, client_of
from tests.people.cast import Cast, Someone
from tests.people.people import browser

SCOPES = ("account:connect", "link:manage", "post:read", "workspace:read")


class Left:
    """A share link and a connect page, and a look at what opens."""

    def __init__(self, cast: Cast, link: str | None, page: str) -> None:
        self.link, self.page, self.visitor = link, page, browser(cast.app)

    async def opens(self) -> tuple[bool, bool]:
        """Whether each of them opens. A page takes credentials then, too."""
        shown, form = await self.visitor.get(self.page), {"handle": "no_such_handle"}
        sent = await self.visitor.post(self.page, data=form)
        assert (shown.status_code, sent.status_code) in {(200, 422), (400, 400)}, sent.text
        answer = await self.visitor.post("/v1/shared", json={"token": self.link or "x"})
        return answer.status_code == 200, shown.status_code == 200


async def leave(cast: Cast, client: httpx2.AsyncClient, *, link: bool = True) -> Left:
    """Make both by whoever calls."""
    base, token = f"/v1/workspaces/{workspace_of(cast.agency)}", None
    page = await client.post(f"{base}/connect-sessions", json={"network": "sandbox", "link": True})
    assert page.status_code == 201, page.text
    if link:
        async with client_of(cast.app, cast.agency.key) as house:
            wish = {"network": "sandbox", "credentials": {"handle": "always_ok"}, "targets": "all"}
            account = (await house.post(f"{base}/connect-sessions", json=wish)).json()["accounts"][0]["id"]
            post = (await house.post(f"{base}/posts", json={"text": "x", "account_ids": [account]})).json()["id"]
        made = await client.post(f"{base}/share-links", json={"purpose": "post", "post_id": post})
        assert made.status_code == 201, made.text
        token = made.json()["token"]
    return Left(cast, token, urlsplit(page.json()["url"]).path)


@pytest.fixture
def cast(platform: Platform, database: Database, agency: TestAgency) -> Cast:
    """Makes members of the first agency, on a system whose sandbox answers."""
    return Cast(platform.app, database, agency)


async def removal(ada: Someone, cleo: Someone, room: str) -> httpx2.Response:
    return await ada.client.delete(f"/v1/members/{cleo.id}")


async def demotion(ada: Someone, cleo: Someone, room: str) -> httpx2.Response:
    return await ada.client.put(f"/v1/workspaces/{room}/members/{cleo.id}", json={"role": "viewer"})


async def unassignment(ada: Someone, cleo: Someone, room: str) -> httpx2.Response:
    return await ada.client.delete(f"/v1/workspaces/{room}/members/{cleo.id}")


@pytest.mark.parametrize("ends", [removal, demotion, unassignment])
async def test_they_end_with_the_member_and_with_what_the_member_loses(cast: Cast, ends: Any) -> None:
    room = cast.agency.workspace.id
    ada = await cast.add("ada", "owner")
    cleo, dan = [await cast.add(name, "member", {room: "manager"}) for name in ("cleo", "dan")]
    hers, his = await leave(cast, cleo.client), await leave(cast, dan.client)
    assert await hers.opens() == (True, True)
    assert (await ends(ada, cleo, workspace_of(cast.agency))).status_code in {200, 204}
    assert (await hers.opens(), await his.opens()) == ((False, False), (True, True))


async def granted(cast: Cast, cleo: Someone, application: Application) -> tuple[Left, str]:
    """What an application leaves in a member's name, and its grant."""
    told = await application.tokens(cleo.client, [workspace_of(cast.agency)], " ".join(SCOPES))
    async with client_of(cast.app, told["access_token"]) as client:
        left = await leave(cast, client)
    async with client_of(cast.app, cast.agency.key) as owner:
        return left, (await owner.get("/v1/grants")).json()["data"][0]["id"]


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("ends", ["the grant", "the application", "its scopes"])
async def test_what_an_application_left_in_a_members_name_ends_with_its_grant_and_with_the_application(
    cast: Cast, other: TestAgency, ends: str, elsewhere: bool
) -> None:
    cleo = await cast.add("cleo", "member", {cast.agency.workspace.id: "manager"})
    home = other if elsewhere else cast.agency
    application, second = [await register(cast.app, home, scopes=SCOPES, offered=elsewhere) for _ in range(2)]
    (left, grant), (theirs, _) = [await granted(cast, cleo, one) for one in (application, second)]
    own = await leave(cast, cleo.client)
    assert await left.opens() == (True, True)
    async with client_of(cast.app, cast.agency.key) as owner, client_of(cast.app, home.key) as house:
        if ends == "the grant":
            done = await owner.delete(f"/v1/grants/{grant}")
        elif ends == "the application":
            done = await house.delete(f"/v1/applications/{application.id}")
        else:
            done = await house.patch(f"/v1/applications/{application.id}", json={"scopes": ["post:read"]})
    assert done.status_code in {200, 204}, done.text
    assert await left.opens() == (False, False)
    # And nothing else of the member's, nor of another application
    assert (await theirs.opens(), await own.opens()) == ((True, True), (True, True))


@pytest.mark.parametrize("ends", ["its secret", "the application", "its workspace"])
async def test_a_page_that_an_application_made_for_itself_ends_with_what_it_acted_by(cast: Cast, ends: str) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "admin")
    wish = {"name": "A", "confidential": True, "scopes": list(SCOPES), "workspace_ids": [workspace_of(cast.agency)]}
    told = (await ben.client.post("/v1/applications", json=wish | {"redirect_uris": []})).json()
    application = Application(told["id"], told["client_id"], told["client_secret"], client_of(cast.app, None))
    token = (await application.post("token", grant_type="client_credentials")).json()["access_token"]
    async with client_of(cast.app, token) as client:
        left = await leave(cast, client, link=False)
    assert (await left.opens())[1]
    if ends == "its secret":
        done = await ada.client.delete(f"/v1/members/{ben.id}")
    elif ends == "the application":
        done = await ada.client.delete(f"/v1/applications/{application.id}")
    else:
        done = await ada.client.patch(f"/v1/applications/{application.id}", json={"workspace_ids": []})
    assert done.status_code in {200, 204}, done.text
    assert not (await left.opens())[1]
