"""The refresh duty: one exchange at a time, no answer lost unnoticed, nothing presented twice on a guess."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from core.clock import now
from core.db import Tenant
from core.duties import Claimed
from networks.base import Credentials, Network
from tenants.accounts.losing import lose
from tenants.accounts.sealing import open_vault
from tenants.accounts.tokens import ask_refresh
from tests.accounts.conftest import Caller, Live, Worker
from tests.accounts.scripted import Scripted, facts
from tests.conftest import TestAgency

HOURS = timedelta(hours=2)
GRACE = timedelta(minutes=5)


async def tokens(worker: Worker, agency: TestAgency, connection_id: UUID) -> Credentials:
    """What is sealed in a connection."""
    row = await worker.row(connection_id)
    async with worker.database.connection(Tenant(agency.actor.agency_id)) as db:
        return (await open_vault(db, worker.ring, agency.actor.agency_id)).unseal(row["sealed"], connection_id)


async def ask(worker: Worker, agency: TestAgency, connection_id: UUID, version: int | None = None) -> None:
    """What publishing does on an Expired answer."""
    async with worker.database.connection(Tenant(agency.actor.agency_id)) as db:
        await ask_refresh(db, agency.actor.agency_id, connection_id, now(), version=version)


async def test_a_refresh_is_put_at_four_fifths_of_the_life(caller: Caller, worker: Worker, live: Live) -> None:
    begun = now()
    await caller.account()
    row = await worker.row(await live(caller.agency, "bakery"))
    assert timedelta(minutes=89) < row["due_at"] - begun < timedelta(minutes=103)
    assert await worker.due() == 0


async def test_a_due_refresh_stores_the_new_pair_and_puts_the_next(
    caller: Caller, worker: Worker, live: Live, scripted: Scripted
) -> None:
    await caller.account()
    connection_id = await live(caller.agency, "bakery")
    before = await tokens(worker, caller.agency, connection_id)
    await worker.age(timedelta(minutes=110))
    assert await worker.due() == 1
    row, after = await worker.row(connection_id), await tokens(worker, caller.agency, connection_id)
    assert after.values["refresh_token"] not in {"", before.values["refresh_token"]}
    assert (row["refreshes"], row["version"], row["refresh_presented_digest"], row["account_state"]) == (1, 2, None, "active")
    assert row["due_at"] > now() + timedelta(minutes=80)
    assert scripted.exchanges == 1


async def test_the_same_duty_run_twice_exchanges_once(caller: Caller, worker: Worker, scripted: Scripted) -> None:
    await caller.account()
    await worker.age(timedelta(minutes=110))
    (claimed,) = await worker.claim()
    await worker.run(claimed)
    await worker.run(claimed)
    await asyncio.gather(worker.run(claimed), worker.run(claimed))
    assert (scripted.exchanges, scripted.reuses) == (1, 0)


@pytest.mark.parametrize("version", [None, 1])
async def test_fifty_at_once_exchange_one_expired_token_once(
    caller: Caller, worker: Worker, live: Live, scripted: Scripted, version: int | None
) -> None:
    """F15: fifty publications get Expired, ask, and every worker runs what it can get hold of."""
    scripted.delay_s = 0.02
    await caller.account()
    connection_id = await live(caller.agency, "bakery")
    gate = asyncio.Lock()

    async def one() -> None:
        await ask(worker, caller.agency, connection_id, version)
        async with gate:
            claimed = await worker.claim()
        for row in claimed:
            await asyncio.gather(worker.run(row), worker.run(row))

    for round_ in range(1, 4):
        version = round_ if version is not None else None
        await asyncio.gather(*(one() for _ in range(50)))
        assert (scripted.exchanges, scripted.reuses) == (round_, 0)
        assert (await worker.row(connection_id))["account_state"] == "active"
        await worker.age(timedelta(minutes=5))


async def test_a_late_expired_answer_about_the_token_before_asks_for_nothing(
    caller: Caller, worker: Worker, live: Live, scripted: Scripted
) -> None:
    await caller.account()
    connection_id = await live(caller.agency, "bakery")
    await ask(worker, caller.agency, connection_id, 1)
    assert await worker.due() == 1
    await worker.age(timedelta(minutes=30))
    await ask(worker, caller.agency, connection_id, 1)
    assert await worker.due() == 0
    await ask(worker, caller.agency, connection_id, 2)
    assert await worker.due() == 1
    assert scripted.exchanges == 2


async def test_a_lost_answer_is_not_followed_by_the_same_token(
    caller: Caller, worker: Worker, live: Live, scripted: Scripted
) -> None:
    """F16 without grace: the access token is used to its end, and then a person is asked; never a second presentation."""
    scripted.script = ["lost"]
    await caller.account()
    connection_id = await live(caller.agency, "bakery")
    await worker.age(timedelta(minutes=110))
    assert await worker.due() == 1
    row = await worker.row(connection_id)
    assert (row["account_state"], row["state"], row["refresh_presented_digest"] is None) == ("expiring", "active", False)
    assert row["due_at"] == row["expires_at"]
    assert await worker.events("account.expiring") == 1
    for _ in range(3):
        await worker.due()
    await worker.age(timedelta(minutes=15))
    for _ in range(3):
        await worker.due()
    row = await worker.row(connection_id)
    assert (row["account_state"], row["state"], row["sealed"], row["due_at"]) == ("needs_reconnect", "lost", None, None)
    assert (scripted.exchanges, scripted.reuses) == (1, 0)
    assert await worker.events("account.needs_reconnect") == 1


async def test_an_expired_answer_ends_the_use_of_a_token_whose_renewal_is_unknown(
    caller: Caller, worker: Worker, live: Live, scripted: Scripted
) -> None:
    scripted.script = ["lost"]
    await caller.account()
    connection_id = await live(caller.agency, "bakery")
    await worker.age(timedelta(minutes=110))
    await worker.due()
    await worker.age(timedelta(minutes=2))
    await ask(worker, caller.agency, connection_id)
    assert await worker.due() == 1
    assert (await worker.row(connection_id))["account_state"] == "needs_reconnect"
    assert (scripted.exchanges, scripted.reuses) == (1, 0)


@pytest.mark.parametrize(("script", "exchanges", "state"), [(["lost"], 2, "active"), (["lost", "lost"], 2, "expiring")])
async def test_inside_the_grace_a_lost_answer_is_asked_for_once_more(
    caller: Caller, worker: Worker, live: Live, scripted: Scripted, script: list[str], exchanges: int, state: str
) -> None:
    """F16 with grace: one retry, with the same token; a second lost answer is not followed by a third."""
    scripted.capabilities = facts(grace=GRACE)
    scripted.script = list(script)  # type: ignore[arg-type]  # the literals of `Fate`
    await caller.account()
    connection_id = await live(caller.agency, "bakery")
    await worker.age(timedelta(minutes=110))
    assert await worker.due() == 1
    assert (await worker.row(connection_id))["account_state"] == state
    await worker.age(timedelta(seconds=50))
    await worker.due()
    assert (scripted.exchanges, scripted.reuses) == (exchanges, 0)


async def test_a_worker_that_dies_between_mark_and_answer_leaves_an_unknown_outcome(
    caller: Caller, worker: Worker, live: Live, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await caller.account()
    connection_id = await live(caller.agency, "bakery")
    await worker.age(timedelta(minutes=110))
    (claimed,) = await worker.claim()

    async def die(_credentials: Credentials) -> Credentials:
        raise KeyboardInterrupt

    monkeypatch.setattr(scripted, "refresh", die)
    with pytest.raises(KeyboardInterrupt):
        await worker.run(claimed)
    monkeypatch.undo()
    assert (await worker.row(connection_id))["refresh_presented_digest"] is not None
    assert await worker.due() == 0, "its lease holds still"
    await worker.age(timedelta(seconds=61))
    assert await worker.due() == 1
    row = await worker.row(connection_id)
    assert (scripted.exchanges, row["account_state"]) == (0, "expiring")


async def test_a_worker_that_dies_inside_the_grace_is_followed_by_one_retry(
    caller: Caller, worker: Worker, live: Live, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.capabilities = facts(grace=GRACE)
    await caller.account()
    connection_id = await live(caller.agency, "bakery")
    await worker.age(timedelta(minutes=110))
    (claimed,) = await worker.claim()

    async def rotate_and_die(credentials: Credentials) -> Credentials:
        scripted._presented(credentials.values["refresh_token"])
        raise KeyboardInterrupt

    monkeypatch.setattr(scripted, "refresh", rotate_and_die)
    with pytest.raises(KeyboardInterrupt):
        await worker.run(claimed)
    monkeypatch.undo()
    await worker.age(timedelta(seconds=61))
    assert await worker.due() == 1
    assert (await worker.row(connection_id))["account_state"] == "active"
    assert scripted.reuses == 0


async def test_what_was_surely_not_sent_is_tried_again(caller: Caller, worker: Worker, live: Live, scripted: Scripted) -> None:
    scripted.script = ["never_sent"]
    await caller.account()
    connection_id = await live(caller.agency, "bakery")
    await worker.age(timedelta(minutes=110))
    assert await worker.due() == 1
    row = await worker.row(connection_id)
    assert (row["refresh_presented_digest"], row["account_state"]) == (None, "active")
    assert row["due_at"] > now()
    await worker.age(timedelta(seconds=30))
    assert await worker.due() == 1
    assert (scripted.exchanges, (await worker.row(connection_id))["refreshes"]) == (1, 1)


async def test_a_token_that_does_not_rotate_is_simply_asked_for_again(
    caller: Caller, worker: Worker, live: Live, scripted: Scripted
) -> None:
    scripted.capabilities = facts(token="refresh_stable")
    scripted.script = ["unclear"]
    await caller.account()
    connection_id = await live(caller.agency, "bakery")
    await worker.age(timedelta(minutes=110))
    await worker.due()
    assert (await worker.row(connection_id))["account_state"] == "active"
    await worker.age(timedelta(seconds=30))
    await worker.due()
    assert (await worker.row(connection_id))["refreshes"] == 1


async def test_proof_of_death_loses_the_account_once(caller: Caller, worker: Worker, live: Live, scripted: Scripted) -> None:
    read = await caller.account()
    connection_id = await live(caller.agency, "bakery")
    scripted.end("bakery")
    await worker.age(timedelta(minutes=110))
    assert await worker.due() == 1
    assert await worker.due() == 0
    row = await worker.row(connection_id)
    assert (row["state"], row["account_state"], row["sealed"]) == ("lost", "needs_reconnect", None)
    assert await worker.events("account.needs_reconnect") == 1
    again = (await caller.call("GET", f"accounts/{read['id']}")).json()
    assert (again["state"], again["state_reason"], again["connection"]) == ("needs_reconnect", "authorisation_lost", None)


async def test_a_refusal_of_the_token_before_loses_nothing(caller: Caller, worker: Worker, live: Live) -> None:
    """A sibling refreshed since the refused call was made."""
    await caller.account()
    connection_id = await live(caller.agency, "bakery")
    row = await worker.row(connection_id)
    await ask(worker, caller.agency, connection_id)
    await worker.due()
    agency_id = caller.agency.actor.agency_id
    async with worker.database.connection(Tenant(agency_id)) as db:
        assert not await lose(db, agency_id, row["account_id"], connection_id, "authorisation_lost", now(), version=1)
        assert await lose(db, agency_id, row["account_id"], connection_id, "authorisation_lost", now(), version=2)
        assert not await lose(db, agency_id, row["account_id"], connection_id, "authorisation_lost", now())
    assert await worker.events("account.needs_reconnect") == 1


async def test_an_empty_refresh_token_never_overwrites_a_stored_one(
    caller: Caller, worker: Worker, live: Live, scripted: Scripted
) -> None:
    scripted.capabilities = facts(token="refresh_stable")
    await caller.account()
    connection_id = await live(caller.agency, "bakery")
    stored = (await tokens(worker, caller.agency, connection_id)).values["refresh_token"]
    scripted.send_refresh = False
    await worker.age(timedelta(minutes=110))
    await worker.due()
    after = await tokens(worker, caller.agency, connection_id)
    assert (await worker.row(connection_id))["refreshes"] == 1
    assert after.values["refresh_token"] == stored
    await caller.account()
    reconnected = await live(caller.agency, "bakery")
    assert reconnected != connection_id
    assert (await tokens(worker, caller.agency, reconnected)).values["refresh_token"] == stored


async def test_accounts_of_one_authorisation_are_renewed_as_one(
    caller: Caller, worker: Worker, live: Live, scripted: Scripted
) -> None:
    """Three pages, one rotating token: three duties that are due at once, and one exchange."""
    await caller.connect("chain-3", targets="all")
    ids = [await live(caller.agency, f"chain.{number}") for number in (1, 2, 3)]
    await worker.age(timedelta(minutes=110))
    claimed = await worker.claim()
    assert len(claimed) == 3
    await asyncio.gather(*(worker.run(one) for one in claimed))
    assert (scripted.exchanges, scripted.reuses) == (1, 0)
    held = {(await tokens(worker, caller.agency, one)).values["refresh_token"] for one in ids}
    assert len(held) == 1
    await worker.age(timedelta(seconds=90))
    await worker.due()
    assert {(await worker.row(one))["account_state"] for one in ids} == {"active"}
    assert (scripted.exchanges, scripted.reuses) == (1, 0)


async def test_a_refresh_whose_account_was_reconnected_meanwhile_is_dropped(
    caller: Caller, worker: Worker, live: Live, scripted: Scripted
) -> None:
    await caller.account()
    old = await live(caller.agency, "bakery")
    await worker.age(timedelta(minutes=110))
    (claimed,) = await worker.claim()
    scripted.delay_s = 0.3
    running = asyncio.create_task(worker.run(claimed))
    await asyncio.sleep(0.1)
    await caller.account()
    await running
    fresh = await live(caller.agency, "bakery")
    assert (await worker.row(old))["state"] == "superseded"
    assert ((await worker.row(fresh))["refreshes"], (await worker.row(fresh))["account_state"]) == (0, "active")


async def test_a_token_that_cannot_be_renewed_warns_and_ends(
    caller: Caller, worker: Worker, live: Live, scripted: Scripted, connectors: dict[str, Network]
) -> None:
    scripted.capabilities = facts(token="static")
    await caller.account()
    connection_id = await live(caller.agency, "bakery")
    await worker.age(timedelta(minutes=110))
    await worker.due()
    assert (await worker.row(connection_id))["account_state"] == "expiring"
    await worker.age(timedelta(minutes=15))
    await worker.due()
    row = await worker.row(connection_id)
    assert (row["account_state"], row["state_reason"], scripted.exchanges) == ("needs_reconnect", "token_expired", 0)


async def test_a_foreign_agency_can_run_nothing(caller: Caller, stranger: Caller, worker: Worker, scripted: Scripted) -> None:
    await caller.account()
    await worker.age(timedelta(minutes=110))
    (claimed,) = await worker.claim()
    await worker.run(Claimed(stranger.agency.actor.agency_id, claimed.subject_id, claimed.fence))
    assert scripted.exchanges == 0
    await worker.run(claimed)
    assert scripted.exchanges == 1
