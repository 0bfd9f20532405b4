"""Guessing: a thousand wrong passwords for one account, from one address and from many, and its owner, who gets in."""

from collections import Counter

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from core.db import Database
from core.settings import Settings
from tenants.people.tries import KNOWN_MAX, STRANGERS_MAX
from tests.people.credentials import PUBLIC, Device, add_passkey, deliver_mail, passkey_options, read_mail
from tests.people.people import PASSWORD, browser, make_person, sign_in, spoiled
from workers.context import Context

MANY = 1_000
OWNER, CAFE = "8.8.4.4", "8.8.8.8"
AGAIN = "/v1/sessions/current/reauthentication"


async def guess(app: FastAPI, email: str, number: int, address: str) -> httpx2.Response:
    """Try one password from one address."""
    async with browser(app, address) as robber:
        return await sign_in(robber, email, f"guess number {number}")


def told(answers: list[httpx2.Response]) -> Counter[tuple[int, str]]:
    """Count the answers by what they say."""
    return Counter((one.status_code, one.json()["code"]) for one in answers)


async def tries(settings: Settings) -> list[tuple[int, int]]:
    """What is counted, past the walls."""
    db = await asyncpg.connect(settings.database_url)
    await db.execute("alter table password_tries no force row level security")
    found = await db.fetch("select by_strangers, by_known from password_tries")
    await db.execute("alter table password_tries force row level security")
    await db.close()
    return [tuple(row) for row in found]


async def test_a_thousand_wrong_passwords_from_one_address_leave_the_owner_alone(
    app: FastAPI, ada: str, settings: Settings
) -> None:
    answers = [await guess(app, ada, number, "9.9.9.9") for number in range(MANY)]
    # Then a handful was looked at, and the right one would not be from there
    assert told(answers)[401, "sign_in_failed"] <= 10
    assert told(answers)[429, "rate_limited"] >= MANY - 10
    async with browser(app, "9.9.9.9") as robber:
        assert (await sign_in(robber, ada)).status_code == 429
    # And the owner signs in from elsewhere, even with a browser that nobody knows
    async with browser(app, OWNER) as owner:
        assert (await sign_in(owner, ada)).status_code == 201
    assert await tries(settings) == []


async def test_a_thousand_wrong_passwords_from_many_addresses_end_at_the_account_and_spare_its_owner(
    app: FastAPI, ada: str, settings: Settings, context: Context
) -> None:
    # Given an owner who has signed in before
    async with browser(app, OWNER) as owner:
        await sign_in(owner, ada)
        remembered = owner.cookies["device"]
    # When a thousand addresses try one password each
    answers = [await guess(app, ada, number, f"9.{number // 250}.{number % 250}.9") for number in range(MANY)]
    # Then no more were looked at than the half of a hundred that strangers have
    assert told(answers) == {(401, "sign_in_failed"): STRANGERS_MAX, (429, "password_closed"): MANY - STRANGERS_MAX}
    # And the right one is not looked at from an address that nobody knows
    async with browser(app, CAFE) as cafe:
        assert (await sign_in(cafe, ada)).json()["code"] == "password_closed"
    # But the owner gets in with the browser that is remembered, wherever it is; which opens it for all
    async with browser(app, CAFE) as cafe:
        cafe.cookies.set("device", remembered)
        assert (await sign_in(cafe, ada)).status_code == 201
    assert await tries(settings) == []
    await deliver_mail(context)
    assert [one.to for one in read_mail(settings) if one.subject.startswith("Many wrong passwords")] == [ada]


@pytest.mark.parametrize("way", ["address", "passkey", "mail"])
async def test_the_owner_has_other_ways_in(app: FastAPI, ada: str, settings: Settings, context: Context, way: str) -> None:
    device = Device(PUBLIC)
    async with browser(app, OWNER) as owner:
        await sign_in(owner, ada)
        if way == "passkey":
            await add_passkey(owner, device)
    answers = [await guess(app, ada, number, f"9.9.{number}.9") for number in range(STRANGERS_MAX + 1)]
    assert answers[-1].json()["code"] == "password_closed"
    if way == "address":
        async with browser(app, OWNER) as fresh:  # another browser at the same place
            assert (await sign_in(fresh, ada)).status_code == 201
    elif way == "passkey":
        async with browser(app, CAFE) as fresh:
            answer = await fresh.post("/v1/sessions/passkey", json={"passkey": device.get(await passkey_options(fresh))})
            assert answer.status_code == 201
    else:
        async with browser(app, CAFE) as fresh:
            await fresh.post("/v1/password-resets", json={"email": ada})
            await deliver_mail(context)
            token = next(one.token for one in read_mail(settings) if one.subject == "A new password for Octavo")
            body = {"token": token, "new_password": "seven loud lanterns on the hill"}
            assert (await fresh.post("/v1/password-resets/confirm", json=body)).status_code == 204
            assert (await sign_in(fresh, ada, body["new_password"])).status_code == 201


