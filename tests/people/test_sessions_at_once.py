"""Sessions that begin while something ends all sessions of the person: one waits for the other, and none is overlooked."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from core.clock import now
from core.db import Database, Person
from core.ids import new_id
from tenants.people import codes, links, resets, service
from tenants.people.factors import after_adding
from tenants.people.service import BY_ID, PASSWORD, Place
from tenants.people.sessions import HALF, SignedIn, find_session, hold_signed, read_session
from tests.people.cast import Cast, Someone, while_blocked
from tests.people.credentials import PUBLIC, Device, add_app, add_passkey
from tests.people.people import HASHED, browser, sign_in
from tests.people.people import PASSWORD as OLD

THIEF = Place(None, "thief", "")
NEW = "seven loud lanterns on the hill"


@pytest.fixture
async def ada(cast: Cast) -> AsyncIterator[Someone]:
    """The owner of the agency, signed in."""
    made = await cast.add("ada", "owner")
    yield made
    await made.client.aclose()


async def link(cast: Cast, ada: Someone) -> str:
    """A link in Ada's mail for a new password."""
    id = new_id()
    async with cast.database.connection(Person(ada.user_id)) as db:
        await links.add_link(db, ada.user_id, id, links.RESET, "ada@first.example", now())
    return links.write_link(cast.app.state.house.secret, links.RESET, ada.user_id, id)


async def living(app: FastAPI, text: str) -> int:
    """What a session that has begun is told of itself."""
    async with browser(app, cookie=text) as client:
        return (await client.get("/v1/sessions")).status_code


async def waiting_session(database: Database, half: httpx2.AsyncClient) -> SignedIn:
    """Half a session, as the door finds it."""
    presented = read_session(half.cookies["sid"])
    async with database.connection(Person(presented.user_id)) as db:
        return await find_session(db, presented, now(), HALF)


@pytest.mark.parametrize("factor", ["app", "passkey"])
async def test_the_first_factor_ends_a_session_that_begins_at_the_same_time(cast: Cast, ada: Someone, factor: str) -> None:
    adding = add_app(ada.client) if factor == "app" else add_passkey(ada.client, Device(PUBLIC))
    async with cast.database.connection(Person(ada.user_id)) as slow:
        person, hash = await slow.fetchrow(BY_ID, ada.user_id), await slow.fetchval(PASSWORD, ada.user_id)
        begun = await service.begin(slow, person, hash, None, THIEF, now())
        async with while_blocked(cast, adding) as task:
            pass
    await task
    assert begun.factors == []
    assert await living(cast.app, begun.text) == 401


async def test_a_session_that_begins_while_the_first_factor_is_added_is_asked_for_it(cast: Cast, ada: Someone) -> None:
    presented = read_session(ada.client.cookies["sid"])
    await ada.client.post("/v1/me/totp")
    async with browser(cast.app) as door:
        async with cast.database.connection(Person(ada.user_id)) as slow:
            signed = await hold_signed(slow, await find_session(slow, presented, now()))
            await codes.confirm_app(slow, ada.user_id, now())
            await after_adding(slow, cast.app.state.house, signed, now())
            async with while_blocked(cast, sign_in(door, "ada@first.example")) as task:
                pass
        assert (await task).json()["state"] == "second_factor_needed"


async def test_a_second_factor_that_is_added_at_once_with_the_first_is_a_further_one(cast: Cast, ada: Someone) -> None:
    presented = read_session(ada.client.cookies["sid"])
    await ada.client.post("/v1/me/totp")
    async with cast.database.connection(Person(ada.user_id)) as slow:
        signed = await hold_signed(slow, await find_session(slow, presented, now()))
        async with while_blocked(cast, add_passkey(ada.client, Device(PUBLIC))) as task:
            await codes.confirm_app(slow, ada.user_id, now())
            await after_adding(slow, cast.app.state.house, signed, now())
    answer = await task
    assert (answer.status_code, answer.json()["recovery_codes"]) == (201, None)


async def test_a_new_password_ends_a_session_that_is_completed_at_the_same_time(cast: Cast, ada: Someone) -> None:
    _, recovery = await add_app(ada.client)
    token = await link(cast, ada)
    async with browser(cast.app) as half, browser(cast.app) as door:
        await sign_in(half, "ada@first.example")
        waiting = await waiting_session(cast.database, half)
        async with cast.database.connection(Person(ada.user_id)) as slow:
            begun = await service.complete(slow, cast.app.state.house, waiting, "recovery_code", recovery[0], THIEF, now())
            body = {"token": token, "new_password": NEW}
            async with while_blocked(cast, door.post("/v1/password-resets/confirm", json=body)) as task:
                pass
        assert (await task).status_code == 204
    assert await living(cast.app, begun.text) == 401


async def test_half_a_session_is_not_completed_once_there_is_a_new_password(cast: Cast, ada: Someone) -> None:
    _, recovery = await add_app(ada.client)
    token = await link(cast, ada)
    async with browser(cast.app) as half:
        await sign_in(half, "ada@first.example")
        async with cast.database.connection(Person(ada.user_id)) as slow:
            user_id, id = links.read_link(cast.app.state.house.secret, links.RESET, token)
            await resets.reset(slow, cast.app.state.house, user_id, id, HASHED[OLD], now())
            completing = half.post("/v1/sessions/second-factor", json={"recovery_code": recovery[0]})
            async with while_blocked(cast, completing) as task:
                pass
        answer = await task
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("change", ["passkey", "password"])
async def test_a_session_that_ended_meanwhile_changes_nothing_that_one_signs_in_by(
    cast: Cast, ada: Someone, change: str
) -> None:  # fmt: skip
    token = await link(cast, ada)
    changing = (
        add_passkey(ada.client, Device(PUBLIC))
        if change == "passkey"
        else ada.client.put("/v1/me/password", json={"current_password": OLD, "new_password": NEW})
    )
    async with cast.database.connection(Person(ada.user_id)) as slow:
        user_id, id = links.read_link(cast.app.state.house.secret, links.RESET, token)
        await resets.reset(slow, cast.app.state.house, user_id, id, HASHED[OLD], now())
        async with while_blocked(cast, changing) as task:
            pass
    assert (await task).status_code == 401
