"""Keys of members hold no more than their maker: when its role shrinks, when it leaves workspaces, and when it goes."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from core.clock import now
from core.db import Database
from core.ids import decode, encode
from tenants.agencies.keys import create_key
from tenants.agencies.schemas import KeyCreate
from tenants.people import made_keys, membership
from tenants.permissions import KEY_MAY, AgencyRole
from tests.applications.flow import Application
from tests.conftest import TestAgency, client_of
from tests.people.cast import Cast, Someone, while_blocked
from tests.people.people import join, signed_in

EVERYTHING = sorted(KEY_MAY)
OFFICE = ["key:manage", "key:read", "post:read", "post:create", "workspace:read", "application:manage", "link:manage"]


async def make_key(client: httpx2.AsyncClient, scopes: list[Any], rooms: list[str] | None = None) -> dict[str, Any]:
    """Make a key."""
    answer = await client.post("/v1/api-keys", json={"name": "k", "scopes": scopes, "workspace_ids": rooms})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def made_by(cast: Cast, key: dict[str, Any], scopes: list[Any], rooms: list[str] | None = None) -> dict[str, Any]:
    """Make a key by a key."""
    async with client_of(cast.app, key["key"]) as client:
        return await make_key(client, scopes, rooms)


async def left_of(owner: Someone, key: dict[str, Any]) -> tuple[list[str], list[str] | None] | None:
    """What a key holds by now; None: it has ended."""
    read = (await owner.client.get(f"/v1/api-keys/{key['id']}")).json()
    return None if read["revoked_at"] else (read["scopes"], read["workspace_ids"])


async def status(cast: Cast, key: dict[str, Any], path: str) -> int:
    """What a key is answered."""
    async with client_of(cast.app, key["key"]) as client:
        return (await client.get(path)).status_code


async def last_entry(owner: Someone) -> dict[str, Any]:
    """The newest entry of the audit log."""
    entry: dict[str, Any] = (await owner.client.get("/v1/audit-entries?limit=1")).json()["data"][0]
    return entry


async def room(owner: Someone, name: str) -> str:
    """Another workspace."""
    return str((await owner.client.post("/v1/workspaces", json={"name": name, "time_zone": "UTC"})).json()["id"])


async def role(owner: Someone, scope: str, permissions: list[str]) -> str:
    """A role of the agency's own."""
    made = await owner.client.post("/v1/roles", json={"name": "r", "scope": scope, "permissions": permissions})
    return str(made.json()["id"])


async def test_a_role_that_shrinks_narrows_the_keys_of_all_who_have_it_and_what_these_made(cast: Cast) -> None:
    ada, ben, cleo = [await cast.add(name, what) for name, what in (("ada", "owner"), ("ben", "member"), ("cleo", "member"))]
    office = await role(ada, "agency", OFFICE)
    for one in (ben, cleo):
        await ada.client.patch(f"/v1/members/{one.id}", json={"role": office})
    his, hers = await make_key(ben.client, ["key:manage", "post:read", "post:create"]), await make_key(cleo.client, ["post:create"])
    its, owners = await made_by(cast, his, ["post:create", "post:read"]), await make_key(ada.client, ["post:create"])
    wider = [*OFFICE, "audit:read"]
    await ada.client.patch(f"/v1/roles/{office}", json={"permissions": wider, "name": "Bureau"})
    assert "narrowed_key_ids" not in (await last_entry(ada))["after"]
    for _ in range(2):  # the second time changes nothing, and tells nothing
        await ada.client.patch(f"/v1/roles/{office}", json={"permissions": [one for one in wider if one != "post:create"]})
        entry = await last_entry(ada)
        assert entry["action"] == "role.update"
        assert entry["after"]["narrowed_key_ids"] == [his["id"], its["id"]]
        assert entry["after"]["ended_key_ids"] == [hers["id"]]
    assert await left_of(ada, his) == (["key:manage", "post:read"], None)
    assert await left_of(ada, its) == (["post:read"], None)
    assert await left_of(ada, hers) is None
    assert await left_of(ada, owners) == (["post:create"], None)
    base = f"/v1/workspaces/{encode('wsp', cast.agency.workspace.id)}"
    async with client_of(cast.app, its["key"]) as client:
        assert (await client.get(f"{base}/posts")).status_code == 200
        refused = await client.post(f"{base}/posts", json={"text": "x", "account_ids": []})
        assert (refused.status_code, refused.json()["required_permission"]) == (403, "post:create")
    assert await status(cast, hers, "/v1/me") == 401


