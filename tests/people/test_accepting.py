"""Coming in by an invitation: what its link opens, once, for whom, and what it tells nobody."""

import asyncio
import re

import asyncpg
import pytest

from core.clock import now
from core.db import Database, Person
from core.ids import encode
from core.settings import Settings
from tenants.invitations.tokens import TOKEN_LENGTH
from tenants.people import membership
from tests.conftest import Platform, TestAgency, client_of
from tests.people.cast import Cast, while_blocked
from tests.people.credentials import add_app
from tests.people.inviting import GUEST, OTHER, accept, guest, invite, mailed, token_of
from tests.people.people import PASSWORD, browser, join, make_person, sign_in, signed_in
from tests.walls.matrix import same


async def test_who_is_invited_comes_in_with_the_roles_of_the_invitation(cast: Cast) -> None:
    ada, room = await cast.add("ada", "owner"), encode("wsp", cast.agency.workspace.id)
    made = await invite(ada.client, "Guest@Second.example", workspaces=[{"workspace_id": room, "role": "content"}])
    assert made.headers["Location"] == f"/v1/invitations/{made.json()['id']}"
    assert (made.json()["email"], made.json()["state"], made.json()["invited_by"]) == (GUEST, "pending", ada.id)
    ben = await guest(cast)
    answer = await accept(ben, token_of(made))
    assert answer.status_code == 200, answer.text
    assert answer.json()["agency"] == {"id": encode("agc", cast.agency.actor.agency_id), "name": "First", "livemode": False}
    me = (await ben.get("/v1/me", headers={"Octavo-Agency": answer.json()["agency"]["id"]})).json()
    assert (me["actor"]["id"], me["actor"]["role"]) == (answer.json()["member_id"], "member")
    assert me["actor"]["workspaces"] == [{"workspace_id": room, "role": "content"}]
    seen = (await ada.client.get(f"/v1/invitations/{made.json()['id']}")).json()
    assert (seen["state"], seen["member_id"], "accept_url" in seen) == ("accepted", answer.json()["member_id"], False)
    (entry, *_) = (await ada.client.get("/v1/audit-entries?action=invitation.accept")).json()["data"]
    assert entry["actor"] == {"type": "member", "id": answer.json()["member_id"]}
    assert (entry["before"]["state"], entry["after"]["state"]) == ("pending", "accepted")
    assert GUEST not in str(entry)


async def test_a_token_that_does_not_hold_gets_one_answer_whatever_is_wrong_with_it(cast: Cast, settings: Settings) -> None:
    ada, ben, eve = await cast.add("ada", "owner"), await guest(cast), await guest(cast, "eve@second.example")
    used, revoked, replaced, expired, foreign = [await invite(ada.client) for _ in range(5)]
    assert (await accept(ben, token_of(used))).status_code == 200
    assert (await ada.client.delete(f"/v1/invitations/{revoked.json()['id']}")).status_code == 204
    again = await ada.client.post(f"/v1/invitations/{replaced.json()['id']}/resend")
    owner = await asyncpg.connect(settings.database_url)
    await owner.execute("alter table invitations no force row level security")
    await owner.execute("update invitations set expires_at = now() where id <> all ($1)", [])
    await owner.execute("update invitations set expires_at = now() + interval '1 day' where state <> 'pending'")
    await owner.close()
    fresh = await invite(ada.client)
    bad = [token_of(one) for one in (used, revoked, replaced, expired, foreign)] + ["x", "0" * TOKEN_LENGTH, token_of(fresh)[:-1]]
    answers = [await accept(ben, token) for token in bad]
    answers.append(await accept(eve, token_of(fresh)))  # it is for somebody else
    assert {(one.status_code, one.json()["code"]) for one in answers} == {(404, "invitation_invalid")}
    assert len({same(one)[1] for one in answers}) == 1
    assert (await accept(ben, token_of(again))).status_code == 404  # that one expired as well
    async with browser(cast.app) as nobody:
        for token in bad:
            for path, more in (("look", {}), ("join", {"name": "Ben", "password": OTHER})):
                answer = await nobody.post(f"/v1/invitations/{path}", json={"token": token} | more)
                assert (answer.status_code, answer.json()["code"]) == (404, "invitation_invalid"), (path, token)
    assert (await accept(ben, token_of(fresh))).status_code == 200


async def test_one_of_many_who_accept_at_once_comes_in_and_only_once(cast: Cast) -> None:
    ada, ben = await cast.add("ada", "owner"), await guest(cast)
    token = token_of(await invite(ada.client))
    answers = await asyncio.gather(*(accept(ben, token) for _ in range(6)))
    assert sorted(one.status_code for one in answers) == [200, 404, 404, 404, 404, 404]
    assert len((await ada.client.get("/v1/members")).json()["data"]) == 2


