"""The agency itself: its name, and its handing over from one owner to another."""

import asyncio

import httpx2
from fastapi import FastAPI

from core.clock import now
from core.db import Database
from core.ids import encode, new_id
from tenants.agencies.keys import create_key
from tenants.agencies.schemas import KeyCreate
from tenants.permissions import Permission
from tests.conftest import TestAgency, client_of
from tests.people.cast import Cast
from tests.people.credentials import add_app
from tests.people.people import join
from tests.walls.matrix import same


async def test_an_admin_renames_the_agency_and_the_other_mode_keeps_its_name(cast: Cast) -> None:
    ben, cleo = await cast.add("ben", "admin"), await cast.add("cleo", "billing")
    refused = await cleo.client.patch("/v1/agency", json={"name": "Mine"})
    assert (refused.status_code, refused.json()["required_permission"]) == (403, "agency:update")
    assert (await ben.client.patch("/v1/agency", json={"name": "New name"})).json()["name"] == "New name"
    assert (await ben.client.patch("/v1/agency", json={})).json()["name"] == "New name"
    assert (await cleo.client.get("/v1/me")).json()["agency"]["name"] == "New name"
    (entry,) = (await ben.client.get("/v1/audit-entries")).json()["data"]
    was = {"name": "First", "second_factor_required": False}
    assert (entry["action"], entry["before"], entry["after"]) == ("agency.update", was, was | {"name": "New name"})
    assert cast.agency.sibling is not None
    async with client_of(cast.app, cast.agency.sibling.key) as live:
        assert (await live.get("/v1/me")).json()["agency"]["name"] == "First"
    for name in ("", " ", "x" * 201, None):
        assert (await ben.client.patch("/v1/agency", json={"name": name})).status_code == 422


async def test_a_key_that_is_bound_to_workspaces_does_not_rename_the_agency(
    app: FastAPI, database: Database, agency: TestAgency
) -> None:  # fmt: skip
    async with database.session(agency.tenant) as session:
        wish = KeyCreate(name="k", scopes=list(Permission), workspace_ids=[agency.workspace.id])
        _, text = await create_key(session, agency.actor, wish, now())
    async with client_of(app, text) as bound:
        assert (await bound.patch("/v1/agency", json={"name": "Mine"})).status_code == 403


async def test_an_owner_hands_the_agency_over_and_is_an_admin_with_its_keys(cast: Cast) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "member")
    key = (await ada.client.post("/v1/api-keys", json={"name": "hers", "scopes": [*Permission]})).json()["key"]
    answer = await ada.client.post("/v1/agency/transfer", json={"member_id": ben.id}, headers={"Idempotency-Key": "once"})
    assert (answer.status_code, answer.json()["id"], answer.json()["role"]) == (200, ben.id, "owner")
    assert (await ada.client.get("/v1/me")).json()["actor"]["role"] == "admin"
    again = await ada.client.post("/v1/agency/transfer", json={"member_id": ben.id})
    assert (again.status_code, again.json()["required_permission"]) == (403, "agency:transfer")
    async with client_of(cast.app, key) as client:
        assert (await client.get("/v1/me")).status_code == 200
        refused = await client.post("/v1/agency/transfer", json={"member_id": ada.id})
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    (entry,) = (await ben.client.get("/v1/audit-entries?action=agency.transfer")).json()["data"]
    assert (entry["before"], entry["after"]) == ({"owner": ada.id}, {"owner": ben.id})
    assert (await ben.client.delete(f"/v1/members/{ada.id}")).status_code == 204


async def test_the_agency_goes_to_a_member_of_it_who_is_no_owner(
    cast: Cast, app: FastAPI, database: Database, other: TestAgency
) -> None:
    ada, amy, gone = await cast.add("ada", "owner"), await cast.add("amy", "owner"), await cast.add("gone", "member")
    bob = await Cast(app, database, other).add("bob", "member")
    assert (await ada.client.delete(f"/v1/members/{gone.id}")).status_code == 204
    answers = [
        await ada.client.post("/v1/agency/transfer", json={"member_id": id}) for id in (bob.id, gone.id, encode("mem", new_id()))
    ]
    assert {(one.status_code, one.json()["errors"][0]["pointer"]) for one in answers} == {(422, "/member_id")}
    assert same(answers[0]) == same(answers[1]) == same(answers[2])
    for id in (ada.id, amy.id):
        assert (await ada.client.post("/v1/agency/transfer", json={"member_id": id})).status_code == 409
    assert (await ada.client.get("/v1/me")).json()["actor"]["role"] == "owner"


async def test_an_agency_that_is_handed_over_to_two_at_once_goes_to_one(cast: Cast) -> None:
    ada, ben, cleo = await cast.add("ada", "owner"), await cast.add("ben", "member"), await cast.add("cleo", "member")

    async def hand_over(id: str) -> httpx2.Response:
        return await ada.client.post("/v1/agency/transfer", json={"member_id": id})

    answers = await asyncio.gather(hand_over(ben.id), hand_over(cleo.id))
    assert sorted(one.status_code for one in answers) == [200, 403]
    roles = [(await one.client.get("/v1/me")).json()["actor"]["role"] for one in (ada, ben, cleo)]
    assert sorted(roles) == ["admin", "member", "owner"]


async def test_an_agency_lets_only_members_with_a_second_factor_in(cast: Cast, other: TestAgency) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "member", {cast.agency.workspace.id: "manager"})
    await join(cast.database, other, ben.user_id, "member")
    await add_app(ada.client)
    required = await ada.client.patch("/v1/agency", json={"second_factor_required": True})
    assert required.status_code == 200, required.text
    assert required.json()["second_factor_required"] is True
    workspace = f"/v1/workspaces/{encode('wsp', cast.agency.workspace.id)}"
    for path in ("/v1/me", "/v1/workspaces", f"{workspace}/posts", "/v1/publications"):
        refused = await ben.client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required"), path
        assert (await ada.client.get(path)).status_code == 200, path
    made = await ben.client.post(f"{workspace}/posts", json={"text": "x"})
    assert (made.status_code, made.json()["code"]) == (403, "second_factor_required")
    # Another agency, and a key of this one, are not concerned
    elsewhere = {"Octavo-Agency": encode("agc", other.actor.agency_id)}
    assert (await ben.client.get("/v1/me", headers=elsewhere)).status_code == 200
    async with client_of(cast.app, cast.agency.key) as key:
        assert (await key.get("/v1/me")).status_code == 200
    # And the member adds a factor, which opens it; without one it is closed again
    assert (await ben.client.get("/v1/me/second-factors")).status_code == 200
    await add_app(ben.client)
    assert (await ben.client.get("/v1/me")).status_code == 200
    assert (await ben.client.delete("/v1/me/totp")).status_code == 204
    assert (await ben.client.get("/v1/me")).status_code == 403
    (entry,) = (await ada.client.get("/v1/audit-entries?action=agency.update")).json()["data"]
    assert entry["after"] == {"name": "First", "second_factor_required": True}