async def test_who_becomes_a_member_keeps_keys_for_its_workspaces_and_loses_them_one_by_one(cast: Cast) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "admin")
    first = encode("wsp", cast.agency.workspace.id)
    second, third = await room(ada, "Second"), await room(ada, "Third")
    for where, what in ((first, "manager"), (second, "viewer")):
        await ada.client.put(f"/v1/workspaces/{where}/members/{ben.id}", json={"role": what})
    everywhere, elsewhere = await make_key(ben.client, EVERYTHING), await make_key(ben.client, EVERYTHING, [third])
    inside, child = await make_key(ben.client, EVERYTHING, [third, first]), await made_by(cast, everywhere, EVERYTHING)
    assert (await ada.client.patch(f"/v1/members/{ben.id}", json={"role": "owner"})).status_code == 200
    assert await left_of(ada, everywhere) == (EVERYTHING, None)
    # No more in any workspace than a viewer may, since that is what ben is in one of them
    assert (await ada.client.patch(f"/v1/members/{ben.id}", json={"role": "member"})).status_code == 200
    entry = await last_entry(ada)
    assert (entry["before"], entry["after"]["role"]) == ({"role": "owner"}, "member")
    assert entry["after"]["narrowed_key_ids"] == [everywhere["id"], inside["id"], child["id"]]
    assert entry["after"]["ended_key_ids"] == [elsewhere["id"]]
    scopes, rooms = await left_of(ada, everywhere) or ([], None)
    assert (rooms, await left_of(ada, child)) == ([first, second], (scopes, rooms))
    assert {"agency:read", "post:read", "workspace:read"} <= set(scopes)
    assert {one for one in scopes if not one.endswith(":read")} == set()
    assert await left_of(ada, elsewhere) is None
    managed, own_room = await left_of(ada, inside) or ([], None)
    assert ("post:create" in managed, "key:manage" in managed, own_room) == (True, False, [first])
    for where, answer in ((first, 200), (second, 200), (third, 404)):
        assert await status(cast, everywhere, f"/v1/workspaces/{where}/posts") == answer
    # In one workspace less, with a smaller role in the other, and out of both
    await ada.client.delete(f"/v1/workspaces/{second}/members/{ben.id}")
    entry = await last_entry(ada)
    assert (entry["before"], entry["after"]) == ({"role": "viewer"}, {"narrowed_key_ids": [everywhere["id"], child["id"]]})
    assert await left_of(ada, child) == (scopes, [first])
    await ada.client.put(f"/v1/workspaces/{first}/members/{ben.id}", json={"role": "client"})
    assert (await last_entry(ada))["after"]["narrowed_key_ids"] == [everywhere["id"], inside["id"], child["id"]]
    assert await left_of(ada, inside) == (["agency:read", "workspace:read"], [first])
    await ada.client.put(f"/v1/workspaces/{first}/members/{ben.id}", json={"role": "manager"})
    assert await left_of(ada, inside) == (["agency:read", "workspace:read"], [first])  # what is gone does not come back
    await ada.client.delete(f"/v1/workspaces/{first}/members/{ben.id}")
    assert (await last_entry(ada))["after"] == {"ended_key_ids": [everywhere["id"], inside["id"], child["id"]]}
    for key in (everywhere, inside, child):
        assert await status(cast, key, "/v1/me") == 401


