"""The certified client, npm openid-client, through the whole flow against this server as it runs."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from core.db import Database
from tenants.applications.families import LEEWAY
from tests.applications.flow import CALLBACK, Application, register, workspace_of
from tests.conftest import Platform, TestAgency
from tests.people.people import join, make_person, signed_in
from tests.servers.real import HERE, packages

pytestmark = pytest.mark.real
SCOPE = "post:read workspace:read"


class Certified:
    """The client's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def tell(self, step: str, **more: Any) -> dict[str, Any]:
        """Let it do one step; what it tells is `ok` or `error`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"step": step, **more}).encode() + b"\n")
        answer = await asyncio.wait_for(self._process.stdout.readline(), 30)
        told: dict[str, Any] = json.loads(answer)
        return told

    async def do(self, step: str, **more: Any) -> Any:
        """Let it do a step that it is content with."""
        told = await self.tell(step, **more)
        assert "ok" in told, (step, told)
        return told["ok"]


@pytest.fixture
async def certified() -> AsyncIterator[Certified]:
    """A client for one test."""
    folder = packages()
    assert folder is not None
    process = await asyncio.create_subprocess_exec(
        folder / "node", HERE / "openid_client.mjs", env={"PATH": "/usr/bin:/bin", "PACKAGES": str(folder)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    yield Certified(process)
    process.terminate()
    await process.wait()


@pytest.fixture
async def browser(platform: Platform, database: Database, agency: TestAgency) -> AsyncIterator[httpx2.AsyncClient]:
    """The browser of a member who owns the agency."""
    user_id = await make_person(database, "ada@first.example")
    await join(database, agency, user_id, "owner")
    async with await signed_in(platform.app, database, user_id) as client:
        yield client


async def yes(browser: httpx2.AsyncClient, url: str, agency: TestAgency) -> str:
    """Open the page at the client's address, and say yes on it. Returns where that leads."""
    asked = dict(httpx2.URL(url).params)
    page = await browser.get("/oauth/authorize", params=asked)
    assert page.status_code == 200, page.text
    answer = await browser.post("/oauth/authorize", data=asked | {"decision": "allow", "workspace": workspace_of(agency)})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def discovered(certified: Certified, platform: Platform, name: str, application: Application, **more: Any) -> None:
    told = await certified.do(
        "discover", name=name, issuer=platform.url, id=application.client_id, secret=application.secret, **more
    )
    assert told == {"issuer": platform.url, "pkce": True, "iss": True}


@pytest.mark.parametrize("confidential", [False, True])
@pytest.mark.parametrize("pushed", [False, True])
async def test_the_certified_client_goes_the_whole_way(
    platform: Platform, database: Database, agency: TestAgency, browser: httpx2.AsyncClient, certified: Certified,
    confidential: bool, pushed: bool,
) -> None:  # fmt: skip
    application = await register(platform.app, agency, confidential=confidential)
    await discovered(certified, platform, "a", application)
    url = (await certified.do("url", name="a", redirect_uri=CALLBACK, scope=SCOPE, pushed=pushed))["url"]
    callback = await yes(browser, url, agency)
    # An answer that says to come from somebody else is refused by the client (RFC 9207)
    mixed = str(httpx2.URL(callback).copy_set_param("iss", "https://evil.example"))
    assert "error" in await certified.tell("code", name="a", callback=mixed)
    tokens = await certified.do("code", name="a", callback=callback)
    assert (tokens["token_type"], tokens["scope"], tokens["expires_in"]) == ("bearer", SCOPE, 600)
    resource = f"{platform.url}/v1/workspaces/{workspace_of(agency)}"
    assert (await certified.do("fetch", name="a", url=resource, token=tokens["access_token"]))["status"] == 200
    newer = await certified.do("refresh", name="a", token=tokens["refresh_token"])
    assert newer["refresh_token"] != tokens["refresh_token"]
    async with database.connection(agency.tenant) as db:
        await db.execute("update refresh_tokens set used_at = used_at - $1::interval", LEEWAY)
    # When the first comes again, it is refused, and its family with it
    assert (await certified.tell("refresh", name="a", token=tokens["refresh_token"]))["error"] == "invalid_grant"
    assert (await certified.tell("refresh", name="a", token=newer["refresh_token"]))["error"] == "invalid_grant"
    refused = await certified.tell("fetch", name="a", url=resource, token=newer["access_token"])
    assert "error" in refused or refused["ok"]["status"] == 401


@pytest.mark.parametrize("signed", [False, True])
async def test_the_certified_client_works_alone_and_asks_about_its_tokens(
    platform: Platform, agency: TestAgency, certified: Certified, signed: bool
) -> None:
    application = await register(platform.app, agency, confidential=True, workspace_ids=[workspace_of(agency)])
    await discovered(certified, platform, "a", application, signed=signed)
    token = (await certified.do("alone", name="a", scope="workspace:read"))["access_token"]
    told = await certified.do("introspect", name="a", token=token)
    assert (told["active"], told["scope"]) == (True, "workspace:read")
    assert told["authorization_details"] == [{"type": "workspace", "identifiers": [workspace_of(agency)]}]
    await certified.do("revoke", name="a", token=token)
    assert await certified.do("introspect", name="a", token=token) == {"active": False}
