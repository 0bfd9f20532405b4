"""The redirect kind of connecting, whole, against a certified OpenID provider (oidc-provider)."""

# pytest hands fixtures over by name

import re
from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx2
import pytest

from networks.base import Network
from networks.oauth import OAuthServer
from tests.accounts.conftest import (  # noqa: F401  # fixtures of accounts, for the routes and the rows
    Caller,
    Worker,
    app,
    caller,
    connectors,
    http,
    ring,
    scripted,
    worker,
)
from tests.accounts.sandboxed import sandbox
from tests.servers.real import OidcServer, oidc_server

pytestmark = pytest.mark.real
CALLBACK = "http://127.0.0.1:8000/connect/callback/sandbox"
HOPS_MAX = 12


@pytest.fixture
def provider() -> Iterator[OidcServer]:
    """The provider, which knows our callback."""
    with oidc_server(CALLBACK) as server:
        yield server


@pytest.fixture
async def served(provider: OidcServer, connectors: dict[str, Network]) -> AsyncIterator[OidcServer]:  # a fixture
    """The sandbox with the redirect kind, among the networks."""
    issuer = provider.issuer
    oauth = OAuthServer(f"{issuer}/auth", f"{issuer}/token", f"{issuer}/me", provider.client_id, provider.client_secret, issuer)
    async with sandbox(oauth) as (network, _):
        connectors["sandbox"] = network
        yield provider


async def agree(url: str, login: str, *, refuse: bool = False) -> dict[str, str]:
    """Be the person's browser at the provider, until it sends back; returns what the callback gets."""
    async with httpx2.AsyncClient() as browser:
        answer = await browser.get(url)
        for _ in range(HOPS_MAX):
            if answer.is_redirect:
                target = urljoin(str(answer.url), answer.headers["location"])
                if target.startswith(CALLBACK):
                    return dict(parse_qsl(urlsplit(target).query))
                answer = await browser.get(target)
                continue
            form = re.search(r'action="([^"]+)"', answer.text)
            prompt = re.search(r'name="prompt" value="([^"]+)"', answer.text)
            assert form is not None, answer.text
            assert prompt is not None, answer.text
            if refuse:
                abort = re.search(r'href="([^"]+/abort)"', answer.text)
                assert abort is not None, answer.text
                answer = await browser.get(urljoin(str(answer.url), abort[1]))
                continue
            data = {"prompt": prompt[1], "login": login, "password": "x"}
            answer = await browser.post(urljoin(str(answer.url), form[1]), data=data)
    raise AssertionError("the provider never sent the person back")


async def begin(caller: Caller, path: str = "connect-sessions", **more: object) -> dict[str, str]:  # a fixture
    """Begin a redirect; returns the session."""
    wish = {"method": "redirect"} | ({} if "reconnect" in path else {"network": "sandbox"}) | more
    answer = await caller.call("POST", path, wish)
    assert answer.status_code == 201, answer.text
    read: dict[str, str] = answer.json()
    return read


async def come_back(caller: Caller, query: dict[str, str]) -> httpx2.Response:  # a fixture
    """Bring what the provider gave to our callback."""
    return await caller.http.get("/connect/callback/sandbox", params=query)


async def test_a_person_agrees_chooses_and_reconnects(
    caller: Caller,
    worker: Worker,
    served: OidcServer,  # fixtures
) -> None:
    session = await begin(caller)
    brought = await agree(session["authorize_url"], "alice")
    assert brought["iss"] == served.issuer
    answer = await come_back(caller, brought)
    assert (answer.status_code, "One more step" in answer.text) == (200, True)
    assert (await come_back(caller, brought)).status_code == 400, "the state is good once"
    done = await caller.call("POST", f"connect-sessions/{session['id']}/complete", {"targets": ["alice-page-2"]})
    (account,) = done.json()["accounts"]
    assert (account["external_id"], account["state"]) == ("alice-page-2", "active")

    again = await begin(caller, f"accounts/{account['id']}/reconnect")
    other = await come_back(caller, await agree(again["authorize_url"], "mallory"))
    assert other.status_code == 409
    assert (await caller.call("GET", f"accounts/{account['id']}")).json() == account
    again = await begin(caller, f"accounts/{account['id']}/reconnect")
    assert (await come_back(caller, await agree(again["authorize_url"], "alice"))).status_code == 200
    mended = (await caller.call("GET", f"accounts/{account['id']}")).json()
    assert mended["connection"]["id"] != account["connection"]["id"]
    assert await worker.owner.fetchval("select count(*) from accounts") == 1


async def test_a_person_who_refuses_leaves_nothing(
    caller: Caller,
    worker: Worker,
    served: OidcServer,  # fixtures
) -> None:
    session = await begin(caller)
    brought = await agree(session["authorize_url"], "alice", refuse=True)
    assert brought["error"] == "access_denied"
    answer = await come_back(caller, brought)
    assert (answer.status_code, "Access was not granted" in answer.text) == (422, True)
    assert await worker.owner.fetchval("select count(*) from accounts") == 0


async def test_a_code_is_worth_nothing_in_another_session(
    caller: Caller,
    worker: Worker,
    served: OidcServer,  # fixtures
) -> None:
    """PKCE: the code was asked for with the verifier of one session, and another session has another."""
    first, second = await begin(caller), await begin(caller)
    stolen = await agree(first["authorize_url"], "alice")
    state = dict(parse_qsl(urlsplit(second["authorize_url"]).query))["state"]
    answer = await come_back(caller, stolen | {"state": state})
    assert answer.status_code == 422
    assert await worker.owner.fetchval("select count(*) from accounts") == 0