async def test_a_custom_role_of_a_workspace_that_shrinks_narrows_what_rests_on_it(cast: Cast) -> None:
    ada, ben, cleo = [await cast.add(name, what) for name, what in (("ada", "owner"), ("ben", "admin"), ("cleo", "owner"))]
    first = encode("wsp", cast.agency.workspace.id)
    writer = await role(ada, "workspace", ["workspace:read", "post:read", "post:create"])
    for one in (ben, cleo):
        await ada.client.put(f"/v1/workspaces/{first}/members/{one.id}", json={"role": writer})
    his, hers = await make_key(ben.client, EVERYTHING), await make_key(cleo.client, EVERYTHING)
    await ada.client.patch(f"/v1/members/{ben.id}", json={"role": "member"})
    assert await left_of(ada, his) == (["agency:read", "post:create", "post:read", "workspace:read"], [first])
    await ada.client.patch(f"/v1/roles/{writer}", json={"permissions": ["workspace:read"]})
    assert (await last_entry(ada))["after"]["narrowed_key_ids"] == [his["id"]]
    assert await left_of(ada, his) == (["agency:read", "workspace:read"], [first])
    assert await left_of(ada, hers) == (EVERYTHING, None)  # an owner may all by that alone


async def test_a_manager_who_changes_a_role_narrows_keys_by_all_workspaces_and_in_no_other_agency(
    cast: Cast, other: TestAgency, database: Database
) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "admin")
    first = encode("wsp", cast.agency.workspace.id)
    second = await room(ada, "Second")
    for where in (first, second):
        await ada.client.put(f"/v1/workspaces/{where}/members/{ben.id}", json={"role": "manager"})
    mia = await cast.add("mia", "member", {cast.agency.workspace.id: "manager"})
    zoe = await cast.add("zoe", "member", {cast.agency.workspace.id: "viewer"})
    await join(database, other, ben.user_id, "admin")
    key = await make_key(ben.client, EVERYTHING)
    async with await signed_in(cast.app, database, ben.user_id, other) as there:
        theirs = await make_key(there, EVERYTHING)
    await ada.client.patch(f"/v1/members/{ben.id}", json={"role": "member"})
    assert (await left_of(ada, key) or ([], None))[1] == [first, second]
    refused = await zoe.client.put(f"/v1/workspaces/{first}/members/{ben.id}", json={"role": "viewer"})
    assert refused.status_code == 403
    assert "post:create" in (await left_of(ada, key) or ([], None))[0]
    changed = await mia.client.put(f"/v1/workspaces/{first}/members/{ben.id}", json={"role": "viewer"})
    assert changed.status_code == 200, changed.text
    scopes, rooms = await left_of(ada, key) or ([], None)
    assert ("post:create" in scopes, "post:read" in scopes, rooms) == (False, True, [first, second])
    assert await status(cast, theirs, "/v1/api-keys") == 200


async def test_a_key_is_made_for_what_its_maker_may_in_the_workspaces_of_it(cast: Cast) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "member")
    first, second = encode("wsp", cast.agency.workspace.id), await room(ada, "Second")
    office = await role(ada, "agency", ["key:manage", "key:read"])
    await ada.client.patch(f"/v1/members/{ben.id}", json={"role": office})
    await ada.client.put(f"/v1/workspaces/{first}/members/{ben.id}", json={"role": "content"})
    for rooms in (None, [second], [first, second]):
        answer = await ben.client.post("/v1/api-keys", json={"name": "k", "scopes": ["post:create"], "workspace_ids": rooms})
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    key = await make_key(ben.client, ["post:create", "post:read"], [first])
    await ada.client.put(f"/v1/workspaces/{first}/members/{ben.id}", json={"role": "viewer"})
    assert await left_of(ada, key) == (["post:read"], [first])