async def test_an_e_mail_that_is_not_verified_opens_nothing(cast: Cast) -> None:
    ada, user = await cast.add("ada", "owner"), await make_person(cast.database, GUEST)
    token = token_of(await invite(ada.client))
    async with await signed_in(cast.app, cast.database, user) as ben:
        for verified, status in ((None, 409), (now(), 200)):
            async with cast.database.connection(Person(user)) as db:
                await db.execute("update users set email_verified_at = $1 where id = $2", verified, user)
            answer = await accept(ben, token)
            assert answer.status_code == status
            assert verified is not None or answer.json()["code"] == "email_unverified"


async def test_only_a_person_who_is_signed_in_accepts_and_from_a_page_of_the_service(cast: Cast) -> None:
    ada, ben = await cast.add("ada", "owner"), await guest(cast)
    token = token_of(await invite(ada.client))
    async with client_of(cast.app, cast.agency.key) as key, browser(cast.app) as nobody:
        for client in (key, nobody):
            assert (await accept(client, token)).status_code == 401
    for path, more in (("accept", {}), ("join", {"name": "Ben", "password": OTHER})):
        forged = await ben.post(f"/v1/invitations/{path}", json={"token": token} | more, headers={"Sec-Fetch-Site": "cross-site"})
        assert (forged.status_code, forged.json()["code"]) == (403, "cross_site_request")


# Who is or was a member


async def test_who_was_removed_comes_back_under_its_old_id_by_a_new_invitation_and_by_no_old_one(cast: Cast) -> None:
    room = encode("wsp", cast.agency.workspace.id)
    ada, user = await cast.add("ada", "owner"), await make_person(cast.database, GUEST)
    member_id = encode("mem", await join(cast.database, cast.agency, user, "admin", {cast.agency.workspace.id: "manager"}))
    async with await signed_in(cast.app, cast.database, user, cast.agency) as ben:
        key = (await ben.post("/v1/api-keys", json={"name": "k", "scopes": ["agency:read"]})).json()["key"]
        old = token_of(await invite(ada.client, role="admin"))
        assert (await ada.client.delete(f"/v1/members/{member_id}")).status_code == 204
        assert (await accept(ben, old)).json()["code"] == "invitation_invalid"
        token = token_of(await invite(ada.client, workspaces=[{"workspace_id": room, "role": "viewer"}]))
        assert (await accept(ben, token)).json()["member_id"] == member_id
        me = (await ben.get("/v1/me")).json()["actor"]
        assert (me["id"], me["role"], me["workspaces"]) == (member_id, "member", [{"workspace_id": room, "role": "viewer"}])
    async with client_of(cast.app, key) as dead:
        assert (await dead.get("/v1/me")).status_code == 401


async def test_who_is_a_member_keeps_its_roles_and_gets_the_workspaces_that_it_lacks(cast: Cast) -> None:
    ada, user = await cast.add("ada", "owner"), await make_person(cast.database, GUEST)
    second = (await ada.client.post("/v1/workspaces", json={"name": "Second", "time_zone": "UTC"})).json()["id"]
    await join(cast.database, cast.agency, user, "billing", {cast.agency.workspace.id: "manager"})
    rooms = [{"workspace_id": id, "role": "viewer"} for id in (encode("wsp", cast.agency.workspace.id), second)]
    async with await signed_in(cast.app, cast.database, user, cast.agency) as ben:
        assert (await accept(ben, token_of(await invite(ada.client, workspaces=rooms)))).status_code == 200
        me = (await ben.get("/v1/me")).json()["actor"]
    assert (me["role"], [one["role"] for one in me["workspaces"]]) == ("billing", ["manager", "viewer"])


async def test_who_accepts_while_it_is_removed_waits_and_the_invitation_ends(cast: Cast) -> None:
    ada, user = await cast.add("ada", "owner"), await make_person(cast.database, GUEST)
    member_id = await join(cast.database, cast.agency, user, "member")
    token = token_of(await invite(ada.client, role="admin"))
    async with await signed_in(cast.app, cast.database, user) as ben:
        async with cast.database.connection(cast.agency.tenant) as db:
            # Given a removal that has come to the membership, and not yet to its invitations
            await db.execute("select 1 from members where id = $1 for update", member_id)
            async with while_blocked(cast, accept(ben, token)) as accepting:
                pass
            await db.execute("set local lock_timeout = '2s'")
            await membership.end_membership(db, cast.agency.actor, member_id, now())
        refused = await accepting
    assert (refused.status_code, refused.json()["code"]) == (404, "invitation_invalid")


# By mail, and as somebody new


