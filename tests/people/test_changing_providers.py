"""Changing an identity provider: what may change does for the next sign-in, who is known stays known, and nobody gains by it."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from core.settings import Settings
from tests.conftest import TestAgency, free_port
from tests.fakes.openid import CLIENT, Provider, openid_provider
from tests.people.cast import Cast, Someone
from tests.people.sign_on import come, come_back, door_of, leave, set_provider
from tests.people.test_sign_on import BEN, ada, ben, is_refused, owner

__all__ = ["ada", "ben", "owner"]
NEXT = "next-only-for-tests-of-sign-on"


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A provider on loopback."""
    async with openid_provider(free_port()) as running:
        yield running


@pytest.fixture
async def door(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser of nobody yet."""
    async with door_of(app) as client:
        yield client


async def change(client: httpx2.AsyncClient, id: str, **wish: Any) -> httpx2.Response:
    """Change a provider."""
    return await client.patch(f"/v1/identity-providers/{id}", json=wish)


async def test_what_changes_holds_for_the_next_sign_in_and_who_is_known_stays_known(
    app: FastAPI, door: httpx2.AsyncClient, ada: Someone, ben: Someone, agency: TestAgency, provider: Provider,
    owner: asyncpg.Connection,
) -> None:  # fmt: skip
    id = await set_provider(ada.client, provider.issuer)
    assert (await come(door, agency, provider, id, BEN)).status_code == 303
    before = (await ada.client.get(f"/v1/identity-providers/{id}")).json()
    wish = {"name": "Staff", "client_id": "octavo-2", "domains": ["second.example", "first.example", "second.example"]}
    changed = await change(ada.client, id, client_secret=NEXT, **wish)
    assert changed.status_code == 200, changed.text
    read = before | wish | {"domains": ["first.example", "second.example"]}
    assert changed.json() == read == (await ada.client.get(f"/v1/identity-providers/{id}")).json()
    # The session goes on, and in another browser the same member comes in, by the new registration
    assert (await door.get("/v1/me")).json()["actor"]["id"] == ben.id
    async with door_of(app, "127.0.0.2") as another:
        assert "Staff" in (await another.get(f"/sign-on/{read['sign_on_url'].rpartition('/')[2]}")).text
        url = await leave(another, agency, id)
        assert "client_id=octavo-2" in url
        assert (await come_back(another, agency, provider.agree(url, BEN))).status_code == 303
        assert (await another.get("/v1/me")).json()["actor"]["id"] == ben.id
    sent = base64.b64decode(provider.asked[-1]["authorization"].removeprefix("Basic ")).decode()
    assert sent == f"octavo-2:{NEXT}"
    assert await owner.fetchval("select count(*) from identities") == 1


async def test_a_domain_that_is_taken_away_lets_nobody_in_any_more_and_a_new_one_does(
    app: FastAPI, door: httpx2.AsyncClient, ada: Someone, ben: Someone, agency: TestAgency, provider: Provider
) -> None:
    id = await set_provider(ada.client, provider.issuer, domains=["second.example"])
    assert is_refused(await come(door, agency, provider, id, BEN))
    assert (await change(ada.client, id, domains=["first.example"])).status_code == 200
    assert (await come(door, agency, provider, id, BEN)).status_code == 303
    # Somebody who is at the provider meanwhile is judged by what holds when he comes back
    async with door_of(app, "127.0.0.2") as another:
        brought = provider.agree(await leave(another, agency, id), BEN)
        assert (await change(ada.client, id, domains=["second.example"])).status_code == 200
        assert is_refused(await come_back(another, agency, brought))
    assert (await door.get("/v1/me")).status_code == 200, "the session goes on"


@pytest.mark.parametrize(
    ("wish", "pointer"),
    [
        ({"domains": []}, "/domains"), ({"domains": ["First.example"]}, "/domains/0"), ({"domains": ["x"]}, "/domains/0"),
        ({"domains": ["*.example"]}, "/domains/0"), ({"domains": ["a@first.example"]}, "/domains/0"),
        ({"domains": [f"d{number}.example" for number in range(21)]}, "/domains"), ({"domains": None}, "/domains"),
        ({"name": ""}, "/name"), ({"name": None}, "/name"), ({"client_id": ""}, "/client_id"), ({"client_id": None}, "/client_id"),
        ({"client_secret": ""}, "/client_secret"), ({"client_secret": None}, "/client_secret"),
        ({"issuer": "https://evil.example"}, "/issuer"), ({"second_factor": True}, "/second_factor"),
        ({"set_by_member_id": "mem_00000000000000000000000000"}, "/set_by_member_id"),
    ],
    ids=str,
)  # fmt: skip
async def test_what_could_not_be_set_is_no_change_either(ada: Someone, wish: dict[str, Any], pointer: str) -> None:
    id = await set_provider(ada.client, "https://id.first.example")
    before = (await ada.client.get(f"/v1/identity-providers/{id}")).json()
    refused = await change(ada.client, id, **wish)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer), refused.text
    assert (await ada.client.get(f"/v1/identity-providers/{id}")).json() == before


async def test_a_provider_is_changed_in_person_by_who_may_as_much_as_who_set_it(
    app: FastAPI, cast: Cast, ada: Someone, ben: Someone, client: httpx2.AsyncClient, other: TestAgency
) -> None:
    id = await set_provider(ada.client, "https://id.first.example")
    eve = await cast.add("eve", "admin")
    for caller in (client, ben.client, eve.client):
        refused = await change(caller, id, domains=["evil.example"])
        assert (refused.status_code, refused.json()["required_permission"]) == (403, "sign_on:manage")
    stranger = await Cast(app, cast.database, other).add("sam", "owner")
    assert (await change(stranger.client, id, name="Mine")).status_code == 404
    assert (await ada.client.get(f"/v1/identity-providers/{id}")).json()["domains"] == ["first.example"]
    # What an admin set, admins change, and owners do; and it stays the admin's, so it lets in no owner by that
    hers = await set_provider(eve.client, "https://other.first.example")
    for caller in (eve.client, ada.client):
        changed = await change(caller, hers, name="Other staff")
        assert (changed.status_code, changed.json()["set_by_member_id"]) == (200, eve.id)


async def test_what_ended_with_who_set_it_does_not_come_to_life_by_a_change(
    door: httpx2.AsyncClient, cast: Cast, ada: Someone, ben: Someone, agency: TestAgency, provider: Provider
) -> None:
    eve = await cast.add("eve", "admin")
    id = await set_provider(eve.client, provider.issuer)
    assert (await come(door, agency, provider, id, BEN)).status_code == 303
    assert (await ada.client.delete(f"/v1/members/{eve.id}")).status_code == 204
    assert (await door.get("/v1/me")).status_code == 401
    refused = await change(ada.client, id, name="Staff")
    assert (refused.status_code, refused.json()["code"]) == (409, "state_conflict")
    assert (await door.get("/v1/me")).status_code == 401


async def test_a_change_is_in_the_log_without_the_secret_also_where_nothing_else_changes(
    ada: Someone, owner: asyncpg.Connection, settings: Settings
) -> None:
    id = await set_provider(ada.client, "https://id.first.example")
    once = {"Idempotency-Key": "once"}
    for _ in range(2):  # the second is a repeat of the first
        answer = await ada.client.patch(f"/v1/identity-providers/{id}", json={"client_secret": NEXT}, headers=once)
        assert answer.status_code == 200
        assert NEXT not in answer.text
    assert (await change(ada.client, id, name="Agency staff")).status_code == 200  # as it is
    assert (await change(ada.client, id, name="Staff")).status_code == 200
    told = (await ada.client.get("/v1/audit-entries?action=identity_provider.update")).json()["data"]
    assert [one["actor"]["id"] for one in told] == [ada.id, ada.id]
    assert (told[0]["before"]["name"], told[0]["after"]["name"]) == ("Agency staff", "Staff")
    assert told[1]["after"] == told[1]["before"] | {"client_secret_replaced": True}
    log = str(await owner.fetch("select before, after from audit_entries"))
    held = str(dict(await owner.fetchrow("select * from identity_providers")))
    for secret in (NEXT, CLIENT["client_secret"]):
        assert secret not in log + held
