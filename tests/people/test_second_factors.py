"""Second factors through the door: apps, passkeys, recovery codes, half sessions, and who may change them."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app
from core.clock import now
from core.db import Database
from core.ids import encode
from core.settings import Settings
from tenants.people.passkeys import FIRST, make_challenge
from tests.conftest import TestAgency
from tests.people.credentials import PUBLIC, App, Device, add_app, add_passkey, passkey_options, url64
from tests.people.people import PASSWORD, browser, join, make_person, sign_in, signed_in


@pytest.fixture
async def home(app: FastAPI, ada: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser in which Ada has just signed in."""
    async with browser(app) as client:
        assert (await sign_in(client, ada)).status_code == 201
        yield client


async def complete(client: httpx2.AsyncClient, **factor: Any) -> httpx2.Response:
    """Give the second factor."""
    return await client.post("/v1/sessions/second-factor", json=factor)


async def sql(settings: Settings, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """Say something to the database, past the walls."""
    db = await asyncpg.connect(settings.database_url)
    tables = ("sessions", "totp_factors", "recovery_codes", "passkeys", "factor_tries", "user_keys", "passwords")
    for table in tables:
        await db.execute(f"alter table {table} no force row level security")
    found = await db.fetch(statement, *arguments)
    for table in tables:
        await db.execute(f"alter table {table} force row level security")
    await db.close()
    return list(found)


async def test_half_a_session_can_be_completed_and_nothing_else(
    app: FastAPI, home: httpx2.AsyncClient, door: httpx2.AsyncClient, ada: str
) -> None:  # fmt: skip
    phone, codes = await add_app(home)
    assert len(set(codes)) == 10
    half = await sign_in(door, ada)
    assert (half.status_code, half.json()["state"], half.json()["agencies"]) == (201, "second_factor_needed", [])
    assert half.json()["second_factors"] == ["totp", "recovery_code"]
    before = door.cookies["sid"]
    assert "device" not in door.cookies
    for method, path in (
        ("GET", "/v1/sessions"), ("GET", "/v1/me"), ("POST", "/v1/me/totp"), ("POST", "/v1/me/recovery-codes"),
        ("DELETE", "/v1/sessions/current"), ("POST", "/v1/workspaces"), ("GET", "/v1/me/second-factors"),
    ):  # fmt: skip
        answer = await door.request(method, path, json={} if method == "POST" else None)
        assert (answer.status_code, answer.json()["code"]) == (401, "second_factor_needed"), path
    done = await complete(door, code=phone.code(1))
    assert (done.status_code, done.json()["state"]) == (201, "active")
    assert done.json()["id"] != half.json()["id"]
    assert door.cookies["sid"] != before
    assert [one["current"] for one in (await door.get("/v1/sessions")).json()["data"]].count(True) == 1
    async with browser(app, cookie=before) as old:
        assert (await old.get("/v1/sessions")).status_code == 401


async def test_half_a_session_ends_after_ten_minutes(
    home: httpx2.AsyncClient, door: httpx2.AsyncClient, ada: str, settings: Settings
) -> None:
    app, _ = await add_app(home)
    await sign_in(door, ada)
    await sql(settings, "update sessions set created_at = created_at - interval '11 minutes' where state <> 'active'")
    assert (await complete(door, code=app.code(1))).status_code == 401


async def test_a_code_works_once_and_only_now(home: httpx2.AsyncClient, door: httpx2.AsyncClient, ada: str) -> None:
    app, _ = await add_app(home)
    await sign_in(door, ada)
    code = app.code(1)
    assert (await complete(door, code=app.code(40))).status_code == 401
    assert (await complete(door, code=app.code(0))).status_code == 401  # it confirmed the app
    assert (await complete(door, code=code)).status_code == 201
    await sign_in(door, ada)
    assert (await complete(door, code=code)).json()["code"] == "sign_in_failed"


async def test_a_recovery_code_works_once_in_whatever_way_it_is_typed(
    home: httpx2.AsyncClient, door: httpx2.AsyncClient, ada: str
) -> None:
    _, codes = await add_app(home)
    await sign_in(door, ada)
    assert (await complete(door, recovery_code=f" {codes[3].upper().replace('-', '')} ")).status_code == 201
    await sign_in(door, ada)
    assert (await complete(door, recovery_code=codes[3])).status_code == 401
    assert (await complete(door, recovery_code=codes[4])).status_code == 201
    assert (await door.get("/v1/me/second-factors")).json()["recovery_codes_left"] == 8
    renewed = (await door.post("/v1/me/recovery-codes")).json()["recovery_codes"]
    await sign_in(door, ada)
    assert (await complete(door, recovery_code=codes[5])).status_code == 401
    assert (await complete(door, recovery_code=renewed[5])).status_code == 201


async def test_nothing_of_a_factor_can_be_read_from_the_database(home: httpx2.AsyncClient, settings: Settings) -> None:
    app, codes = await add_app(home)
    await add_passkey(home, Device(PUBLIC))
    stored = ""
    for table in ("totp_factors", "recovery_codes", "passkeys", "user_keys", "sessions"):
        stored += str([dict(row) for row in await sql(settings, f"select * from {table}")])
    for secret in (app.secret, *codes, *(code.replace("-", "") for code in codes)):
        assert secret not in stored


async def test_codes_are_guessed_a_few_times_and_then_there_is_a_pause(
    home: httpx2.AsyncClient, app: FastAPI, ada: str, settings: Settings
) -> None:
    phone, codes = await add_app(home)
    answers = []
    for number in range(9):  # a new half session, from another address, changes nothing
        async with browser(app, f"9.9.{number}.9") as robber:
            await sign_in(robber, ada)
            answers.append(await complete(robber, code=f"{number:06}"))
    assert [one.status_code for one in answers] == [401] * 5 + [429] * 4
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    async with browser(app, "8.8.4.4") as owner:
        await sign_in(owner, ada)
        assert (await complete(owner, code=phone.code(1))).status_code == 429
        assert (await complete(owner, recovery_code=codes[0])).status_code == 429
        await sql(settings, "update factor_tries set last_at = last_at - interval '2 minutes'")
        assert (await complete(owner, code="000000")).status_code == 401
        assert int((await complete(owner, code=phone.code(1))).headers["Retry-After"]) > 60  # it doubles
        await sql(settings, "update factor_tries set failures = 100, last_at = last_at - interval '2 years'")
        assert (await complete(owner, code=phone.code(1))).status_code == 429
        await sql(settings, "update factor_tries set failures = 9")
        assert (await complete(owner, code=phone.code(1))).status_code == 201
    assert await sql(settings, "select 1 from factor_tries") == []


async def test_an_app_counts_for_who_has_just_shown_that_it_is_him(home: httpx2.AsyncClient, settings: Settings) -> None:
    begun = (await home.post("/v1/me/totp")).json()
    await sql(settings, "update sessions set authenticated_at = authenticated_at - interval '11 minutes'")
    refused = await home.post("/v1/me/totp/confirm", json={"code": App(begun["secret"]).code()})
    assert (refused.status_code, refused.json()["code"]) == (403, "reauthentication_required")
    assert (await home.get("/v1/me/second-factors")).json()["totp_since"] is None


async def test_what_one_signs_in_by_is_changed_by_who_has_just_shown_that_it_is_him(
    home: httpx2.AsyncClient, settings: Settings
) -> None:
    phone, _ = await add_app(home)
    device = Device(PUBLIC)
    made = (await add_passkey(home, device)).json()["passkey"]["id"]
    changes = (
        ("POST", "/v1/me/totp"), ("DELETE", "/v1/me/totp"), ("POST", "/v1/me/recovery-codes"), ("POST", "/v1/me/passkeys/options"),
        ("DELETE", f"/v1/me/passkeys/{made}"), ("POST", "/v1/email-verifications"),
    )  # fmt: skip

    async def refused() -> list[str]:
        body = {"email": "new@first.example"}
        answers = [
            await home.request(method, path, json=body if "email" in path else None) for method, path in changes
        ]  # fmt: skip
        return [one.json()["code"] for one in answers]

    old = "update sessions set authenticated_at = authenticated_at - interval '11 minutes'"
    for wrong, right in (
        ({"password": "wrong"}, {"password": PASSWORD}),
        ({"code": "000000"}, {"code": phone.code(1)}),
        ({"passkey": {"id": "AAAA"}}, None),
    ):
        await sql(settings, old)
        assert await refused() == ["reauthentication_required"] * len(changes)
        assert (await home.post("/v1/sessions/current/reauthentication", json=wrong)).status_code == 401
        shown = right or {"passkey": device.get(await passkey_options(home))}
        assert (await home.post("/v1/sessions/current/reauthentication", json=shown)).status_code == 204
        assert (await home.post("/v1/me/recovery-codes")).status_code == 200
    assert (await home.delete(f"/v1/me/passkeys/{made}")).status_code == 204
    assert (await home.delete("/v1/me/totp")).status_code == 204
    assert [(await home.delete(path)).status_code for path in ("/v1/me/totp", f"/v1/me/passkeys/{made}")] == [404, 404]
    left = (await home.get("/v1/me/second-factors")).json()
    assert left == {"totp_since": None, "passkeys": [], "recovery_codes_left": 0}
    assert (await home.post("/v1/me/recovery-codes")).status_code == 409


async def test_the_first_factor_ends_every_other_session(app: FastAPI, home: httpx2.AsyncClient, ada: str) -> None:
    async with browser(app) as other:
        await sign_in(other, ada)
        before = home.cookies["sid"]
        await add_app(home)
        assert home.cookies["sid"] != before
        assert [(await one.get("/v1/sessions")).status_code for one in (home, other)] == [200, 401]


async def test_an_app_counts_once_its_code_was_given(home: httpx2.AsyncClient, door: httpx2.AsyncClient, ada: str) -> None:
    first = App((await home.post("/v1/me/totp")).json()["secret"])
    second = (await home.post("/v1/me/totp")).json()
    assert second["uri"].startswith("otpauth://totp/Octavo:ada%40first.example?secret=" + second["secret"])
    assert (await sign_in(door, ada)).json()["state"] == "active"
    assert (await home.post("/v1/me/totp/confirm", json={"code": first.code()})).status_code == 401
    assert (await home.post("/v1/me/totp/confirm", json={"code": App(second["secret"]).code()})).status_code == 200
    assert (await home.post("/v1/me/totp")).status_code == 409
    assert (await sign_in(door, ada)).json()["state"] == "second_factor_needed"


async def test_a_passkey_signs_in_beside_the_password_and_alone(
    home: httpx2.AsyncClient, door: httpx2.AsyncClient, ada: str
) -> None:  # fmt: skip
    laptop, phone = Device(PUBLIC), Device(PUBLIC)
    first, second = await add_passkey(home, laptop, "Laptop"), await add_passkey(home, phone, "Phone")
    assert (len(first.json()["recovery_codes"]), second.json()["recovery_codes"]) == (10, None)
    half = await sign_in(door, ada)
    assert half.json()["second_factors"] == ["passkey", "recovery_code"]
    options = await passkey_options(door)
    assert len(options["allowCredentials"]) == 2
    assert (await complete(door, passkey=laptop.get(options))).status_code == 201
    door.cookies.clear()
    options = await passkey_options(door)
    assert (options["rpId"], options["userVerification"], options.get("allowCredentials", [])) == ("localhost", "required", [])
    alone = await door.post("/v1/sessions/passkey", json={"passkey": phone.get(options)})
    assert (alone.status_code, alone.json()["state"], alone.json()["person"]["email"]) == (201, "active", ada)
    names = [(one["name"], one["last_used_at"] is not None) for one in (await door.get("/v1/me/second-factors")).json()["passkeys"]]
    assert names == [("Laptop", True), ("Phone", True)]


async def test_an_answer_of_a_passkey_counts_once_for_one_session_and_for_this_service(
    home: httpx2.AsyncClient, door: httpx2.AsyncClient, ada: str, app: FastAPI
) -> None:
    device = Device(PUBLIC)
    await add_passkey(home, device)
    await sign_in(door, ada)
    options = await passkey_options(door)
    # An answer for another origin, one without its challenge, one of another session, one of a copy
    for other in ("http://localhost:8001", "https://octavo.evil.example"):
        stolen = device.copy()
        stolen.origin = other
        assert (await complete(door, passkey=stolen.get(options))).status_code == 401
    assert (await complete(door, passkey=device.get(options | {"challenge": options["challenge"][:-2] + "AA"}))).status_code == 401
    async with browser(app) as elsewhere:
        await sign_in(elsewhere, ada)
        assert (await complete(door, passkey=device.get(await passkey_options(elsewhere)))).status_code == 401
    assert (await complete(door, passkey=Device(PUBLIC, id=device.id).get(options))).status_code == 401
    copy, answer = device.copy(), device.get(options)
    assert (await complete(door, passkey=answer)).status_code == 201
    await sign_in(door, ada)
    assert (await complete(door, passkey=answer)).status_code == 401
    assert (await complete(door, passkey=copy.get(await passkey_options(door)))).status_code == 401  # its counter went back


async def test_a_passkey_without_a_counter_answers_once_too(home: httpx2.AsyncClient, door: httpx2.AsyncClient) -> None:
    device = Device(PUBLIC, counts=False)
    await add_passkey(home, device)
    earlier, later = [device.get(await passkey_options(door)) for _ in range(2)]
    for answer, status in ((later, 201), (later, 401), (earlier, 401), (device.get(await passkey_options(door)), 201)):
        door.cookies.clear()
        assert (await door.post("/v1/sessions/passkey", json={"passkey": answer})).status_code == status


async def test_alone_a_passkey_must_have_asked_who_uses_it(home: httpx2.AsyncClient, door: httpx2.AsyncClient, ada: str) -> None:
    device = Device(PUBLIC)
    await add_passkey(home, device)
    device.verifies = False
    answer = device.get(await passkey_options(door))
    refused = await door.post("/v1/sessions/passkey", json={"passkey": answer})
    assert (refused.status_code, refused.json()["code"]) == (401, "sign_in_failed")
    await sign_in(door, ada)
    assert (await complete(door, passkey=device.get(await passkey_options(door)))).status_code == 201


async def test_a_challenge_that_is_old_counts_no_more(home: httpx2.AsyncClient, door: httpx2.AsyncClient, app: FastAPI) -> None:
    device = Device(PUBLIC)
    await add_passkey(home, device)
    options = await passkey_options(door)
    for age, status in ((timedelta(minutes=6), 401), (timedelta(minutes=-1), 401), (timedelta(minutes=4), 201)):
        challenge = make_challenge(app.state.house, FIRST, now() - age)
        answer = device.get(options | {"challenge": url64(challenge)})
        assert (await door.post("/v1/sessions/passkey", json={"passkey": answer})).status_code == status


@pytest.mark.parametrize("bad", [
    {}, {"id": "AAAA"}, {"response": {"clientDataJSON": "e30", "userHandle": "AAAA"}}, {"response": []},
    {"response": {"clientDataJSON": "!!!", "userHandle": "A" * 22}},
    {"response": {"clientDataJSON": "W10", "userHandle": "A" * 22}},
    {"rawId": 7, "response": {"clientDataJSON": "bnVsbA", "userHandle": "A" * 22}},
])  # fmt: skip
async def test_what_is_no_passkey_is_refused(home: httpx2.AsyncClient, door: httpx2.AsyncClient, bad: dict[str, Any]) -> None:
    assert (await door.post("/v1/sessions/passkey", json={"passkey": bad})).status_code == 401
    answer = await home.post("/v1/me/passkeys", json={"name": "x", "passkey": bad})
    assert (answer.status_code, answer.json()["code"]) == (422, "passkey_invalid")


async def test_nobody_touches_the_factors_of_somebody_else(
    home: httpx2.AsyncClient, app: FastAPI, database: Database, other: TestAgency
) -> None:
    mine = (await add_passkey(home, Device(PUBLIC))).json()["passkey"]["id"]
    bob = await make_person(database, "bob@second.example")
    await join(database, other, bob, "owner")
    async with await signed_in(app, database, bob, other) as theirs:
        assert (await theirs.delete(f"/v1/me/passkeys/{mine}")).status_code == 404
        assert (await theirs.get("/v1/me/second-factors")).json()["passkeys"] == []
        assert (await theirs.delete("/v1/me/totp")).status_code == 404
    assert len((await home.get("/v1/me/second-factors")).json()["passkeys"]) == 1


async def test_over_https_the_device_is_remembered_for_this_host_alone(settings: Settings, ada: str) -> None:
    app = create_app(settings.model_copy(update={"public_url": "https://octavo.test"}))
    async with app.router.lifespan_context(app), browser(app) as client:
        cookies = (await sign_in(client, ada)).headers.get_list("set-cookie")
    (device,) = (one for one in cookies if one.startswith("__Host-device="))
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(device.split("; "))


async def test_an_owner_without_a_password_closes_the_agency_by_its_passkey(
    home: httpx2.AsyncClient, database: Database, agency: TestAgency, settings: Settings
) -> None:
    live, device = agency.sibling, Device(PUBLIC)
    assert live is not None
    (row,) = await sql(settings, "select user_id from sessions")
    await join(database, live, row["user_id"], "owner")
    assert (await add_passkey(home, device)).status_code == 201
    await sql(settings, "delete from passwords")
    await sql(settings, "update sessions set authenticated_at = authenticated_at - interval '11 minutes'")
    home.headers["Octavo-Agency"] = encode("agc", live.actor.agency_id)
    assert (await home.post("/v1/agency/closure")).json()["code"] == "reauthentication_required"
    shown = {"passkey": device.get(await passkey_options(home))}
    assert (await home.post("/v1/sessions/current/reauthentication", json=shown)).status_code == 204
    assert (await home.post("/v1/agency/closure")).status_code == 202


async def test_a_passkey_that_is_sent_twice_is_refused_by_page_and_operation(home: httpx2.AsyncClient) -> None:
    options = (await home.post("/v1/me/passkeys/options")).json()["options"]
    made = Device(PUBLIC).create(options)
    form = {"name": "phone", "passkey": json.dumps(made)}
    first = await home.post("/security/passkeys", data=form)
    second = await home.post("/security/passkeys", data=form)
    assert first.status_code in {200, 303}, first.text
    assert (second.status_code, second.headers["content-type"].partition(";")[0]) == (409, "text/html"), second.text
    answer = await home.post("/v1/me/passkeys", json={"name": "phone", "passkey": made})
    assert (answer.status_code, answer.json()["code"]) == (409, "state_conflict")
    assert len((await home.get("/v1/me/second-factors")).json()["passkeys"]) == 1
