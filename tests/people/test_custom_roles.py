"""Roles that an agency makes: of what their maker holds, for everybody who has them at once, and gone when nobody has them."""

import asyncio
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from core.clock import now
from core.db import Database
from core.ids import encode, new_id
from tenants.agencies.keys import create_key
from tenants.agencies.schemas import KeyCreate
from tenants.people.roles import ROLES_MAX
from tenants.permissions import Later, Permission
from tests.conftest import TestAgency, client_of
from tests.people.cast import Cast
from tests.walls.matrix import same

WRITER = {"name": "Junior writer", "scope": "workspace", "permissions": ["workspace:read", "post:read", "post:create"]}
OFFICE = {"name": "Office", "scope": "agency", "permissions": ["key:read", "key:manage", "member:read"]}


async def make(client: httpx2.AsyncClient, body: dict[str, Any]) -> str:
    answer = await client.post("/v1/roles", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/v1/roles/{answer.json()['id']}"
    return str(answer.json()["id"])


async def test_built_in_roles_are_listed_before_the_agencys_own(client: httpx2.AsyncClient, stranger: httpx2.AsyncClient) -> None:
    role = await make(client, WRITER)
    rows = (await client.get("/v1/roles")).json()["data"]
    assert [one["id"] for one in rows] == [
        "owner", "admin", "billing", "member", "manager", "content", "design", "ads", "community", "analyst", "client", "viewer",
        role,
    ]  # fmt: skip
    assert [one["built_in"] for one in rows] == [True] * 12 + [False]
    assert rows[-1]["permissions"] == sorted(WRITER["permissions"])
    assert (await client.get(f"/v1/roles/{role}")).json() == rows[-1]
    assert len((await stranger.get("/v1/roles")).json()["data"]) == 12
    for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
        answers = [await stranger.request(method, f"/v1/roles/{id}", json=body) for id in (role, encode("rol", new_id()))]
        assert answers[0].status_code == 404
        assert same(answers[0]) == same(answers[1])


async def test_a_custom_role_in_a_workspace_opens_what_it_holds_there(cast: Cast) -> None:
    room = cast.agency.workspace.id
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "member")
    second = (await ada.client.post("/v1/workspaces", json={"name": "Second", "time_zone": "UTC"})).json()["id"]
    role = await make(ada.client, WRITER)
    given = await ada.client.put(f"/v1/workspaces/{encode('wsp', room)}/members/{ben.id}", json={"role": role})
    assert given.json() == {"workspace_id": encode("wsp", room), "role": role}
    base = f"/v1/workspaces/{encode('wsp', room)}"
    assert (await ben.client.get(f"{base}/posts")).status_code == 200
    made = await ben.client.post(f"{base}/posts", json={"text": "x", "account_ids": []})
    assert made.status_code not in {401, 403, 404}
    refused = await ben.client.get(f"{base}/media")
    assert (refused.status_code, refused.json()["required_permission"]) == (403, "media:read")
    assert (await ben.client.get(f"/v1/workspaces/{second}/posts")).status_code == 404
    me = (await ben.client.get("/v1/me")).json()
    assert me["actor"]["workspaces"] == [{"workspace_id": encode("wsp", room), "role": role}]
    assert (await ada.client.get("/v1/members")).json()["data"][0]["workspaces"] == me["actor"]["workspaces"]


async def test_a_custom_role_of_the_agency_holds_in_every_workspace_and_no_further(cast: Cast) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "member")
    second = (await ada.client.post("/v1/workspaces", json={"name": "Second", "time_zone": "UTC"})).json()["id"]
    role = await make(ada.client, OFFICE | {"permissions": ["key:read", "workspace:read", "post:read"]})
    assert (await ada.client.patch(f"/v1/members/{ben.id}", json={"role": role})).json()["role"] == role
    assert (await ben.client.get("/v1/api-keys")).status_code == 200
    assert (await ben.client.get(f"/v1/workspaces/{second}/posts")).status_code == 200
    assert len((await ben.client.get("/v1/workspaces")).json()["data"]) == 2
    assert (await ben.client.post("/v1/api-keys", json={"name": "k", "scopes": ["post:read"]})).status_code == 403
    assert (await ben.client.get(f"/v1/workspaces/{second}/media")).status_code == 404
    assert set((await ben.client.get("/v1/me")).json()["permissions"]) == {"agency:read", "key:read", "workspace:read", "post:read"}


async def test_a_role_in_a_workspace_takes_nothing_from_one_of_the_agency(cast: Cast) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "member")
    others = [await cast.add(name, "member") for name in ("cleo", "dan")]
    room = encode("wsp", cast.agency.workspace.id)
    held = ["workspace:read", "member:assign"]
    assigning = await make(ada.client, OFFICE | {"permissions": held})
    reader = await make(ada.client, WRITER | {"permissions": ["workspace:read"]})
    await ada.client.patch(f"/v1/members/{ben.id}", json={"role": assigning})
    for someone in others:
        given = await ben.client.put(f"/v1/workspaces/{room}/members/{someone.id}", json={"role": reader})
        assert given.status_code == 200, given.text
        await ada.client.put(f"/v1/workspaces/{room}/members/{ben.id}", json={"role": "viewer"})


