"""A family of tokens: it lives by rotation, ends by what comes twice, and never does more than who stands behind it."""

import asyncio
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from core import duties
from core.db import Database
from core.ids import encode
from tenants.applications.families import LEEWAY
from tests.applications.flow import register, say, workspace_of
from tests.conftest import Platform, TestAgency, client_of
from tests.people.credentials import add_app
from tests.people.people import join, make_person, signed_in, spoiled
from workers.duties import run_batch


async def alive(app: FastAPI, agency: TestAgency, token: str) -> bool:
    """Say whether a token opens the workspace."""
    async with client_of(app, token) as client:
        answer = await client.get(f"/v1/workspaces/{workspace_of(agency)}")
        assert answer.status_code in {200, 401}, answer.text
        return answer.status_code == 200


async def let_the_leeway_pass(database: Database, agency: TestAgency) -> None:
    """As if the leeway had gone by."""
    async with database.connection(agency.tenant) as db:
        await db.execute("update refresh_tokens set used_at = used_at - $1::interval", LEEWAY)


async def reason(app: FastAPI, agency: TestAgency) -> str | None:
    """Why the agency's only grant has ended."""
    async with client_of(app, agency.key) as client:
        (grant,) = (await client.get("/v1/grants")).json()["data"]
        told: str | None = grant["revoked_reason"]
        # And the log tells it once
        entries = (await client.get("/v1/audit-entries", params={"action": "grant.revoke"})).json()["data"]
        assert [one["subject"]["id"] for one in entries] == ([] if told is None else [grant["id"]])
        if told is not None and told != "revoked":
            assert entries[0]["actor"]["id"] == grant["application"]["id"]
            assert (entries[0]["before"]["revoked_reason"], entries[0]["after"]["revoked_reason"]) == (None, told)
        return told


