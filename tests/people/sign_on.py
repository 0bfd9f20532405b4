"""Members who come by a provider of their agency, as tests bring them."""

import re
from html import unescape
from typing import Any

import httpx2
from fastapi import FastAPI

from core.ids import encode
from tests.conftest import TestAgency
from tests.fakes.openid import CLIENT, Provider
from tests.people.people import browser


def agc(agency: TestAgency) -> str:
    """The id of an agency."""
    return encode("agc", agency.actor.agency_id)


def wish(issuer: str, **more: Any) -> dict[str, Any]:
    """What sets a provider."""
    return {"name": "Agency staff", "issuer": issuer, "domains": ["first.example"], **CLIENT} | more


async def set_provider(client: httpx2.AsyncClient, issuer: str, **more: Any) -> str:
    """Set a provider as a member does; returns its id."""
    answer = await client.post("/v1/identity-providers", json=wish(issuer, **more))
    assert answer.status_code == 201, answer.text
    id: str = answer.json()["id"]
    return id


async def leave(door: httpx2.AsyncClient, agency: TestAgency, provider_id: str, **more: str) -> str:
    """Go from the page of an agency to its provider; returns the address there."""
    answer = await door.post(f"/sign-on/{agc(agency)}", data={"provider": provider_id} | more)
    assert answer.status_code == 200, answer.text
    found = re.search(r'class="button" href="([^"]+)"', answer.text)
    assert found is not None, answer.text
    return unescape(found[1])


async def come_back(door: httpx2.AsyncClient, agency: TestAgency, brought: dict[str, str]) -> httpx2.Response:
    """Come back with what the provider gave."""
    return await door.get(f"/sign-on/callback/{agc(agency)}", params=brought)


async def come(
    door: httpx2.AsyncClient, agency: TestAgency, provider: Provider, provider_id: str, email: str, **spoil: Any
) -> httpx2.Response:  # fmt: skip
    """The whole way."""
    return await come_back(door, agency, provider.agree(await leave(door, agency, provider_id), email, **spoil))


def door_of(app: FastAPI, address: str = "127.0.0.1") -> httpx2.AsyncClient:
    """A browser of nobody yet."""
    return browser(app, address)
