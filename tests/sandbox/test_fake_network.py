"""The connector against the fast fake: whatever fault a call meets, what it says must agree with the fake's ledger."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from core.clock import now
from networks.base import (
    Absent,
    Call,
    Draft,
    Found,
    Inconclusive,
    NetworkError,
    Receipt,
    Refused,
    Unauthorized,
    Unavailable,
)
from networks.client import Client
from networks.sandbox import Sandbox

LATE_S = 0.5
SETTLE = timedelta(seconds=1)
POSTS = 200


@pytest.fixture
async def fake(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The fake as a process of its own."""
    arguments = ["--seed", "7", "--faults", str(request.param), "--late-s", str(LATE_S), "--hang-s", "0.2"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fakes.network", "--ledger", str(tmp_path / "ledger"), *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    word, port = (await process.stdout.readline()).decode().split()
    assert word == "READY"
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    await process.wait()


@pytest.fixture
async def network(fake: str) -> AsyncIterator[Sandbox]:
    """The connector, pointed at the fake."""
    client = Client()
    yield Sandbox(client, base_url=fake, settle=SETTLE)
    await client.close()


async def get(url: str) -> Any:
    """Read one of the fake's own pages."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        return orjson.loads(await answer.read())


async def settled(network: Sandbox, call: Call) -> Found | Absent:
    """Look until the list proves something."""
    for _ in range(200):
        try:
            answer = await network.reconcile(call)
        except NetworkError:
            continue
        if not isinstance(answer, Inconclusive):
            return answer
    raise AssertionError("never conclusive")


@pytest.mark.parametrize("fake", [0.0], indirect=True)
async def test_speaks_the_protocol_of_the_real_one(network: Sandbox, fake: str, tmp_path: Path) -> None:
    made = await network.connect({"handle": "load-123"})
    due = now().timestamp()
    call = Call(made.credentials, made.targets[0], Draft(f"Hello due={due}"), "k", now(), {"marker": "k"})
    receipt = await network.publish(call)
    found = await network.reconcile(call)
    assert isinstance(found, Found)
    assert found.receipt == receipt
    fresh = await network.refresh(made.credentials)
    assert isinstance(await network.reconcile(replace(call, credentials=fresh, handles={"marker": "l"})), Absent)
    with pytest.raises(Unauthorized):
        await network.refresh(made.credentials)
    ledger = await get(f"{fake}/_ledger")
    assert [(one["marker"], one["profile"], one["due"]) for one in ledger["posts"]] == [("k", "load-123", due)]
    assert orjson.loads((tmp_path / "ledger").read_bytes())["id"] == receipt.external_id
    assert (await get(f"{fake}/_lateness"))["count"] == 1
    for bad in (replace(call, credentials=made.credentials), replace(call, handles={"marker": ""})):
        with pytest.raises(Refused):
            await network.publish(bad)


@pytest.mark.parametrize("fake", [0.7], indirect=True)
async def test_no_answer_contradicts_the_ledger(network: Sandbox, fake: str) -> None:
    made = await network.connect({"handle": "load-1"})
    said: dict[str, str] = {}

    async def one(number: int) -> None:
        marker = f"m{number}"
        call = Call(made.credentials, made.targets[0], Draft("Hello"), marker, now(), {"marker": marker})
        try:
            receipt = await network.publish(call)
        except (Refused, Unavailable):
            said[marker] = "refused"
            return
        except NetworkError:
            await asyncio.sleep(SETTLE.total_seconds())
            look = await settled(network, call)
            said[marker] = look.receipt.external_id if isinstance(look, Found) else "absent"
        else:
            assert isinstance(receipt, Receipt)
            said[marker] = receipt.external_id

    await asyncio.gather(*(one(number) for number in range(POSTS)))
    ledger = await get(f"{fake}/_ledger")
    assert max(Counter(post["marker"] for post in ledger["posts"]).values()) == 1
    truth = {post["marker"]: post["id"] for post in ledger["posts"]}
    assert {marker: (said[marker], post_id) for marker, post_id in truth.items() if said[marker] != post_id} == {}
    assert {marker for marker, word in said.items() if word not in {"refused", "absent"}} == truth.keys()
    assert set(ledger["faults"]) >= {"late", "accept_reset", "accept_hang", "accept_truncated", "empty", "stale"}
