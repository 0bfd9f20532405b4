"""Members through the door: seen, changed, removed; nobody gives what he lacks, the last owner stays, keys die with their maker."""

import asyncio

import pytest
from fastapi import FastAPI

from core.clock import now
from core.db import Database
from core.ids import encode, new_id
from tenants.agencies.keys import create_key
from tenants.agencies.schemas import KeyCreate
from tenants.permissions import OF_THE_OWNER, Permission
from tests.conftest import TestAgency, client_of
from tests.people.cast import Cast
from tests.walls.matrix import same


async def test_an_agency_lists_its_own_people_only(
    cast: Cast, app: FastAPI, database: Database, other: TestAgency
) -> None:  # fmt: skip
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "member", {cast.agency.workspace.id: "content"})
    bob = await Cast(app, database, other).add("bob", "owner")
    rows = (await ada.client.get("/v1/members")).json()["data"]
    assert [(one["id"], one["name"], one["role"]) for one in rows] == [(ben.id, "ben", "member"), (ada.id, "ada", "owner")]
    assert rows[0]["workspaces"] == [{"workspace_id": encode("wsp", cast.agency.workspace.id), "role": "content"}]
    for method, body in (("GET", None), ("PATCH", {"role": "member"}), ("DELETE", None)):
        answers = [await ada.client.request(method, f"/v1/members/{id}", json=body) for id in (bob.id, encode("mem", new_id()))]
        assert answers[0].status_code == 404
        assert same(answers[0]) == same(answers[1])
    assert (await bob.client.get(f"/v1/members/{bob.id}")).json()["role"] == "owner"


async def test_an_admin_can_neither_make_nor_unmake_owners(cast: Cast) -> None:
    ada, ben, cleo = await cast.add("ada", "owner"), await cast.add("ben", "admin"), await cast.add("cleo", "member")
    for id, role in ((ben.id, "owner"), (cleo.id, "owner"), (ada.id, "member")):
        answer = await ben.client.patch(f"/v1/members/{id}", json={"role": role})
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert (await ben.client.delete(f"/v1/members/{ada.id}")).status_code == 403
    assert (await ben.client.patch(f"/v1/members/{cleo.id}", json={"role": "admin"})).status_code == 200
    assert (await cleo.client.get("/v1/api-keys")).status_code == 200


async def test_a_key_makes_no_owner_and_no_role_beyond_its_scopes(cast: Cast, app: FastAPI, database: Database) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "member")
    async with database.session(cast.agency.tenant) as session:
        wish = KeyCreate(name="k", scopes=[Permission.MEMBER_READ, Permission.MEMBER_MANAGE, Permission.AGENCY_READ])
        _, text = await create_key(session, cast.agency.actor, wish, now())
    async with client_of(app, text) as narrow, client_of(app, cast.agency.key) as broad:
        assert (await narrow.patch(f"/v1/members/{ben.id}", json={"role": "admin"})).status_code == 403
        assert (await narrow.patch(f"/v1/members/{ben.id}", json={"role": "billing"})).status_code == 200
        for client in (narrow, broad):
            assert (await client.patch(f"/v1/members/{ben.id}", json={"role": "owner"})).status_code == 403
            assert (await client.delete(f"/v1/members/{ada.id}")).status_code == 403


