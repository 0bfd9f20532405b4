"""Rate limits through HTTP: of a key, of an agency, of refused keys; with a Redis between processes, and without."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from api.app import create_app
from api.rate_limits import Standing, standing
from core.clock import now
from core.db import Database
from core.ids import encode
from core.settings import Settings
from core.windows import SHARE_EVERY_S, WINDOW_S
from tenants.agencies.keys import create_key, write_key
from tenants.agencies.schemas import KeyCreate
from tenants.permissions import Permission
from tests.conftest import TestAgency, client_of
from tests.servers.brokers import Broker, redis_is_here, redis_server

ITEM = re.compile(r'"(\w+)";([a-z]+)=(\d+);([a-z]+)=(\d+)')
LONGEST_TEST_S = 8
FAR_AWAY = "9.9.9.9"
"""A public address: those that are set aside for documentation are not."""


def read(answer: httpx2.Response, name: str) -> dict[str, dict[str, int]]:
    """One of the two fields: policy -> its parameters."""
    field = answer.headers[name]
    assert re.fullmatch(rf"{ITEM.pattern}(, {ITEM.pattern})*", field), field
    return {policy: {a: int(b), c: int(d)} for policy, a, b, c, d in ITEM.findall(field)}


def left(answer: httpx2.Response) -> dict[str, int]:
    return {policy: parameters["r"] for policy, parameters in read(answer, "RateLimit").items()}


@asynccontextmanager
async def serving(settings: Settings, **more: Any) -> AsyncIterator[FastAPI]:
    app = create_app(settings.model_copy(update={"rate_limit_key": 5, "rate_limit_agency": 8} | more))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(autouse=True)
async def minute() -> None:
    """Begin in a minute that does not end before the test does."""
    rest = WINDOW_S - now().timestamp() % WINDOW_S
    if rest < LONGEST_TEST_S:
        await asyncio.sleep(rest)


@pytest.fixture
async def limited(settings: Settings) -> AsyncIterator[FastAPI]:
    """An application whose keys may call five times a minute, and agencies eight times."""
    async with serving(settings) as app:
        yield app


def let_minutes_pass(app: FastAPI, minutes: int) -> None:
    """Move what was counted into the past, as if the minutes had gone by."""
    app.state.rate_limits.windows.index -= minutes


async def another_key(database: Database, agency: TestAgency) -> tuple[str, str]:
    """A second key of the agency: its id and its text."""
    async with database.session(agency.tenant) as session:
        row, text = await create_key(session, agency.actor, KeyCreate(name="second", scopes=list(Permission)), now())
    return encode("key", row.id), text


async def ask(app: FastAPI, key: str | None, count: int, **headers: str) -> list[httpx2.Response]:
    async with client_of(app, key) as client:
        return [await client.get("/v1/me", headers=headers) for _ in range(count)]


def statuses(answers: list[httpx2.Response]) -> list[int]:
    return [answer.status_code for answer in answers]


async def test_answers_tell_the_policies_and_count_down(limited: FastAPI, agency: TestAgency) -> None:
    answers = await ask(limited, agency.key, 3)
    assert [left(answer) for answer in answers] == [{"key": 5 - n, "agency": 8 - n} for n in (1, 2, 3)]
    assert read(answers[0], "RateLimit-Policy") == {"key": {"q": 5, "w": 60}, "agency": {"q": 8, "w": 60}}
    assert all(0 < one["t"] <= WINDOW_S for one in read(answers[0], "RateLimit").values())


async def test_errors_and_replays_tell_them_too(limited: FastAPI, agency: TestAgency) -> None:
    async with client_of(limited, agency.key) as client:
        missing = await client.get(f"/v1/workspaces/{encode('wsp', agency.actor.key_id)}")
        body, headers = {"name": "Bakery", "time_zone": "UTC"}, {"Idempotency-Key": "w"}
        made, again = [await client.post("/v1/workspaces", json=body, headers=headers) for _ in range(2)]
    assert statuses([missing, made, again]) == [404, 201, 201]
    assert [left(answer)["key"] for answer in (missing, made, again)] == [4, 3, 2]


async def test_one_request_too_many_is_refused_with_the_time_to_wait(limited: FastAPI, agency: TestAgency) -> None:
    *fine, refused = await ask(limited, agency.key, 6)
    assert statuses(fine) == [200] * 5
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["violated_policies"] == ["key"]
    assert read(refused, "RateLimit")["key"] == {"r": 0, "t": int(refused.headers["Retry-After"])}
    assert left(refused)["agency"] == 3  # a refused request is not counted
    let_minutes_pass(limited, 2)
    assert statuses(await ask(limited, agency.key, 1)) == [200]


async def test_what_is_refused_touches_no_table(limited: FastAPI, agency: TestAgency, settings: Settings) -> None:
    await ask(limited, agency.key, 5)
    db = await asyncpg.connect(settings.database_url)
    async with db.transaction(), client_of(limited, agency.key) as client:
        await db.execute("lock table api_keys, workspaces in access exclusive mode")  # who looked a key up now would wait for it
        refused = await client.post("/v1/workspaces", json={"name": "x", "time_zone": "UTC"}, headers={"Idempotency-Key": "once"})
    await db.close()
    assert refused.status_code == 429
    let_minutes_pass(limited, 2)
    async with client_of(limited, agency.key) as client:
        made = await client.post("/v1/workspaces", json={"name": "y", "time_zone": "UTC"}, headers={"Idempotency-Key": "once"})
    assert (made.status_code, made.headers.get("Idempotent-Replayed")) == (201, None)  # it did not spend the idempotency key


async def test_two_keys_share_the_quota_of_their_agency_and_not_their_own(
    limited: FastAPI, agency: TestAgency, database: Database
) -> None:
    _, second = await another_key(database, agency)
    assert statuses(await ask(limited, agency.key, 5)) == [200] * 5
    answers = await ask(limited, second, 4)
    assert statuses(answers) == [200, 200, 200, 429]
    assert answers[-1].json()["violated_policies"] == ["agency"]
    assert left(answers[-1]) == {"key": 2, "agency": 0}


async def test_two_agencies_and_two_modes_share_nothing(limited: FastAPI, agency: TestAgency, other: TestAgency) -> None:
    assert statuses(await ask(limited, agency.key, 6))[-1] == 429
    assert agency.sibling is not None
    for key in (other.key, agency.sibling.key):
        (answer,) = await ask(limited, key, 1)
        assert left(answer) == {"key": 4, "agency": 7}


async def test_of_a_hundred_requests_at_once_no_more_pass_than_the_quota(limited: FastAPI, agency: TestAgency) -> None:
    async with client_of(limited, agency.key) as client:
        answers = await asyncio.gather(*[client.get("/v1/me") for _ in range(100)])
    assert sorted(statuses(answers)) == [200] * 5 + [429] * 95


async def test_a_revoked_key_uses_up_nothing_of_its_agency(limited: FastAPI, agency: TestAgency, database: Database) -> None:
    id, second = await another_key(database, agency)
    assert statuses(await ask(limited, second, 2)) == [200, 200]
    async with client_of(limited, agency.key) as client:
        assert (await client.delete(f"/v1/api-keys/{id}")).status_code == 204
    refused = await ask(limited, second, 10)
    assert statuses(refused) == [401] * 10
    (answer,) = await ask(limited, agency.key, 1)
    assert left(answer)["agency"] == 3  # of eight: two, the revocation, the look that found it revoked, and this one


async def test_a_stranger_uses_up_nothing_of_an_agency_that_he_can_name(limited: FastAPI, agency: TestAgency) -> None:
    forged = write_key(agency.actor.agency_id, livemode=False)
    assert statuses(await ask(limited, forged, 10)) == [401] * 10
    (answer,) = await ask(limited, agency.key, 1)
    assert left(answer)["agency"] == 7


async def test_refused_keys_are_limited_by_address_and_good_ones_are_not(
    settings: Settings, agency: TestAgency, other: TestAgency
) -> None:
    async with serving(settings, rate_limit_address=3, trusted_proxies="127.0.0.1") as app:
        assert statuses(await ask(app, agency.key, 1, **{"X-Forwarded-For": FAR_AWAY})) == [200]
        forged = write_key(agency.actor.agency_id, livemode=False)
        tried = [await ask(app, key, 1, **{"X-Forwarded-For": FAR_AWAY}) for key in (forged, "a", "garbage", forged, "b")]
        assert [answer.status_code for (answer,) in tried] == [401, 401, 401, 429, 429]
        (refused,) = tried[-1]
        assert (refused.json()["violated_policies"], left(refused)) == (["address"], {"address": 0})
        # What shows no key guesses nothing: a page of another site can make a browser send it
        assert statuses(await ask(app, None, 5, **{"X-Forwarded-For": FAR_AWAY})) == [401] * 5
        assert statuses(await ask(app, agency.key, 1, **{"X-Forwarded-For": FAR_AWAY})) == [200]  # it was right a moment ago
        assert statuses(await ask(app, other.key, 1, **{"X-Forwarded-For": FAR_AWAY})) == [429]  # looked up, it could be a guess
        assert statuses(await ask(app, other.key, 1, **{"X-Forwarded-For": "1.1.1.1"})) == [200]


async def test_addresses_of_one_ipv6_network_count_as_one(settings: Settings) -> None:
    async with serving(settings, rate_limit_address=1, trusted_proxies="127.0.0.0/8") as app:
        addresses = ("2606:4700:1:2::1", "2606:4700:1:2:ffff::9", "2606:4700:1:3::1")
        answers = [await ask(app, "x", 1, **{"X-Forwarded-For": address}) for address in addresses]
    assert [answer.status_code for (answer,) in answers] == [401, 429, 401]


async def test_nobody_says_who_he_is_by_a_header_that_is_not_trusted(settings: Settings) -> None:
    async with serving(settings, rate_limit_address=1) as app:
        assert statuses(await ask(app, "x", 4, **{"X-Forwarded-For": FAR_AWAY})) == [401] * 4
    async with serving(settings, rate_limit_address=1, trusted_proxies="10.0.0.1") as app:
        assert statuses(await ask(app, "x", 4, **{"X-Forwarded-For": FAR_AWAY})) == [401] * 4


async def test_addresses_that_nobody_can_read_count_as_one(settings: Settings) -> None:
    async with serving(settings, rate_limit_address=1, trusted_proxies="127.0.0.0/8") as app:
        answers = [await ask(app, "x", 1, **{"X-Forwarded-For": junk}) for junk in ("junk", "other junk")]
    assert [answer.status_code for (answer,) in answers] == [401, 429]


@settings_of_hypothesis(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the minute is the same for all examples
@given(st.integers(1, 10_000), st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0.001, WINDOW_S))
def test_who_waits_as_long_as_told_finds_room_and_not_a_second_before(quota: int, before: int, count: int, rest: float) -> None:
    told = standing(quota, before, rest, count)
    if told.remaining:
        assert told == Standing(quota - int(before * rest / WINDOW_S) - count, told.seconds)
        return

    def after(seconds: float) -> int:
        if seconds < rest:
            return standing(quota, before, rest - seconds, count).remaining
        return standing(quota, count, rest + WINDOW_S - seconds, 0).remaining

    assert after(told.seconds) > 0
    assert told.seconds < 2 or after(told.seconds - 1.001) == 0


@pytest.fixture
def redis() -> Iterator[Broker]:
    if not redis_is_here():
        assert os.environ.get("OCTAVO_REQUIRE_ALL") != "1", "redis is not installed"
        pytest.skip("redis is not installed")
    with redis_server() as broker:
        yield broker


async def until_known(app: FastAPI, agency: TestAgency, count: int) -> None:
    """Wait until a process knows of so many requests of the agency, of all processes together."""
    windows = app.state.rate_limits.windows
    async with asyncio.timeout(10):
        while sum(n for key, n in windows.counts.items() if agency.actor.agency_id.hex in key) != count:
            await asyncio.sleep(0.02)


async def until_told(app: FastAPI) -> None:
    """Wait until a process has told the others all that it counted; the last call may still be on its way."""
    async with asyncio.timeout(10):
        while app.state.rate_limits.windows.untold:
            await asyncio.sleep(0.02)
    await asyncio.sleep(SHARE_EVERY_S)


async def test_processes_share_what_they_count_over_a_redis(
    settings: Settings, agency: TestAgency, other: TestAgency, redis: Broker
) -> None:
    async with serving(settings, redis_url=redis.url) as one, serving(settings, broker_url=redis.url) as another:
        assert statuses(await ask(one, agency.key, 3)) == [200] * 3
        assert statuses(await ask(another, agency.key, 1)) == [200]
        await until_known(another, agency, 4)
        answers = await ask(another, agency.key, 2)
        assert (statuses(answers), left(answers[0])) == ([200, 429], {"key": 0, "agency": 3})
        await until_told(another)
        assert statuses(await ask(one, agency.key, 1)) == [200]  # a process hears of the others when it has something to tell
        await until_known(one, agency, 6)
        refused, fine = await ask(one, agency.key, 1), await ask(one, other.key, 1)
        assert statuses(refused + fine) == [429, 200]


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_a_redis_that_is_away_delays_and_breaks_nothing(
    settings: Settings, agency: TestAgency, redis: Broker, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    async with serving(settings, redis_url=redis.url) as app:
        assert statuses(await ask(app, agency.key, 1)) == [200]
        if how == "killed":
            redis.kill()
        else:
            os.killpg(redis.process.pid, signal.SIGSTOP)
        assert statuses(await ask(app, agency.key, 5)) == [200] * 4 + [429]
        async with asyncio.timeout(20):
            while "Redis is away" not in caplog.text:
                await asyncio.sleep(0.02)
        let_minutes_pass(app, 2)
        assert statuses(await ask(app, agency.key, 6)) == [200] * 5 + [429]
    if how == "frozen":
        os.killpg(redis.process.pid, signal.SIGCONT)


async def test_a_redis_that_never_was_there_stops_no_start(settings: Settings, agency: TestAgency) -> None:
    async with serving(settings, redis_url="redis://127.0.0.1:9") as app:
        assert statuses(await ask(app, agency.key, 6)) == [200] * 5 + [429]
