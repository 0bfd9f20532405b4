"""People between agencies: who is no member sees nothing, each sees its own, and no agency sees another's people."""

import pytest
from asyncpg import InsufficientPrivilegeError
from fastapi import FastAPI

from core.db import Database, Person, Tenant, stamp_login
from core.ids import decode, encode, new_id
from tests.conftest import Platform, TestAgency
from tests.people.people import join, make_person, signed_in
from tests.walls.matrix import same
from tests.walls.things import furnish


async def test_a_person_speaks_for_its_own_agencies_only(
    app: FastAPI, database: Database, agency: TestAgency, other: TestAgency
) -> None:
    user = await make_person(database, "ada@first.example")
    await join(database, agency, user, "owner")
    async with await signed_in(app, database, user) as client:
        answers = {}
        for name, id in (("own", agency.actor.agency_id), ("other", other.actor.agency_id), ("nobody", new_id())):
            answers[name] = await client.get("/v1/me", headers={"Octavo-Agency": encode("agc", id)})
        assert answers["own"].json()["agency"]["name"] == "First"
        assert answers["other"].status_code == 404
        assert same(answers["other"]) == same(answers["nobody"])
        for text in ("nonsense", encode("wsp", agency.actor.agency_id), ""):
            assert (await client.get("/v1/me", headers={"Octavo-Agency": text})).status_code == 404


async def test_who_belongs_to_several_agencies_says_which(
    app: FastAPI, database: Database, agency: TestAgency, other: TestAgency
) -> None:
    assert agency.sibling is not None
    assert other.sibling is not None
    user = await make_person(database, "ada@first.example")
    async with await signed_in(app, database, user) as client:
        missing = await client.get("/v1/me")
        assert (missing.status_code, missing.json()["code"]) == (400, "agency_required")
        await join(database, agency, user, "owner")  # test data are never meant by silence
        assert (await client.get("/v1/me")).json()["code"] == "agency_required"
        await join(database, agency.sibling, user, "owner")
        assert (await client.get("/v1/me")).json()["livemode"] is True
        await join(database, other.sibling, user, "member")
        assert (await client.get("/v1/me")).json()["code"] == "agency_required"
        for one, role in ((agency.sibling, "owner"), (other.sibling, "member")):
            me = await client.get("/v1/me", headers={"Octavo-Agency": encode("agc", one.actor.agency_id)})
            assert (me.json()["actor"]["role"], me.json()["agency"]["name"]) == (role, one.actor.agency_name)


async def test_a_member_reaches_the_workspaces_that_it_was_added_to_and_no_others(
    platform: Platform, database: Database, agency: TestAgency
) -> None:
    client = platform.client(agency.key)
    own = await furnish(client, encode("wsp", agency.workspace.id))
    made = (await client.post("/v1/workspaces", json={"name": "Second room", "time_zone": "UTC"})).json()["id"]
    theirs = await furnish(client, made)
    user = await make_person(database, "cleo@first.example")
    await join(database, agency, user, "member", {agency.workspace.id: "content"})
    async with await signed_in(platform.app, database, user, agency) as cleo:
        assert [one["id"] for one in (await cleo.get("/v1/workspaces")).json()["data"]] == [own.ids["wsp"]]
        seen = (await cleo.get("/v1/publications")).json()["data"]
        assert {own.ids["pub"]} <= {one["id"] for one in seen}
        assert theirs.ids["pub"] not in {one["id"] for one in seen}
        assert theirs.secret not in (await cleo.get("/v1/events", params={"limit": 100})).text
        for path in ("", "/posts", f"/posts/{theirs.ids['pst']}", "/accounts"):
            nobody = f"/v1/workspaces/{encode('wsp', new_id())}{path}"
            answers = [await cleo.get(f"/v1/workspaces/{theirs.ids['wsp']}{path}"), await cleo.get(nobody)]
            assert answers[0].status_code == 404, path
            assert same(answers[0]) == same(answers[1]), path
        crossed = await cleo.get(f"/v1/workspaces/{own.ids['wsp']}/posts/{theirs.ids['pst']}")
        assert crossed.status_code == 404
        assert (await cleo.get(f"/v1/operations/{theirs.ids['opr']}")).status_code == 404
    await client.aclose()