async def test_links_and_secrets_that_a_key_made_end_where_it_reaches_and_may_no_more(cast: Cast) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "member")
    office = await role(ada, "agency", OFFICE)
    await ada.client.patch(f"/v1/members/{ben.id}", json={"role": office})
    his = await make_key(ben.client, OFFICE)
    first = encode("wsp", cast.agency.workspace.id)
    applications = {}
    wish = {"confidential": True, "redirect_uris": [], "workspace_ids": [first]}
    async with client_of(cast.app, his["key"]) as keyed:
        for maker, client in (("key", keyed), ("member", ben.client), ("owner", ada.client)):
            for scope in ("post:read", "post:create"):
                body = wish | {"name": f"{maker} {scope}", "scopes": [scope]}
                made = (await client.post("/v1/applications", json=body)).json()
                applications[maker, scope] = Application(made["id"], made["client_id"], made["client_secret"], keyed)

    async def alive() -> set[tuple[str, str]]:
        async with client_of(cast.app, None) as door:
            found = set()
            for name, one in applications.items():
                one.door = door
                if (await one.post("token", grant_type="client_credentials")).status_code == 200:
                    found.add(name)
            return found

    assert await alive() == set(applications)
    await ada.client.patch(f"/v1/roles/{office}", json={"permissions": [one for one in OFFICE if one != "post:create"]})
    assert await alive() == {("key", "post:read"), ("member", "post:read"), ("owner", "post:read"), ("owner", "post:create")}
    await ada.client.put(f"/v1/workspaces/{first}/members/{ben.id}", json={"role": "content"})
    await ada.client.patch(f"/v1/members/{ben.id}", json={"role": "member"})
    assert (await left_of(ada, his) or ([], None))[1] == [first]
    assert await alive() == {("owner", "post:read"), ("owner", "post:create")}


@pytest.mark.parametrize("maker", ["member", "key"])
async def test_a_key_that_is_made_while_its_maker_loses_something_does_not_hold_it(cast: Cast, maker: str) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "admin")
    office = await role(ada, "agency", OFFICE)
    his = await make_key(ben.client, EVERYTHING)
    wish = {"name": "late", "scopes": ["audit:read"]}
    async with client_of(cast.app, his["key"]) as keyed:
        client = ben.client if maker == "member" else keyed
        async with cast.database.connection(cast.agency.tenant) as db:
            _, _, narrowed = await membership.change_role(db, cast.agency.actor, ben.member_id, decode("rol", office), now())
            assert narrowed.told() == {"narrowed_key_ids": [his["id"]]}
            async with while_blocked(cast, client.post("/v1/api-keys", json=wish)) as making:
                pass
        refused = await making
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
        assert (await client.post("/v1/api-keys", json=wish | {"scopes": ["post:read"]})).status_code == 201


async def test_a_key_that_is_being_made_while_its_maker_goes_ends_with_it(cast: Cast) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "admin")
    his = await make_key(ben.client, EVERYTHING)
    child = await made_by(cast, his, EVERYTHING)
    async with client_of(cast.app, his["key"]) as keyed:
        made, removed = await asyncio.gather(
            keyed.post("/v1/api-keys", json={"name": "late", "scopes": ["post:read"]}),
            ada.client.delete(f"/v1/members/{ben.id}"),
        )
    assert removed.status_code == 204
    assert made.status_code in {201, 401}
    ended = (await last_entry(ada))["after"]["ended_key_ids"]
    assert {his["id"], child["id"]} <= set(ended)
    if made.status_code == 201:
        assert made.json()["id"] in ended
        assert await status(cast, made.json(), "/v1/me") == 401


async def test_a_key_that_is_being_made_while_the_maker_of_its_maker_is_revoked_ends_with_both(cast: Cast) -> None:
    ada = await cast.add("ada", "owner")
    first = await make_key(ada.client, EVERYTHING)
    second = await made_by(cast, first, EVERYTHING)
    maker = replace(cast.agency.actor, key_id=decode("key", second["id"]), permissions=frozenset(KEY_MAY))
    async with cast.database.session(cast.agency.tenant) as session:
        third, _ = await create_key(session, maker, KeyCreate(name="late", scopes=["post:read"]), now())
        async with while_blocked(cast, ada.client.delete(f"/v1/api-keys/{first['id']}")) as revoking:
            pass
    assert (await revoking).status_code == 204
    assert set((await last_entry(ada))["after"]["ended_key_ids"]) == {second["id"], encode("key", third.id)}


async def test_narrowing_twice_changes_nothing(cast: Cast, database: Database) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "admin", {cast.agency.workspace.id: "viewer"})
    await make_key(ben.client, EVERYTHING)
    async with database.connection(cast.agency.tenant) as db:
        actor = cast.agency.actor
        await membership.change_role(db, actor, ben.member_id, AgencyRole.MEMBER, now())
        assert (await made_keys.narrow_keys(db, actor, [ben.member_id, ada.member_id], now())).told() == {}