@pytest.mark.parametrize("way", ["mail", "change"])
async def test_a_new_password_makes_strangers_of_who_knew_the_last_one(
    app: FastAPI, ada: str, settings: Settings, context: Context, way: str
) -> None:
    new = "seven loud lanterns on the hill"
    async with browser(app, CAFE) as thief, browser(app, OWNER) as owner:
        assert [(await sign_in(one, ada)).status_code for one in (thief, owner)] == [201, 201]
        device = thief.cookies["device"]
        if way == "mail":
            await owner.post("/v1/password-resets", json={"email": ada})
            await deliver_mail(context)
            token = next(one.token for one in read_mail(settings) if one.subject == "A new password for Octavo")
            body = {"token": token, "new_password": new}
            assert (await owner.post("/v1/password-resets/confirm", json=body)).status_code == 204
        else:
            body = {"current_password": PASSWORD, "new_password": new}
            assert (await owner.put("/v1/me/password", json=body)).status_code == 204
        # Neither the browser nor the address of the thief counts as known any more
        async with browser(app, "9.9.9.9") as robber:
            robber.cookies.set("device", device)
            assert (await sign_in(robber, ada)).status_code == 401
        assert (await guess(app, ada, 0, CAFE)).status_code == 401
        assert await tries(settings) == [(2, 0)]
        if way == "mail":
            assert (await sign_in(owner, ada, new)).status_code == 201
        # But the browser in which the owner has changed it, or signed in since, does
        async with browser(app, "9.9.8.8") as elsewhere:
            elsewhere.cookies.set("device", owner.cookies["device"])
            await sign_in(elsewhere, ada)
        assert (await tries(settings))[0][1] == 1


async def test_an_email_that_nobody_has_is_answered_in_the_same_way(
    app: FastAPI, ada: str, settings: Settings, context: Context
) -> None:  # fmt: skip
    said = []
    for email in (ada, "nobody@first.example"):
        answers = [await guess(app, email, number, f"9.9.{number}.9") for number in range(STRANGERS_MAX + 3)]
        said.append([{k: v for k, v in one.json().items() if k != "request_id"} for one in answers])
        said[-1].append({k: v for k, v in answers[-1].headers.items() if k in {"retry-after", "ratelimit-policy"}})
    assert said[0] == said[1]
    assert await tries(settings) == [(STRANGERS_MAX, 0)] * 2
    await deliver_mail(context)
    assert [one.to for one in read_mail(settings)] == [ada]


async def test_from_where_the_owner_was_nobody_guesses_without_end(app: FastAPI, ada: str) -> None:
    async with browser(app, "10.0.0.1") as owner:  # an address inside of a house, which no other limit counts
        await sign_in(owner, ada)
        device = owner.cookies["device"]
    answers = []
    for number in range(KNOWN_MAX + 5):
        async with browser(app, f"9.9.{number}.9") as thief:
            thief.cookies.set("device", device)
            answers.append(await sign_in(thief, ada, f"guess number {number}"))
    assert told(answers) == {(401, "sign_in_failed"): KNOWN_MAX, (429, "password_closed"): 5}


@pytest.mark.parametrize("bad", ["", "x", "0" * 106, "é" * 106])
async def test_a_made_up_device_is_a_stranger(
    app: FastAPI, ada: str, database: Database, settings: Settings, bad: str
) -> None:  # fmt: skip
    await make_person(database, "bob@second.example")
    async with browser(app, OWNER) as owner:
        await sign_in(owner, "bob@second.example")
        others = owner.cookies["device"]
    for text in (bad, others, spoiled(others)):
        async with browser(app, CAFE) as robber:
            await robber.post(
                "/v1/sessions", json={"email": ada, "password": "guess"}, headers=[("Cookie", f"device={text}".encode())]
            )  # fmt: skip
    assert await tries(settings) == [(3, 0)]


async def test_with_a_stolen_cookie_the_password_is_guessed_no_better(app: FastAPI, ada: str) -> None:
    async with browser(app, OWNER) as owner:
        await sign_in(owner, ada)
        stolen, answers = owner.cookies["sid"], []
    for number in range(KNOWN_MAX + 3):
        async with browser(app, f"9.9.{number}.9", cookie=stolen) as thief:
            body = {"current_password": f"guess number {number}", "new_password": "seven loud lanterns on the hill"}
            answers.append(await thief.put("/v1/me/password", json=body))
    assert told(answers) == {(401, "sign_in_failed"): KNOWN_MAX, (429, "password_closed"): 3}


async def test_guesses_where_one_shows_again_who_one_is_count_with_those_at_the_sign_in(
    app: FastAPI, ada: str, settings: Settings
) -> None:
    async with browser(app, OWNER) as owner:
        await sign_in(owner, ada)
        stolen, answers = owner.cookies["sid"], []
    await guess(app, ada, 0, CAFE)
    for number in range(KNOWN_MAX + 3):
        async with browser(app, f"9.9.{number}.9", cookie=stolen) as thief:
            answers.append(await thief.post(AGAIN, json={"password": f"guess number {number}"}))
    assert told(answers) == {(401, "sign_in_failed"): KNOWN_MAX, (429, "password_closed"): 3}
    assert await tries(settings) == [(1, KNOWN_MAX)]
    # The right one is not looked at there either, until it was right where strangers still may try
    async with browser(app, OWNER, cookie=stolen) as owner:
        assert (await owner.post(AGAIN, json={"password": PASSWORD})).status_code == 429
    async with browser(app, CAFE) as owner:
        assert (await sign_in(owner, ada)).status_code == 201
    async with browser(app, OWNER, cookie=stolen) as owner:
        assert (await owner.post(AGAIN, json={"password": PASSWORD})).status_code == 204
