"""Signing in and out through the door: the cookie, neutral answers, throttling, the own sessions, the password."""

import asyncio
from datetime import timedelta

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app
from core.db import Database
from core.ids import encode
from core.settings import Settings
from tenants.people.passwords import _HASHER, LENGTH_MIN
from tests.conftest import TestAgency
from tests.people.people import PASSWORD, browser, join, make_person, sign_in, signed_in

NEW = "seven loud lanterns on the hill"


async def test_who_signs_in_gets_a_cookie_and_is_known_by_it(
    door: httpx2.AsyncClient, ada: str, agency: TestAgency
) -> None:  # fmt: skip
    answer = await sign_in(door, " Ada@First.example ")
    named = encode("agc", agency.actor.agency_id)
    assert (answer.status_code, answer.json()["person"]["email"]) == (201, ada)
    assert answer.json()["agencies"] == [{"id": named, "name": "First", "livemode": False}]
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    me = (await door.get("/v1/me", headers={"Octavo-Agency": named})).json()
    assert (me["type"], me["actor"]["role"], me["actor"]["email"], me["agency"]["name"]) == ("member", "owner", ada, "First")
    assert [one["id"] for one in me["workspaces"]] == [encode("wsp", agency.workspace.id)]


async def test_over_https_the_cookie_is_bound_to_the_host(settings: Settings, ada: str) -> None:
    app = create_app(settings.model_copy(update={"public_url": "https://octavo.test"}))
    async with app.router.lifespan_context(app), browser(app) as client:
        cookie = (await sign_in(client, ada)).headers["set-cookie"]
    assert cookie.startswith("__Host-sid=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "domain" not in cookie.lower()


async def test_a_wrong_password_and_an_unknown_email_are_answered_alike(door: httpx2.AsyncClient, ada: str) -> None:
    wrong, unknown = await sign_in(door, ada, "wrong"), await sign_in(door, "nobody@first.example", "wrong")
    strip = {"request_id"}
    assert [{k: v for k, v in one.json().items() if k not in strip} for one in (wrong,)] == [
        {k: v for k, v in unknown.json().items() if k not in strip}
    ]
    assert (wrong.status_code, wrong.json()["code"]) == (401, "sign_in_failed")
    assert "set-cookie" not in wrong.headers
    assert "wrong" not in wrong.text


async def test_only_the_hash_of_a_cookie_is_stored(door: httpx2.AsyncClient, ada: str, settings: Settings) -> None:
    await sign_in(door, ada)
    db = await asyncpg.connect(settings.database_url)
    stored = str(await db.fetch("select s::text from sessions s")) + str(await db.fetch("select p::text from passwords p"))
    await db.close()
    assert door.cookies["sid"] not in stored
    assert PASSWORD not in stored


async def test_who_hammers_an_account_does_not_shut_its_owner_out(app: FastAPI, ada: str) -> None:
    async with browser(app, "9.9.9.9") as robber, browser(app, "8.8.4.4") as owner:
        answers = [await sign_in(robber, ada, f"guess {number}") for number in range(12)]
        codes = [one.status_code for one in answers]
        assert answers[-1].json()["violated_policies"] == ["password"]
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 120
        assert codes == [401] * 5 + [429] * 7
        assert (await sign_in(robber, ada)).status_code == 429  # also with the right one
        assert (await sign_in(owner, ada)).status_code == 201


async def test_passwords_from_many_places_do_not_shut_the_owner_out(app: FastAPI, ada: str) -> None:
    for number in range(40):
        async with browser(app, f"9.9.{number}.9") as robber:
            assert (await sign_in(robber, ada, f"guess {number}")).status_code == 401
    async with browser(app, "8.8.4.4") as owner:
        assert (await sign_in(owner, ada)).status_code == 201


async def test_one_address_cannot_try_many_accounts(settings: Settings, ada: str) -> None:
    app = create_app(settings.model_copy(update={"rate_limit_address": 6}))
    async with app.router.lifespan_context(app), browser(app, "9.9.9.9") as robber, browser(app, "8.8.4.4") as owner:
        codes = [(await sign_in(robber, f"{number}@first.example", "guess")).status_code for number in range(9)]
        assert codes == [401] * 6 + [429] * 3
        assert (await sign_in(owner, ada)).status_code == 201


async def test_passwords_at_once_are_counted_before_they_are_looked_at(app: FastAPI, ada: str) -> None:
    async with browser(app, "9.9.9.9") as robber:
        answers = await asyncio.gather(*(sign_in(robber, ada, f"guess {number}") for number in range(20)))
    assert sorted(one.status_code for one in answers) == [401] * 5 + [429] * 15


async def test_a_right_password_forgives_the_wrong_ones(app: FastAPI, ada: str) -> None:
    async with browser(app, "9.9.9.9") as client:
        for _ in range(3):
            assert [(await sign_in(client, ada, "wrong")).status_code for _ in range(4)] == [401] * 4
            assert (await sign_in(client, ada)).status_code == 201


async def test_right_passwords_have_an_end_too(app: FastAPI, ada: str) -> None:
    async with browser(app, "9.9.9.9") as client:
        assert [(await sign_in(client, ada)).status_code for _ in range(22)] == [201] * 20 + [429] * 2
    async with browser(app, "8.8.8.8") as elsewhere:
        assert (await sign_in(elsewhere, ada)).status_code == 201


async def test_a_page_of_another_site_shuts_no_address_out(app: FastAPI, ada: str) -> None:
    async with browser(app, "9.9.9.9") as owner, browser(app, "9.9.9.9", **{"Sec-Fetch-Site": "cross-site"}) as page:
        assert [(await page.get("/v1/me")).status_code for _ in range(70)] == [401] * 70
        assert (await page.get("/v1/sessions")).status_code == 401
        assert (await sign_in(owner, ada)).status_code == 201


async def test_a_living_session_passes_whatever_else_comes_from_its_address(app: FastAPI, ada: str) -> None:
    async with browser(app, "9.9.9.9") as owner, browser(app, "9.9.9.9", "x" * 69) as robber:
        assert (await sign_in(owner, ada)).status_code == 201
        assert (await owner.get("/v1/sessions")).status_code == 200
        answers = [(await robber.get("/v1/me")).status_code for _ in range(70)]
        assert (answers[0], answers[-1]) == (401, 429)
        assert [(await owner.get(path)).status_code for path in ("/v1/sessions", "/v1/me/second-factors")] == [200, 200]
        assert (await owner.delete("/v1/sessions/current")).status_code == 204


async def test_signing_out_ends_the_session_at_once(door: httpx2.AsyncClient, ada: str) -> None:
    await sign_in(door, ada)
    text = door.cookies["sid"]
    out = await door.delete("/v1/sessions/current")
    assert (out.status_code, "Max-Age=0" in out.headers["set-cookie"]) == (204, True)
    door.cookies.set("sid", text)
    assert (await door.get("/v1/sessions")).status_code == 401


async def test_a_person_lists_and_ends_its_own_sessions_and_nobody_elses(
    app: FastAPI, database: Database, ada: str, other: TestAgency
) -> None:
    await join(database, other, await make_person(database, "bob@second.example"), "owner")
    async with browser(app) as first, browser(app) as second, browser(app) as bob:
        for client, email in ((first, ada), (second, ada), (bob, "bob@second.example")):
            await sign_in(client, email)
        mine = (await first.get("/v1/sessions")).json()["data"]
        assert [one["current"] for one in mine] == [False, True]
        theirs = (await bob.get("/v1/sessions")).json()["data"]
        assert {one["id"] for one in mine} & {one["id"] for one in theirs} == set()
        for id in (theirs[0]["id"], "ses_01kazm3v9sfa4t2tq9gk1x7c5e"):
            answer = await first.delete(f"/v1/sessions/{id}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert (await first.delete(f"/v1/sessions/{mine[0]['id']}")).status_code == 204
        assert [(await one.get("/v1/sessions")).status_code for one in (first, second, bob)] == [200, 401, 200]


@pytest.mark.parametrize(("column", "age", "alive"), [
    ("last_seen_at", timedelta(hours=11, minutes=59), True), ("last_seen_at", timedelta(hours=12, minutes=1), False),
    ("created_at", timedelta(days=29, hours=23), True), ("created_at", timedelta(days=30, minutes=1), False),
])  # fmt: skip
async def test_a_session_ends_when_it_is_idle_or_old(
    door: httpx2.AsyncClient, ada: str, settings: Settings, column: str, age: timedelta, alive: bool
) -> None:
    await sign_in(door, ada)
    db = await asyncpg.connect(settings.database_url)
    await db.execute("alter table sessions no force row level security")
    await db.execute(f"update sessions set {column} = {column} - $1::interval", age)
    await db.close()
    assert (await door.get("/v1/sessions")).status_code == (200 if alive else 401)


async def test_changing_the_password_ends_every_other_session_and_renews_this_one(app: FastAPI, ada: str) -> None:
    async with browser(app) as here, browser(app) as there:
        await sign_in(here, ada)
        await sign_in(there, ada)
        before = here.cookies["sid"]
        answer = await here.put("/v1/me/password", json={"current_password": PASSWORD, "new_password": NEW})
        assert answer.status_code == 204
        assert here.cookies["sid"] != before
        assert [(await one.get("/v1/sessions")).status_code for one in (here, there)] == [200, 401]
        assert [(await sign_in(there, ada, one)).status_code for one in (PASSWORD, NEW)] == [401, 201]
    async with browser(app, cookie=before) as old:
        assert (await old.get("/v1/sessions")).status_code == 401


@pytest.mark.parametrize("bad", ["short", "x" * (LENGTH_MIN - 1), "ababababababababab", "octavo-ada-first.example", "x" * 129])
async def test_a_weak_password_is_refused_and_never_said_back(door: httpx2.AsyncClient, ada: str, bad: str) -> None:
    await sign_in(door, ada)
    answer = await door.put("/v1/me/password", json={"current_password": PASSWORD, "new_password": bad})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/new_password")
    assert bad not in answer.text
    assert (await sign_in(door, ada)).status_code == 201


async def test_a_wrong_current_password_changes_nothing(door: httpx2.AsyncClient, ada: str) -> None:
    await sign_in(door, ada)
    answer = await door.put("/v1/me/password", json={"current_password": "wrong", "new_password": NEW})
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_failed")
    assert (await sign_in(door, ada)).status_code == 201


@pytest.mark.parametrize("headers", [
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}, {"Origin": "https://evil.example"},
    {"Origin": "null"}, {},
])  # fmt: skip
async def test_no_other_site_can_use_the_cookie(
    app: FastAPI, database: Database, agency: TestAgency, headers: dict[str, str]
) -> None:  # fmt: skip
    user = await make_person(database, "eve@first.example")
    await join(database, agency, user, "owner")
    async with await signed_in(app, database, user, agency) as client:
        del client.headers["Sec-Fetch-Site"]
        for method, path, body in (
            ("POST", "/v1/workspaces", {"name": "Forged", "time_zone": "UTC"}),
            ("DELETE", "/v1/sessions/current", None),
            ("PUT", "/v1/me/password", {"current_password": PASSWORD, "new_password": NEW}),
        ):
            answer = await client.request(method, path, json=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request"), path
        assert len((await client.get("/v1/workspaces", headers=headers)).json()["data"]) == 1


async def test_the_services_own_origin_is_proof_where_a_browser_says_no_more(
    app: FastAPI, database: Database, agency: TestAgency, settings: Settings
) -> None:
    user = await make_person(database, "eve@first.example")
    await join(database, agency, user, "owner")
    async with await signed_in(app, database, user, agency) as client:
        del client.headers["Sec-Fetch-Site"]
        sent = {"Origin": settings.public_url}
        answer = await client.post("/v1/workspaces", json={"name": "Own", "time_zone": "UTC"}, headers=sent)
    assert answer.status_code == 201


async def test_nobody_is_signed_in_by_another_site(door: httpx2.AsyncClient, ada: str) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        answer = await door.post("/v1/sessions", json={"email": ada, "password": PASSWORD}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request")


@pytest.mark.parametrize("text", ["", "x", "0" * 69, "é" * 69, "7" + "z" * 68, "!" * 69])
async def test_a_made_up_cookie_is_no_session(app: FastAPI, text: str) -> None:
    async with browser(app) as client:
        for path in ("/v1/sessions", "/v1/me"):
            assert (await client.get(path, headers=[("Cookie", f"sid={text}".encode())])).status_code == 401


async def test_a_key_is_no_person(client: httpx2.AsyncClient) -> None:
    for method, path in (("GET", "/v1/sessions"), ("DELETE", "/v1/sessions/current"), ("PUT", "/v1/me/password")):
        body = {"current_password": PASSWORD, "new_password": NEW} if method == "PUT" else None
        assert (await client.request(method, path, json=body)).status_code == 401


async def test_a_weaker_hash_is_replaced_when_its_owner_signs_in(
    door: httpx2.AsyncClient, ada: str, settings: Settings
) -> None:  # fmt: skip
    from pwdlib.hashers.argon2 import Argon2Hasher

    db = await asyncpg.connect(settings.database_url)
    await db.execute("alter table passwords no force row level security")
    weak = Argon2Hasher(time_cost=1, memory_cost=8_192, parallelism=1).hash(PASSWORD)
    await db.execute("update passwords set hash = $1", weak)
    assert (await sign_in(door, ada)).status_code == 201
    stored = await db.fetchval("select hash from passwords")
    await db.close()
    assert stored != weak
    assert _HASHER.verify_and_update(PASSWORD, stored) == (True, None)


async def test_the_event_loop_never_waits_for_a_password(door: httpx2.AsyncClient, ada: str) -> None:
    await sign_in(door, ada)  # warm
    stalls, done = [0.0], asyncio.Event()

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while not done.is_set():
            before = loop.time()
            await asyncio.sleep(0.001)
            stalls.append(loop.time() - before)

    task = asyncio.create_task(watch())
    await asyncio.gather(*(sign_in(door, f"{number}@first.example", "guess") for number in range(8)))
    done.set()
    await task
    assert len(stalls) > 20