async def test_a_change_of_a_role_holds_at_once_and_is_told_with_before_and_after(cast: Cast) -> None:
    room = encode("wsp", cast.agency.workspace.id)
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "member")
    role = await make(ada.client, WRITER)
    await ada.client.put(f"/v1/workspaces/{room}/members/{ben.id}", json={"role": role})
    for held, status in ((["workspace:read"], 403), (["workspace:read", "post:read"], 200)):
        changed = await ada.client.patch(f"/v1/roles/{role}", json={"permissions": held})
        assert changed.json()["permissions"] == sorted(held)
        assert (await ben.client.get(f"/v1/workspaces/{room}/posts")).status_code == status
    entry = (await ada.client.get("/v1/audit-entries?limit=1")).json()["data"][0]
    assert (entry["action"], entry["subject"]) == ("role.update", {"type": "role", "id": role})
    assert [entry[when]["permissions"] for when in ("before", "after")] == [["workspace:read"], ["post:read", "workspace:read"]]


async def test_nobody_makes_changes_gives_or_takes_away_a_role_beyond_his_own_rights(
    cast: Cast, app: FastAPI, database: Database
) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "member")
    room = f"/v1/workspaces/{encode('wsp', cast.agency.workspace.id)}/members/{ben.id}"
    role = await make(ada.client, WRITER)
    scopes = [Permission.ROLE_READ, Permission.ROLE_MANAGE, Permission.MEMBER_ASSIGN, Permission.POST_READ]
    async with database.session(cast.agency.tenant) as session:
        _, text = await create_key(session, cast.agency.actor, KeyCreate(name="k", scopes=scopes), now())
        rooms = [cast.agency.workspace.id]
        wish = KeyCreate(name="k", scopes=list(Permission), workspace_ids=rooms)
        _, bound = await create_key(session, cast.agency.actor, wish, now())
    async with client_of(app, text) as narrow, client_of(app, bound) as inside:
        small = await make(narrow, WRITER | {"permissions": ["post:read"]})
        for client, answer in (
            ("narrow", await narrow.post("/v1/roles", json=WRITER)),
            ("narrow", await narrow.patch(f"/v1/roles/{small}", json={"permissions": ["post:read", "post:create"]})),
            ("narrow", await narrow.patch(f"/v1/roles/{role}", json={"permissions": ["post:read"]})),
            ("narrow", await narrow.patch(f"/v1/roles/{role}", json={"name": "x"})),
            ("narrow", await narrow.delete(f"/v1/roles/{role}")),
            ("narrow", await narrow.put(room, json={"role": role})),
            ("inside", await inside.post("/v1/roles", json=WRITER)),
            ("inside", await inside.delete(f"/v1/roles/{small}")),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied"), (client, answer.text)
        assert (await narrow.put(room, json={"role": small})).status_code == 200
        assert (await inside.get(f"/v1/roles/{small}")).status_code == 200


@pytest.mark.parametrize("scope", ["workspace", "agency"])
async def test_no_role_holds_ownership_what_is_to_come_or_what_is_not_of_its_scope(client: httpx2.AsyncClient, scope: str) -> None:
    bad: list[str] = [*Later, "agency:transfer", "post:fly"]
    if scope == "workspace":
        bad += ["agency:read", "key:manage", "role:manage", "member:manage", "audit:read", "workspace:create"]
    for one in bad:
        answer = await client.post("/v1/roles", json={"name": "r", "scope": scope, "permissions": ["post:read", one]})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/permissions/1"), one
    role = await make(client, {"name": "r", "scope": scope, "permissions": ["post:read"]})
    for one in bad:
        answer = await client.patch(f"/v1/roles/{role}", json={"permissions": [one]})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/permissions/0"), one


async def test_a_role_that_is_in_use_stays_and_goes_when_nobody_has_it(cast: Cast) -> None:
    room = f"/v1/workspaces/{encode('wsp', cast.agency.workspace.id)}/members"
    ada, ben, cleo = await cast.add("ada", "owner"), await cast.add("ben", "member"), await cast.add("cleo", "member")
    writer, office = await make(ada.client, WRITER), await make(ada.client, OFFICE)
    await ada.client.put(f"{room}/{ben.id}", json={"role": writer})
    await ada.client.patch(f"/v1/members/{cleo.id}", json={"role": office})
    for role in (writer, office):
        answer = await ada.client.delete(f"/v1/roles/{role}")
        assert (answer.status_code, answer.json()["code"]) == (409, "resource_in_use")
    await ada.client.put(f"{room}/{ben.id}", json={"role": "viewer"})
    await ada.client.delete(f"/v1/members/{cleo.id}")
    for role in (writer, office):
        assert [(await ada.client.delete(f"/v1/roles/{role}")).status_code for _ in range(2)] == [204, 404]


async def test_a_role_is_given_where_it_belongs_and_by_its_own_agency(cast: Cast, stranger: httpx2.AsyncClient) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "member")
    room = f"/v1/workspaces/{encode('wsp', cast.agency.workspace.id)}/members/{ben.id}"
    writer, office = await make(ada.client, WRITER), await make(ada.client, OFFICE)
    theirs = await make(stranger, WRITER)
    for method, path, wrong in (("PUT", room, office), ("PATCH", f"/v1/members/{ben.id}", writer)):
        answer = await ada.client.request(method, path, json={"role": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/role")
        answers = [await ada.client.request(method, path, json={"role": id}) for id in (theirs, encode("rol", new_id()))]
        assert answers[0].json()["errors"][0]["code"] == "not_found"
        assert same(answers[0]) == same(answers[1])


async def test_an_agency_has_no_more_roles_than_a_page_shows(
    client: httpx2.AsyncClient, database: Database, agency: TestAgency
) -> None:
    async with database.connection(agency.tenant) as db:
        for _ in range(ROLES_MAX - 1):
            await db.execute(
                "insert into roles (agency_id, id, name, scope) values ($1, $2, 'r', 'workspace')", agency.actor.agency_id, new_id()
            )
    answers = await asyncio.gather(*(client.post("/v1/roles", json=WRITER) for _ in range(3)))
    assert sorted(one.status_code for one in answers) == [201, 409, 409]