async def test_eight_refreshes_at_once_are_one_family_and_all_of_them_end_with_a_living_token(
    app: FastAPI, database: Database, agency: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(app, agency)
    first = await application.tokens(browser, [workspace_of(agency)])
    answers = await asyncio.gather(*(application.refresh(first["refresh_token"]) for _ in range(8)))
    assert [one.status_code for one in answers] == [200] * 8
    tokens = [one.json() for one in answers]
    assert len({one["access_token"] for one in tokens} | {first["access_token"]}) == 9
    assert all([await alive(app, agency, one["access_token"]) for one in tokens])
    async with database.connection(agency.tenant) as db:
        assert await db.fetchval("select count(distinct grant_id) from access_tokens") == 1
        assert await db.fetchval("select count(*) from refresh_tokens") == 9
    # And each of them goes on by itself
    await let_the_leeway_pass(database, agency)
    answers = await asyncio.gather(*(application.refresh(one["refresh_token"]) for one in tokens))
    assert [one.status_code for one in answers] == [200] * 8


async def test_a_refresh_token_that_comes_again_ends_its_family(
    app: FastAPI, database: Database, agency: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(app, agency)
    first = await application.tokens(browser, [workspace_of(agency)])
    second = (await application.refresh(first["refresh_token"])).json()
    await let_the_leeway_pass(database, agency)
    # The answer is an error, and what it has ended stays ended: nothing of it is rolled back
    again = await application.refresh(first["refresh_token"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert not await alive(app, agency, first["access_token"])
    assert not await alive(app, agency, second["access_token"])
    assert (await application.refresh(second["refresh_token"])).json()["error"] == "invalid_grant"
    assert await reason(app, agency) == "token_reused"


async def test_coming_again_within_the_leeway_does_not_lengthen_it(
    app: FastAPI, database: Database, agency: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(app, agency)
    first = await application.tokens(browser, [workspace_of(agency)])
    assert [(await application.refresh(first["refresh_token"])).status_code for _ in range(3)] == [200] * 3
    await let_the_leeway_pass(database, agency)
    assert (await application.refresh(first["refresh_token"])).status_code == 400


async def test_a_code_that_comes_again_ends_its_family(app: FastAPI, agency: TestAgency, browser: httpx2.AsyncClient) -> None:
    application = await register(app, agency)
    code = await application.consented(browser, [workspace_of(agency)])
    tokens = (await application.exchange(code)).json()
    assert (await application.exchange(code)).json()["error"] == "invalid_grant"
    assert not await alive(app, agency, tokens["access_token"])
    assert (await application.refresh(tokens["refresh_token"])).status_code == 400
    assert await reason(app, agency) == "code_reused"


async def test_of_many_who_bring_one_code_at_once_one_has_tokens_and_nobody_keeps_them(
    app: FastAPI, agency: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(app, agency)
    code = await application.consented(browser, [workspace_of(agency)])
    answers = await asyncio.gather(*(application.exchange(code) for _ in range(5)))
    assert sorted(one.status_code for one in answers) == [200, 400, 400, 400, 400]
    (right,) = [one.json() for one in answers if one.status_code == 200]
    assert not await alive(app, agency, right["access_token"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"code_verifier": "x" * 43},
        {"code_verifier": ""},
        {"redirect_uri": "https://dashboard.example/other"},
        {"code": "oac_test_" + "x" * 75},
        {"code": "x"},
    ],
    ids=str,
)
async def test_a_code_is_for_its_verifier_its_address_and_itself(
    app: FastAPI, agency: TestAgency, browser: httpx2.AsyncClient, wrong: dict[str, str]
) -> None:
    application = await register(app, agency)
    code = await application.consented(browser, [workspace_of(agency)])
    assert (await application.exchange(**({"code": code} | wrong))).status_code == 400
    # What was guessed wrong has used nothing up
    assert (await application.exchange(code)).status_code == 200


async def test_codes_and_tokens_are_for_the_application_that_they_were_given_to(
    app: FastAPI, agency: TestAgency, other: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(app, agency)
    strangers = [
        await register(app, agency),
        await register(app, agency, confidential=True),
        await register(app, other, offered=True),
    ]
    for stranger in strangers:
        stranger.verifier = application.verifier
        code = await application.consented(browser, [workspace_of(agency)])
        assert (await stranger.exchange(code)).json()["error"] == "invalid_grant"
        tokens = (await application.exchange(code)).json()
        assert (await stranger.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
        for token in (tokens["access_token"], tokens["refresh_token"]):
            assert (await stranger.post("revoke", token=token)).status_code == 200
        assert await alive(app, agency, tokens["access_token"])
        assert (await application.refresh(tokens["refresh_token"])).status_code == 200


async def test_a_refresh_can_ask_for_less_and_never_for_more(app: FastAPI, agency: TestAgency, browser: httpx2.AsyncClient) -> None:
    application = await register(app, agency, scopes=("post:read", "post:create", "workspace:read"))
    first = await application.tokens(browser, [workspace_of(agency)], "post:read workspace:read")
    less = (await application.refresh(first["refresh_token"], scope="workspace:read")).json()
    assert less["scope"] == "workspace:read"
    more = await application.refresh(less["refresh_token"], scope="post:create")
    assert more.json()["error"] == "invalid_scope"
    assert (await application.refresh(less["refresh_token"])).json()["scope"] == "post:read workspace:read"


async def test_a_token_does_what_it_was_granted_and_says_what_it_lacks(
    app: FastAPI, agency: TestAgency, other: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(app, agency)
    async with client_of(app, agency.key) as client:
        room = (await client.post("/v1/workspaces", json={"name": "Room", "time_zone": "UTC"})).json()["id"]
    tokens = await application.tokens(browser, [workspace_of(agency)])
    async with client_of(app, tokens["access_token"]) as client:
        # Outside of its workspaces there is nothing, not even of its own agency
        for one in (room, workspace_of(other)):
            assert (await client.get(f"/v1/workspaces/{one}/posts")).status_code == 404
        lacking = await client.post(f"/v1/workspaces/{workspace_of(agency)}/posts", json={"text": "x", "account_ids": []})
        assert (lacking.status_code, lacking.json()["required_permission"]) == (403, "post:create")
        assert lacking.headers["www-authenticate"] == 'Bearer realm="octavo", error="insufficient_scope", scope="post:create"'
    async with client_of(app, spoiled(tokens["access_token"])) as client:
        unknown = await client.get("/v1/workspaces")
        assert unknown.status_code == 401
        where = f"{app.state.settings.public_url}/.well-known/oauth-protected-resource"
        assert f'error="invalid_token", resource_metadata="{where}"' in unknown.headers["www-authenticate"]
    async with client_of(app, None) as client:
        assert (await client.get(f"/v1/me?access_token={tokens['access_token']}")).status_code == 400


async def test_who_is_demoted_narrows_the_token_at_once_and_who_leaves_ends_it(
    app: FastAPI, database: Database, agency: TestAgency, ada: UUID
) -> None:
    application = await register(app, agency, scopes=("post:create", "post:read", "workspace:read"))
    user_id = await make_person(database, "carl@first.example")
    member_id = await join(database, agency, user_id, "member", {agency.workspace.id: "content"})
    async with await signed_in(app, database, user_id) as carl:
        tokens = await application.tokens(carl, [workspace_of(agency)], "post:create post:read workspace:read")
    base = f"/v1/workspaces/{workspace_of(agency)}"
    member = f"{base}/members/{encode('mem', member_id)}"
    async with client_of(app, tokens["access_token"]) as caller, client_of(app, agency.key) as client:
        assert (await caller.post(f"{base}/posts", json={"text": "x", "account_ids": []})).status_code not in {401, 403, 404}
        assert (await client.put(member, json={"role": "viewer"})).status_code == 200
        assert (await caller.post(f"{base}/posts", json={"text": "x", "account_ids": []})).status_code == 403
        assert (await caller.get(f"{base}/posts")).status_code == 200
        assert (await client.put(member, json={"role": "community"})).status_code == 200
        assert (await caller.get(f"{base}/posts")).status_code == 403
        assert (await client.delete(member)).status_code == 204
        assert (await caller.get(f"{base}/posts")).status_code == 404
        assert (await client.delete(f"/v1/members/{encode('mem', member_id)}")).status_code == 204
        assert (await caller.get(f"{base}/posts")).status_code == 401
    assert (await application.refresh(tokens["refresh_token"])).status_code == 400


async def test_what_is_taken_from_an_application_is_taken_from_its_tokens(
    app: FastAPI, agency: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(app, agency)
    tokens = await application.tokens(browser, [workspace_of(agency)])
    base = f"/v1/workspaces/{workspace_of(agency)}"
    async with client_of(app, tokens["access_token"]) as caller, client_of(app, agency.key) as client:
        assert (await caller.get(f"{base}/posts")).status_code == 200
        await client.patch(f"/v1/applications/{application.id}", json={"scopes": ["workspace:read"]})
        assert (await caller.get(f"{base}/posts")).status_code == 403
        assert (await client.delete(f"/v1/applications/{application.id}")).status_code == 204
        assert (await caller.get(base)).status_code == 401
    assert (await application.refresh(tokens["refresh_token"])).json()["error"] == "invalid_client"


async def test_the_agency_sees_its_grants_and_ends_them(
    app: FastAPI, agency: TestAgency, other: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(app, agency)
    tokens = await application.tokens(browser, [workspace_of(agency)])
    assert await alive(app, agency, tokens["access_token"])
    async with client_of(app, agency.key) as client, client_of(app, other.key) as stranger:
        (grant,) = (await client.get("/v1/grants")).json()["data"]
        assert grant["workspace_ids"] == [workspace_of(agency)]
        assert grant["last_used_at"] is not None
        for method in ("GET", "DELETE"):
            assert (await stranger.request(method, f"/v1/grants/{grant['id']}")).status_code == 404
        assert (await client.delete(f"/v1/grants/{grant['id']}")).status_code == 204
        assert (await client.delete(f"/v1/grants/{grant['id']}")).status_code == 204
    assert not await alive(app, agency, tokens["access_token"])
    assert (await application.refresh(tokens["refresh_token"])).status_code == 400


async def test_a_token_is_let_in_as_its_members_session_is_where_a_second_factor_is_required(
    app: FastAPI, database: Database, agency: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(app, agency)
    user_id = await make_person(database, "mona@first.example")
    await join(database, agency, user_id, "member", {agency.workspace.id: "manager"})
    await add_app(browser)
    async with await signed_in(app, database, user_id, agency) as mona:
        hers = await application.tokens(mona, [workspace_of(agency)])
        embed = (await mona.post("/v1/embed-tokens", json={"workspace_id": workspace_of(agency)})).json()["token"]
        his = await application.tokens(browser, [workspace_of(agency)])
        required, named = {"second_factor_required": True}, {"Octavo-Agency": encode("agc", agency.actor.agency_id)}
        assert (await browser.patch("/v1/agency", json=required, headers=named)).status_code == 200
        assert await alive(app, agency, his["access_token"])
        # Hers are refused, renewed ones too, and nothing new is allowed
        renewed = (await application.refresh(hers["refresh_token"])).json()["access_token"]
        for token in (hers["access_token"], renewed, embed):
            async with client_of(app, token) as client:
                refused = await client.get(f"/v1/workspaces/{workspace_of(agency)}/posts")
                assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required")
        assert (await say(mona, application.asks(), [workspace_of(agency)])).status_code != 303
        await add_app(mona)
    assert await alive(app, agency, renewed)


async def test_used_refresh_tokens_go_with_their_time_and_the_grant_goes_on(
    platform: Platform, database: Database, agency: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(platform.app, agency)
    first = await application.tokens(browser, [workspace_of(agency)])
    second = (await application.refresh(first["refresh_token"])).json()
    async with database.connection(agency.tenant) as db:
        await db.execute("update refresh_tokens set expires_at = now() where used_at is not null")
    for _ in range(2):
        await platform.let_pass(2 * 86_400)
        async with platform.context.duties_pool.acquire() as duty:
            claimed = await duties.claim(duty, "cleanup", 100, platform.context.settings.lease, 100)
        await run_batch(platform.context, "cleanup", claimed)
        async with database.connection(agency.tenant) as db:
            assert await db.fetchval("select count(*) from refresh_tokens") == 1
    assert (await application.refresh(second["refresh_token"])).status_code == 200


async def test_the_log_tells_the_yes_and_what_an_application_did_for_whom(
    app: FastAPI, database: Database, agency: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(app, agency, scopes=("workspace:update", "workspace:read"))
    tokens = await application.tokens(browser, [workspace_of(agency)], "workspace:update workspace:read")
    async with client_of(app, tokens["access_token"]) as caller:
        path = f"/v1/workspaces/{workspace_of(agency)}"
        assert (await caller.patch(path, json={"name": "New"}, headers={"If-Match": "*"})).status_code == 200
    async with client_of(app, agency.key) as client:
        entries = {one["action"]: one for one in (await client.get("/v1/audit-entries")).json()["data"]}
    assert entries["grant.create"]["actor"]["type"] == "member"
    member = entries["grant.create"]["actor"]
    assert entries["workspace.update"]["actor"] == {"type": "application", "id": application.id}
    assert entries["workspace.update"]["on_behalf_of"] == member


async def test_nothing_that_opens_a_door_stands_in_a_table(
    app: FastAPI, database: Database, agency: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(app, agency, confidential=True)
    pushed = await application.post("par", **application.asks())
    code = await application.consented(browser, [workspace_of(agency)])
    tokens = (await application.exchange(code)).json()
    assert application.secret is not None
    opening = [
        code, tokens["access_token"], tokens["refresh_token"], application.secret, application.verifier,
        pushed.json()["request_uri"].rpartition(":")[2],
    ]  # fmt: skip
    async with database.connection(agency.tenant) as db:
        tables = await db.fetch("select table_name from information_schema.columns where column_name = 'agency_id'")
        rows = 0
        for table in {row["table_name"] for row in tables}:
            for row in await db.fetch(f"select t::text as text from {table} t"):
                rows += 1
                assert not any(one in row["text"] or one[-40:] in row["text"] for one in opening), table
    assert rows > 10
