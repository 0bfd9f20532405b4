"""Invitations through the door: who may invite to what, and what is not given any more when it is accepted."""

from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from core.clock import now
from core.db import Database
from core.ids import encode, new_id
from tenants.agencies.keys import create_key
from tenants.agencies.schemas import KeyCreate
from tenants.permissions import OF_THE_OWNER, Permission
from tests.conftest import client_of
from tests.people.cast import Cast
from tests.people.inviting import GUEST, accept, guest, invite, token_of


@pytest.mark.parametrize(("role", "wish", "status"), [
    ("owner", {"role": "owner"}, 201), ("owner", {"role": "admin"}, 201), ("owner", {"role": "billing"}, 201), ("owner", {}, 201),
    ("admin", {"role": "owner"}, 403), ("admin", {"role": "admin"}, 201), ("admin", {}, 201), ("billing", {}, 403),
    ("member", {}, 403),
])  # fmt: skip
async def test_nobody_invites_to_a_role_of_the_agency_beyond_his_own(
    cast: Cast, role: str, wish: dict[str, str], status: int
) -> None:  # fmt: skip
    ben = await cast.add("ben", role)
    assert (await invite(ben.client, **wish)).status_code == status


async def test_a_manager_invites_into_its_own_workspaces_as_member_and_sees_no_other_invitations(cast: Cast) -> None:
    room = cast.agency.workspace.id
    ada = await cast.add("ada", "owner")
    second = (await ada.client.post("/v1/workspaces", json={"name": "Second", "time_zone": "UTC"})).json()["id"]
    mia, cleo = await cast.add("mia", "member", {room: "manager"}), await cast.add("cleo", "member", {room: "content"})
    own, other = {"workspace_id": encode("wsp", room), "role": "manager"}, {"workspace_id": second, "role": "viewer"}
    made = await invite(mia.client, workspaces=[own])
    assert made.status_code == 201
    for wish, status in (
        ({"role": "admin", "workspaces": [own]}, 403), ({"role": "billing", "workspaces": [own]}, 403), ({"workspaces": []}, 422),
        ({"workspaces": [own, other]}, 422), ({"workspaces": [own, own]}, 422),
        ({"workspaces": [{"workspace_id": encode("wsp", new_id()), "role": "viewer"}]}, 422),
    ):  # fmt: skip
        assert (await invite(mia.client, **wish)).status_code == status, wish
    assert (await invite(cleo.client, workspaces=[own])).status_code == 403
    hers = [await invite(ada.client, **wish) for wish in ({}, {"workspaces": [other]}, {"role": "admin", "workspaces": [own]})]
    both = await invite(ada.client, workspaces=[own, other])
    assert [one["id"] for one in (await mia.client.get("/v1/invitations")).json()["data"]] == [made.json()["id"]]
    assert len((await ada.client.get("/v1/invitations")).json()["data"]) == 5
    for one in (*hers, both):
        path = f"/v1/invitations/{one.json()['id']}"
        for answer in (await mia.client.get(path), await mia.client.delete(path), await mia.client.post(f"{path}/resend")):
            assert answer.status_code == 404
    assert (await mia.client.delete(f"/v1/invitations/{made.json()['id']}")).status_code == 204


async def test_a_key_invites_within_its_scopes_and_never_owners(cast: Cast, app: FastAPI, database: Database) -> None:
    scopes = [Permission.MEMBER_ASSIGN, Permission.WORKSPACE_READ, Permission.POST_READ]
    room = {"workspace_id": encode("wsp", cast.agency.workspace.id)}
    async with database.session(cast.agency.tenant) as session:
        _, text = await create_key(session, cast.agency.actor, KeyCreate(name="k", scopes=scopes), now())
    async with client_of(app, text) as narrow, client_of(app, cast.agency.key) as broad:
        small = {"name": "Reader", "scope": "workspace", "permissions": ["workspace:read", "post:read"]}
        role = (await broad.post("/v1/roles", json=small)).json()["id"]
        assert (await invite(narrow, workspaces=[room | {"role": role}])).status_code == 201
        assert (await invite(narrow, workspaces=[room | {"role": "viewer"}])).status_code == 403
        assert (await invite(narrow)).status_code == 403
        assert (await invite(broad, role="admin")).status_code == 201
        assert (await invite(broad, role="owner")).status_code == 403


# And again when it is accepted


async def test_an_invitation_of_who_was_removed_is_refused_within_the_next_request(cast: Cast) -> None:
    ada, ben, eve = await cast.add("ada", "owner"), await cast.add("ben", "admin"), await guest(cast)
    token = token_of(await invite(ben.client, role="admin"))
    assert (await ada.client.delete(f"/v1/members/{ben.id}")).status_code == 204
    answer = await accept(eve, token)
    assert (answer.status_code, answer.json()["code"]) == (409, "inviter_lacks_rights")
    assert len((await ada.client.get("/v1/members")).json()["data"]) == 1