async def test_a_link_that_goes_by_mail_is_shown_to_nobody_and_makes_an_account_with_a_verified_e_mail(
    platform: Platform, database: Database, agency: TestAgency, settings: Settings
) -> None:
    room = encode("wsp", agency.workspace.id)
    async with platform.client(agency.key) as client:
        rooms = [{"workspace_id": room, "role": "content"}]
        wish = {"email": GUEST, "workspaces": rooms, "delivery": "email"}
        made = await client.post("/v1/invitations", json=wish, headers={"Idempotency-Key": "once"})
        assert (made.status_code, made.json()["accept_url"]) == (201, None)
        again = await client.post("/v1/invitations", json=wish, headers={"Idempotency-Key": "once"})
        assert again.json() == made.json()
    token = await mailed(platform, settings)
    async with browser(platform.app) as ben:
        shown = (await ben.post("/v1/invitations/look", json={"token": token})).json()
        assert (shown["agency_name"], shown["email"], shown["role"], shown["new_person"]) == ("First", GUEST, "member", True)
        assert shown["workspaces"] == [{"name": agency.workspace.name, "role": rooms[0]["role"]}]
        page = (await ben.get(f"/invitations/{token}", headers={"Accept-Language": "en"})).text
        assert re.search(rf"{agency.workspace.name}</bdi>: <bdi>{rooms[0]['role']}<", page, re.IGNORECASE), page
        weak = await ben.post("/v1/invitations/join", json={"token": token, "name": "Ben", "password": "guest@second.example"})
        assert (weak.status_code, weak.json()["errors"][0]["pointer"]) == (422, "/password")
        came = await ben.post("/v1/invitations/join", json={"token": token, "name": "Ben Baker", "password": OTHER})
        assert came.status_code == 201, came.text
        assert came.json()["person"]["email"] == GUEST
        assert [one["id"] for one in came.json()["agencies"]] == [encode("agc", agency.actor.agency_id)]
        named = {"Octavo-Agency": came.json()["agencies"][0]["id"]}
        me = (await ben.get("/v1/me", headers=named)).json()["actor"]
        assert (me["name"], me["role"], me["workspaces"]) == ("Ben Baker", "member", rooms)
        used = await ben.post("/v1/invitations/join", json={"token": token, "name": "Ben", "password": OTHER})
        assert used.json()["code"] == "invitation_invalid"
        assert (await sign_in(ben, GUEST, OTHER)).status_code == 201
    owner = await asyncpg.connect(settings.database_url)
    await owner.execute("alter table users no force row level security")
    assert await owner.fetchval("select email_verified_at is not null from users where email = $1", GUEST)
    await owner.close()


async def test_a_link_that_the_inviter_was_shown_makes_no_account(cast: Cast) -> None:
    ada = await cast.add("ada", "owner")
    token = token_of(await invite(ada.client))
    async with browser(cast.app) as ben:
        assert (await ben.post("/v1/invitations/look", json={"token": token})).json()["new_person"] is False
        answer = await ben.post("/v1/invitations/join", json={"token": token, "name": "Ben", "password": OTHER})
        assert (answer.status_code, answer.json()["code"]) == (409, "email_unverified")
        assert (await sign_in(ben, GUEST, OTHER)).status_code == 401


async def test_who_has_an_account_makes_no_second_one_and_looking_tells_nothing_of_it(
    platform: Platform, database: Database, agency: TestAgency, settings: Settings
) -> None:
    shown = []
    async with platform.client(agency.key) as client, browser(platform.app) as ben:
        for exists in (False, True):
            if exists:
                await make_person(database, GUEST)
            assert (await invite(client, delivery="email")).status_code == 201
            token = await mailed(platform, settings)
            answer = (await ben.post("/v1/invitations/look", json={"token": token})).json()
            shown.append({name: value for name, value in answer.items() if name != "expires_at"})
        assert shown[0] == shown[1]
        refused = await ben.post("/v1/invitations/join", json={"token": token, "name": "Ben", "password": OTHER})
        assert (refused.status_code, refused.json()["code"]) == (409, "person_exists")
        assert (await sign_in(ben, GUEST, PASSWORD)).status_code == 201
        assert (await accept(ben, token)).status_code == 200