async def test_the_last_owner_stays_and_ownership_is_handed_over_in_two_steps(cast: Cast) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "admin")
    for refused in (
        await ada.client.patch(f"/v1/members/{ada.id}", json={"role": "admin"}),
        await ada.client.delete(f"/v1/members/{ada.id}"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "last_owner")
    assert (await ada.client.patch(f"/v1/members/{ben.id}", json={"role": "owner"})).status_code == 200
    assert (await ben.client.patch(f"/v1/members/{ada.id}", json={"role": "admin"})).status_code == 200
    assert (await ben.client.delete(f"/v1/members/{ben.id}")).json()["code"] == "last_owner"


async def test_two_owners_who_unmake_one_another_at_once_leave_one(cast: Cast) -> None:
    for _ in range(3):
        ada, ben = await cast.add(f"ada{new_id()}", "owner"), await cast.add(f"ben{new_id()}", "owner")
        answers = await asyncio.gather(ada.client.delete(f"/v1/members/{ben.id}"), ben.client.delete(f"/v1/members/{ada.id}"))
        left = [one for one in (ada, ben) if (await one.client.get("/v1/me")).status_code == 200]
        assert len(left) == 1, answers
        async with cast.database.connection(cast.agency.tenant) as db:
            await db.execute("update members set state = 'removed' where agency_id = $1", cast.agency.actor.agency_id)


async def test_removal_ends_sessions_keys_and_the_keys_of_keys_at_once(cast: Cast) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "admin")
    scopes = [one.value for one in Permission if one not in OF_THE_OWNER]
    first = (await ben.client.post("/v1/api-keys", json={"name": "his", "scopes": scopes})).json()["key"]
    async with client_of(cast.app, first) as client:
        second = (await client.post("/v1/api-keys", json={"name": "its", "scopes": scopes})).json()["key"]
    hers = (await ada.client.post("/v1/api-keys", json={"name": "hers", "scopes": scopes})).json()["key"]
    assert (await ada.client.delete(f"/v1/members/{ben.id}")).status_code == 204
    assert (await ben.client.get("/v1/me")).status_code == 404
    for key, status in ((first, 401), (second, 401), (hers, 200), (cast.agency.key, 200)):
        async with client_of(cast.app, key) as client:
            assert (await client.get("/v1/me")).status_code == status
    assert (await ada.client.get(f"/v1/members/{ben.id}")).status_code == 404


async def test_a_manager_changes_roles_in_its_workspace_and_nowhere_else(cast: Cast, database: Database) -> None:
    room, ada = cast.agency.workspace.id, await cast.add("ada", "owner")
    second = (await ada.client.post("/v1/workspaces", json={"name": "Second", "time_zone": "UTC"})).json()["id"]
    mia = await cast.add("mia", "member", {room: "manager"})
    ben, cleo = await cast.add("ben", "member", {room: "viewer"}), await cast.add("cleo", "member")
    base = f"/v1/workspaces/{encode('wsp', room)}/members"
    assert (await mia.client.put(f"{base}/{ben.id}", json={"role": "content"})).json()["role"] == "content"
    assert (await ben.client.put(f"{base}/{ben.id}", json={"role": "manager"})).status_code == 403
    assert (await mia.client.put(f"{base}/{cleo.id}", json={"role": "viewer"})).status_code == 404
    assert (await mia.client.put(f"/v1/workspaces/{second}/members/{ben.id}", json={"role": "viewer"})).status_code == 404
    # And it sees whom: the people of its workspace, as what they are there, and nobody else
    seen = (await mia.client.get("/v1/members")).json()["data"]
    there = [{"workspace_id": encode("wsp", room), "role": role} for role in ("content", "manager")]
    assert [(one["id"], one["workspaces"]) for one in seen] == [(ben.id, there[:1]), (mia.id, there[1:])]
    assert (await mia.client.get(f"/v1/members/{ben.id}")).json()["role"] == "member"
    for hidden in (ada.id, cleo.id):
        assert (await mia.client.get(f"/v1/members/{hidden}")).status_code == 404
    assert (await ben.client.get("/v1/members")).status_code == 403
    assert (await ada.client.put(f"{base}/{cleo.id}", json={"role": "viewer"})).status_code == 200
    assert (await cleo.client.get(f"/v1/workspaces/{encode('wsp', room)}/posts")).status_code == 200
    assert (await mia.client.delete(f"{base}/{cleo.id}")).status_code == 204
    assert (await cleo.client.get(f"/v1/workspaces/{encode('wsp', room)}/posts")).status_code == 404


@pytest.mark.parametrize("body", [{"role": "emperor"}, {"role": None}, {"role": "admin", "state": "active"}, {"agency_id": "x"}])
async def test_no_role_is_made_up(cast: Cast, body: dict[str, str]) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "member")
    assert (await ada.client.patch(f"/v1/members/{ben.id}", json=body)).status_code == 422