@pytest.mark.parametrize("wish", [{"role": "admin"}, {"role": "billing"}, {}])
async def test_an_invitation_gives_nothing_that_its_inviter_lacks_by_now(cast: Cast, wish: dict[str, str]) -> None:
    ada, ben, eve = await cast.add("ada", "owner"), await cast.add("ben", "admin"), await guest(cast)
    token = token_of(await invite(ben.client, **wish))
    await ada.client.patch(f"/v1/members/{ben.id}", json={"role": "member"})
    assert (await accept(eve, token)).json()["code"] == "inviter_lacks_rights"
    await ada.client.patch(f"/v1/members/{ben.id}", json={"role": "admin"})
    assert (await accept(eve, token)).status_code == 200


async def test_an_invitation_by_a_manager_ends_with_its_role_in_the_workspace(cast: Cast) -> None:
    room = encode("wsp", cast.agency.workspace.id)
    ada, mia, eve = (
        await cast.add("ada", "owner"),
        await cast.add("mia", "member", {cast.agency.workspace.id: "manager"}),
        await guest(cast),
    )
    token = token_of(await invite(mia.client, workspaces=[{"workspace_id": room, "role": "content"}]))
    for given in ({"role": "content"}, None):
        path = f"/v1/workspaces/{room}/members/{mia.id}"
        changed = await ada.client.put(path, json=given) if given else await ada.client.delete(path)
        assert changed.status_code in {200, 204}
        assert (await accept(eve, token)).json()["code"] == "inviter_lacks_rights"


async def test_an_invitation_by_a_key_ends_with_the_key(cast: Cast) -> None:
    ada, ben, eve = await cast.add("ada", "owner"), await cast.add("ben", "admin"), await guest(cast)
    wish = {"name": "k", "scopes": [one.value for one in Permission if one not in OF_THE_OWNER]}
    mine = (await ada.client.post("/v1/api-keys", json=wish)).json()
    his = (await ben.client.post("/v1/api-keys", json=wish)).json()
    async with client_of(cast.app, mine["key"]) as first, client_of(cast.app, his["key"]) as second:
        tokens = [token_of(await invite(client, role="admin")) for client in (first, second)]
    assert (await ada.client.delete(f"/v1/api-keys/{mine['id']}")).status_code == 204
    assert (await ada.client.delete(f"/v1/members/{ben.id}")).status_code == 204
    for token in tokens:
        assert (await accept(eve, token)).json()["code"] == "inviter_lacks_rights"


async def test_an_invitation_gives_a_custom_role_as_it_is_when_it_is_accepted(cast: Cast) -> None:
    room = encode("wsp", cast.agency.workspace.id)
    ada, mia, eve = (
        await cast.add("ada", "owner"),
        await cast.add("mia", "member", {cast.agency.workspace.id: "manager"}),
        await guest(cast),
    )
    wish = {"name": "Writer", "scope": "workspace", "permissions": ["workspace:read", "post:read"]}
    role = (await ada.client.post("/v1/roles", json=wish)).json()["id"]
    token = token_of(await invite(mia.client, workspaces=[{"workspace_id": room, "role": role}]))
    kept = await ada.client.delete(f"/v1/roles/{role}")
    assert (kept.status_code, kept.json()["code"]) == (409, "resource_in_use")
    own = {"name": "Assigner", "scope": "workspace", "permissions": ["workspace:read", "member:assign"]}
    less = (await ada.client.post("/v1/roles", json=own)).json()["id"]
    path = f"/v1/workspaces/{room}/members/{mia.id}"
    await ada.client.put(path, json={"role": less})
    assert (await accept(eve, token)).json()["code"] == "inviter_lacks_rights"
    await ada.client.put(path, json={"role": "manager"})
    assert (await accept(eve, token)).status_code == 200
    assert (await ada.client.get("/v1/members")).json()["data"][0]["workspaces"] == [{"workspace_id": room, "role": role}]


@pytest.mark.parametrize("wish", [
    {"email": "nonsense"}, {"email": "a b@c.example"}, {"email": "ä@c.example"}, {"email": "a@c"}, {"email": "a@b@c.example"},
    {"email": ""},
    {"role": "emperor"}, {"role": None}, {"role": "rol_" + "0" * 26}, {"delivery": "pigeon"}, {"workspaces": [{"role": "viewer"}]},
    {"email": "a@c.example\r\nBcc: x@y.example"}, {"state": "accepted"},
])  # fmt: skip
async def test_an_invitation_that_makes_no_sense_is_refused(client: httpx2.AsyncClient, wish: dict[str, Any]) -> None:
    answer = await invite(client, **({"email": GUEST} | wish))
    assert answer.status_code == 422, answer.text