async def test_nobody_makes_the_service_hash_without_end_by_one_invitation(
    platform: Platform, database: Database, agency: TestAgency, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    hash = platform.app.state.passwords.hash

    async def counted(password: str) -> str:
        hashed.append(password)
        return str(await hash(password))

    monkeypatch.setattr(platform.app.state.passwords, "hash", counted)
    async with platform.client(agency.key) as client, browser(platform.app) as ben:
        assert (await invite(client, delivery="email")).status_code == 201
        body = {"token": await mailed(platform, settings), "name": "Ben", "password": OTHER}
        # Given an account already: nothing is hashed
        await make_person(database, GUEST)
        answers = [await ben.post("/v1/invitations/join", json=body) for _ in range(8)]
        assert [(one.status_code, one.json()["code"]) for one in answers] == [(409, "person_exists")] * 8
        assert hashed == []


async def test_an_account_is_made_once_by_many_requests_at_once(
    platform: Platform, agency: TestAgency, settings: Settings
) -> None:  # fmt: skip
    async with platform.client(agency.key) as client, browser(platform.app) as ben:
        assert (await invite(client, delivery="email", role="billing")).status_code == 201
        body = {"token": await mailed(platform, settings), "name": "Ben", "password": OTHER}
        answers = await asyncio.gather(*(ben.post("/v1/invitations/join", json=body) for _ in range(4)))
        assert sorted(one.status_code for one in answers) == [201, 404, 404, 404]
        assert len((await client.get("/v1/members")).json()["data"]) == 1


async def test_an_invitation_is_sent_again_under_a_new_link_in_the_name_of_who_asks(
    platform: Platform, database: Database, agency: TestAgency, settings: Settings
) -> None:
    async with platform.client(agency.key) as client, browser(platform.app) as ben:
        made = (await invite(client, delivery="email")).json()
        first = await mailed(platform, settings)
        again = await client.post(f"/v1/invitations/{made['id']}/resend")
        assert (again.status_code, again.json()["id"], again.json()["accept_url"]) == (200, made["id"], None)
        second = await mailed(platform, settings)
        assert [(await ben.post("/v1/invitations/look", json={"token": one})).status_code for one in (first, second)] == [404, 200]
        assert (await client.delete(f"/v1/invitations/{made['id']}")).status_code == 204
        for ended in (
            await client.post(f"/v1/invitations/{made['id']}/resend"),
            await client.delete(f"/v1/invitations/{made['id']}"),
        ):
            assert (ended.status_code, ended.json()["code"]) == (409, "state_conflict")


async def test_the_token_and_its_hash_are_in_no_answer_no_log_and_no_entry(
    cast: Cast, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    ada, ben = await cast.add("ada", "owner"), await guest(cast)
    caplog.set_level("DEBUG")
    made = await ada.client.post("/v1/invitations", json={"email": GUEST, "delivery": "link"}, headers={"Idempotency-Key": "once"})
    token = token_of(made)
    again = await ada.client.post("/v1/invitations", json={"email": GUEST, "delivery": "link"}, headers={"Idempotency-Key": "once"})
    assert (again.headers["Idempotent-Replayed"], again.json()["accept_url"]) == ("true", None)
    bad = await accept(ben, token[:-1] + ("0" if token[-1] != "0" else "1"))
    assert token[-20:-2] not in bad.text
    assert (await accept(ben, token)).status_code == 200
    owner = await asyncpg.connect(settings.database_url)
    stored = []
    for table in ("audit_entries", "idempotency_records", "invitations", "mails", "events"):
        await owner.execute(f"alter table {table} no force row level security")
        stored += [str(dict(row)) for row in await owner.fetch(f"select * from {table}")]
    await owner.close()
    assert len(stored) > 3
    assert not [one for one in (*stored, caplog.text) if token[-20:] in one]


async def test_where_a_second_factor_is_required_accepting_opens_nothing_until_there_is_one(
    cast: Cast, platform: Platform, settings: Settings
) -> None:
    ada, room = await cast.add("ada", "owner"), encode("wsp", cast.agency.workspace.id)
    assert (await invite(ada.client, delivery="email", role="admin")).status_code == 201
    token = await mailed(platform, settings)
    await add_app(ada.client)
    assert (await ada.client.patch("/v1/agency", json={"second_factor_required": True})).status_code == 200
    rooms = [{"workspace_id": room, "role": "manager"}]
    old = await guest(cast, "eve@second.example")
    assert (await accept(old, token_of(await invite(ada.client, "eve@second.example", workspaces=rooms)))).status_code == 200
    async with browser(cast.app) as new:
        joined = await new.post("/v1/invitations/join", json={"token": token, "name": "Ben", "password": OTHER})
        assert joined.status_code == 201, joined.text
        for client in (old, new):
            client.headers["Octavo-Agency"] = encode("agc", cast.agency.actor.agency_id)
            for path in ("/v1/me", f"/v1/workspaces/{room}/posts", "/v1/members"):
                refused = await client.get(path)
                assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required"), path
            await add_app(client)
            assert (await client.get(f"/v1/workspaces/{room}/posts")).status_code == 200
        assert len((await new.get("/v1/members")).json()["data"]) == 3
