"""An application as a third party has it, and the way through the consent page to its tokens."""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from fastapi import FastAPI

from core.ids import encode
from tests.conftest import TestAgency, client_of

CALLBACK = "https://dashboard.example/callback"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class Application:
    """What a third party knows of its application; `door` is a client without a key."""

    id: str
    client_id: str
    secret: str | None
    door: httpx2.AsyncClient
    redirect_uri: str = CALLBACK
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def auth(self) -> httpx2.BasicAuth | None:
        """HTTP Basic of who has a secret."""
        return None if self.secret is None else httpx2.BasicAuth(self.client_id, self.secret)

    def asks(self, scope: str = "post:read workspace:read", **more: str | None) -> dict[str, str]:
        """The parameters of an authorization request; None takes one away."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        made = {
            "response_type": "code", "client_id": self.client_id, "redirect_uri": self.redirect_uri, "scope": scope, "state": "st",
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="), "code_challenge_method": "S256",
        } | more  # fmt: skip
        return {name: value for name, value in made.items() if value is not None}

    async def post(self, path: str, **values: str) -> httpx2.Response:
        """Call an endpoint of the authorization server as this application."""
        if self.secret is None:
            values.setdefault("client_id", self.client_id)
        return await self.door.post(f"/oauth/{path}", data=values, auth=self.auth)

    async def exchange(self, code: str, **more: str) -> httpx2.Response:
        """Bring a code."""
        values = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri} | more
        return await self.post("token", code_verifier=values.pop("code_verifier", self.verifier), **values)

    async def refresh(self, token: str, **more: str) -> httpx2.Response:
        """Bring a refresh token."""
        return await self.post("token", grant_type="refresh_token", refresh_token=token, **more)

    async def consented(self, browser: httpx2.AsyncClient, workspaces: list[str], scope: str = "post:read workspace:read") -> str:
        """Let a person say yes. Returns the code."""
        answer = await say(browser, self.asks(scope), workspaces)
        assert answer.status_code == 303, answer.text
        return returned(answer)["code"]

    async def tokens(
        self, browser: httpx2.AsyncClient, workspaces: list[str], scope: str = "post:read workspace:read"
    ) -> dict[str, Any]:
        """Go the whole way."""
        answer = await self.exchange(await self.consented(browser, workspaces, scope))
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


async def register(
    app: FastAPI, agency: TestAgency, *, confidential: bool = False, scopes: tuple[str, ...] = ("post:read", "workspace:read"),
    **more: Any,
) -> Application:  # fmt: skip
    """Register an application by the agency's key."""
    wish = {"name": "Dashboard", "confidential": confidential, "redirect_uris": [CALLBACK], "scopes": list(scopes)} | more
    async with client_of(app, agency.key) as client:
        made = await client.post("/v1/applications", json=wish)
    assert made.status_code == 201, made.text
    told = made.json()
    return Application(told["id"], told["client_id"], told["client_secret"], client_of(app, None))


async def say(
    browser: httpx2.AsyncClient, asks: dict[str, str], workspaces: list[str], decision: str = "allow", **more: str
) -> httpx2.Response:  # fmt: skip
    """Send the form of the consent page."""
    pairs: dict[str, Any] = asks | more | {"decision": decision, "workspace": workspaces}
    return await browser.post("/oauth/authorize", data=pairs)


def returned(answer: httpx2.Response) -> dict[str, str]:
    """What came back in the address of a redirect."""
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def workspace_of(agency: TestAgency) -> str:
    """The id of an agency's workspace."""
    return encode("wsp", agency.workspace.id)