async def test_a_view_over_workspaces_shows_those_whose_role_allows_it(
    platform: Platform, database: Database, agency: TestAgency
) -> None:
    client = platform.client(agency.key)
    own = await furnish(client, encode("wsp", agency.workspace.id))
    second = (await client.post("/v1/workspaces", json={"name": "Second room", "time_zone": "UTC"})).json()["id"]
    theirs = await furnish(client, second)
    user = await make_person(database, "cleo@first.example")
    await join(database, agency, user, "member", {agency.workspace.id: "viewer", decode("wsp", second): "client"})
    async with await signed_in(platform.app, database, user, agency) as cleo:
        seen = {one["id"] for one in (await cleo.get("/v1/publications", params={"limit": 100})).json()["data"]}
        assert own.ids["pub"] in seen
        assert theirs.ids["pub"] not in seen
        assert len((await cleo.get("/v1/workspaces")).json()["data"]) == 2
        refused = await cleo.get(f"/v1/workspaces/{second}/posts/{theirs.ids['pst']}")
        assert (refused.status_code, refused.json()["required_permission"]) == (403, "post:read")
    await client.aclose()


@pytest.mark.parametrize("role", ["owner", "admin", "billing", "member"])
async def test_who_was_added_to_no_workspace_sees_itself(
    app: FastAPI, database: Database, agency: TestAgency, role: str
) -> None:  # fmt: skip
    user = await make_person(database, "ada@first.example")
    await join(database, agency, user, role)
    async with await signed_in(app, database, user, agency) as ada:
        me = (await ada.get("/v1/me")).json()
    assert (me["actor"]["email"], me["actor"]["role"]) == ("ada@first.example", role)
    assert (len(me["workspaces"]) == 1) == (role in {"owner", "admin"})


async def test_a_membership_that_ends_ends_at_once(app: FastAPI, database: Database, agency: TestAgency) -> None:
    user = await make_person(database, "ada@first.example")
    member = await join(database, agency, user, "admin")
    async with await signed_in(app, database, user, agency) as ada:
        assert (await ada.get("/v1/me")).status_code == 200
        async with database.connection(agency.tenant) as db:
            await db.execute("update members set role = 'member' where agency_id = $1 and id = $2", agency.actor.agency_id, member)
        assert (await ada.get("/v1/api-keys")).status_code == 403
        async with database.connection(agency.tenant) as db:
            await db.execute(
                "update members set state = 'removed' where agency_id = $1 and id = $2", agency.actor.agency_id, member
            )
        assert (await ada.get("/v1/me")).status_code == 404


async def test_a_person_makes_keys_and_posts_under_its_own_name(platform: Platform, database: Database, agency: TestAgency) -> None:
    user = await make_person(database, "ada@first.example")
    member = await join(database, agency, user, "owner")
    async with await signed_in(platform.app, database, user, agency) as ada:
        made = await ada.post("/v1/api-keys", json={"name": "hers", "scopes": ["post:read"]})
        assert made.status_code == 201
        things = await furnish(ada, encode("wsp", agency.workspace.id))
    assert things.ids["pst"]
    async with database.connection(agency.tenant) as db:
        assert member in await db.fetchval("select array_agg(created_by_member) from api_keys")
        assert set(await db.fetchval("select array_agg(distinct created_by) from posts")) == {member}


async def test_the_walls_of_people_hold_in_the_database(
    database: Database, agency: TestAgency, other: TestAgency
) -> None:  # fmt: skip
    ada, bob = await make_person(database, "ada@first.example"), await make_person(database, "bob@second.example")
    await join(database, agency, ada, "owner")
    await join(database, other, bob, "owner")
    count = "select (select count(*) from users), (select count(*) from passwords), (select count(*) from members)"
    async with database.connection(agency.tenant) as db:
        assert tuple(await db.fetchrow(count)) == (1, 0, 1)
        assert await db.fetchval("select email from users") == "ada@first.example"
        assert await db.execute("update users set name = 'taken'") == "UPDATE 0"
    async with database.connection(Person(bob)) as db:
        assert tuple(await db.fetchrow(count)) == (1, 1, 1)
        assert await db.fetchval("select email from users") == "bob@second.example"
        assert await db.fetchval("select count(*) from agencies") == 0
    async with database.connection(Person()) as db:
        assert tuple(await db.fetchrow(count)) == (0, 0, 0)
        await stamp_login(db, "ada@first.example")
        assert tuple(await db.fetchrow(count)) == (1, 0, 0)
    async with database.connection(Tenant(new_id())) as db:
        assert tuple(await db.fetchrow(count)) == (0, 0, 0)
    for statement in (
        "insert into passwords (user_id, hash) values ($1, 'x')",
        "insert into users (id, email, name) values ($1, 'x', 'x')",
    ):
        with pytest.raises(InsufficientPrivilegeError):
            async with database.connection(agency.tenant) as db:
                await db.execute(statement, new_id())
