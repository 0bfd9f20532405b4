"""The refresh duty over HTTP: the sandbox connector, whose server ends a family of tokens on reuse."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from networks.base import Network
from tests.accounts.conftest import Caller, Live, Worker
from tests.accounts.sandboxed import Rotations, sandbox
from tests.accounts.test_refresh import ask

ROUNDS = 5


@pytest.fixture
async def rotations(connectors: dict[str, Network]) -> AsyncIterator[Rotations]:
    """The sandbox among the networks, and its ledger of refreshes."""
    async with sandbox() as (network, rotations):
        connectors["sandbox"] = network
        yield rotations


async def connect(caller: Caller, handle: str = "always_ok") -> None:
    """Connect a handle of the sandbox, all of its profiles."""
    await caller.connect(network="sandbox", credentials={"handle": handle}, targets="all")


async def test_fifty_at_once_exchange_once_an_expiry(caller: Caller, worker: Worker, live: Live, rotations: Rotations) -> None:
    """F15: as often as the token expires, exactly one exchange, and no family is ever revoked."""
    await connect(caller)
    connection_id = await live(caller.agency, "always_ok")
    gate = asyncio.Lock()

    async def gated() -> None:
        await ask(worker, caller.agency, connection_id)
        async with gate:
            claimed = await worker.claim()
        await asyncio.gather(*(worker.run(row) for row in claimed for _ in range(2)))

    for round_ in range(1, ROUNDS + 1):
        await asyncio.gather(*(gated() for _ in range(50)))
        assert len(rotations.presented) == len(set(rotations.presented)) == round_
        assert (await worker.row(connection_id))["refreshes"] == round_
        await worker.age(timedelta(minutes=5))
    assert (await worker.row(connection_id))["account_state"] == "active"


async def test_a_rotation_whose_answer_is_lost_is_never_presented_again(
    caller: Caller, worker: Worker, live: Live, rotations: Rotations
) -> None:
    """F16: the sandbox has no grace; the account ends where a person can mend it, and nothing loops."""
    await connect(caller)
    connection_id = await live(caller.agency, "always_ok")
    rotations.cut = 1
    await worker.age(timedelta(minutes=52))  # past the latest of the spread (85 % of an hour)
    seen = []
    for _ in range(6):
        await worker.due()
        seen.append((await worker.row(connection_id))["account_state"])
        await worker.age(timedelta(minutes=3))
    assert seen[0] == "expiring"
    assert seen[-1] == "needs_reconnect"
    assert len(rotations.presented) == 1
    await connect(caller)
    fresh = await live(caller.agency, "always_ok")
    assert (await worker.row(fresh))["account_state"] == "active"


async def test_profiles_of_one_login_share_its_rotation(caller: Caller, worker: Worker, rotations: Rotations) -> None:
    await connect(caller, "many")
    for _ in range(3):
        await worker.age(timedelta(minutes=56))
        claimed = await worker.claim()
        await asyncio.gather(*(worker.run(row) for row in claimed))
        await worker.age(timedelta(seconds=90))
        await worker.due()
    assert len(rotations.presented) == len(set(rotations.presented)) == 3
    states = await worker.owner.fetch("select state from accounts")
    assert [row["state"] for row in states] == ["active"] * 3
