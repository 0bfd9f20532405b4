"""The fault campaign: a thousand posts due in one second, workers killed, answers lost, brokers of every kind, and none.

The judge is the fake network's own ledger: nothing published twice, nothing lost, nothing called failed that is there.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.app import create_app
from core.clock import now
from core.db import Database
from core.ids import encode
from core.pool import open_pool
from core.settings import Settings
from tests.campaign.processes import Killer, Process, environment, fake_network
from tests.conftest import MakeAgency, TestAgency, client_of
from tests.servers.brokers import Broker, rabbitmq_is_here, rabbitmq_server, redis_is_here, redis_server

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(600)]
MUST_RUN = os.environ.get("OCTAVO_REQUIRE_ALL") == "1"
AGENCIES, ACCOUNTS_EACH, POSTS, KILLS = (20, 10, 1_000, 20) if MUST_RUN else (4, 5, 100, 4)
"""The whole campaign where everything must run (CI), a small one at the desk."""
KILL_MEAN_S = 0.8
FAULTS, LIST_FAULTS, SEED = 0.3, 0.03, 20261124
QUIET_DEADLINE_S = 400
FAST = {"sandbox_settle_s": "2", "sandbox_deadline_s": "2", "lease_s": "31", "fallback_after_s": "3"}


@dataclass
class Setting:
    """Who publishes what: one client per agency, and the posts by the marker that the network sees."""

    agencies: list[tuple[TestAgency, list[str]]] = field(default_factory=list)
    due: datetime = field(default_factory=now)


@contextmanager
def database_broker() -> Iterator[Broker | None]:
    """The default: the database is the broker."""
    yield None


BROKERS: dict[str, tuple[Callable[[], bool], Any]] = {
    "postgresql": (lambda: True, database_broker),
    "redis": (redis_is_here, redis_server),
    "rabbitmq": (rabbitmq_is_here, rabbitmq_server),
}


async def prepare(settings: Settings, make_agency: MakeAgency, due_in_s: float) -> Setting:
    """Agencies, accounts and posts through the API, all due in the same second."""
    setting = Setting()
    app = create_app(settings)
    async with app.router.lifespan_context(app):

        async def one(number: int) -> tuple[TestAgency, list[str]]:
            agency = await make_agency(f"Agency {number}")
            workspace = encode("wsp", agency.workspace.id)
            async with client_of(app, agency.key) as client:
                accounts = []
                for position in range(ACCOUNTS_EACH):
                    body = {"network": "sandbox", "credentials": {"handle": f"load-{number}-{position}"}, "targets": "all"}
                    answer = await client.post(f"/v1/workspaces/{workspace}/connect-sessions", json=body)
                    assert answer.status_code == 201, answer.text
                    accounts.append(answer.json()["accounts"][0]["id"])
            return agency, accounts

        for number in range(AGENCIES):
            setting.agencies.append(await one(number))
        setting.due = datetime.now(UTC) + timedelta(seconds=due_in_s)
        for number in range(POSTS):
            agency, accounts = setting.agencies[number % AGENCIES]
            async with client_of(app, agency.key) as client:
                body = {
                    "text": f"post {number}",
                    "account_ids": [accounts[(number // AGENCIES) % ACCOUNTS_EACH]],
                    "schedule": {"at": setting.due.isoformat()},
                }
                answer = await client.post(
                    f"/v1/workspaces/{encode('wsp', agency.workspace.id)}/posts",
                    json=body,
                    headers={"Idempotency-Key": f"n{number}"},
                )
                assert answer.status_code == 201, answer.text
    return setting


async def quiet(settings: Settings) -> None:
    """Wait until no publication has anything left to be done."""
    pool = await open_pool(settings.worker_url, settings, size=1)
    deadline = asyncio.get_running_loop().time() + QUIET_DEADLINE_S
    while await pool.fetchval("select count(*) from duties where kind = 'publish'"):
        if asyncio.get_running_loop().time() > deadline:
            left = await pool.fetch("select state, starts, due_at - now() from duties where kind = 'publish'")
            pytest.fail(f"not quiet in time: {len(left)} left, {left[:5]}")
        await asyncio.sleep(0.5)
    await pool.close()


async def judge(database: Database, setting: Setting, network: str) -> dict[str, Any]:
    """Compare what Octavo says with the network's ledger."""
    async with httpx2.AsyncClient(timeout=30) as client:
        ledger = (await client.get(f"{network}/_ledger")).json()
    published = Counter(post["marker"] for post in ledger["posts"])
    states: Counter[str] = Counter()
    lost, phantom, wrong, reconciled = [], [], [], 0
    late: list[float] = []
    arrivals = {post["marker"]: post for post in ledger["posts"]}
    for agency, _ in setting.agencies:
        async with database.connection(agency.tenant) as db:
            for row in await db.fetch("select id, state, external_id, resolution from publications"):
                marker = str(row["id"])
                states[row["state"]] += 1
                there = published[marker] > 0
                if row["state"] == "published":
                    reconciled += row["resolution"] == "reconciled"
                    if not there:
                        lost.append(marker)
                    elif arrivals[marker]["id"] != row["external_id"]:
                        wrong.append(marker)
                elif row["state"] != "needs_human":
                    (phantom if there else lost).append(marker)
                if there:
                    late.append(arrivals[marker]["arrived_at"] - setting.due.timestamp())
    late.sort()
    return {
        "states": dict(states), "duplicates": [marker for marker, count in published.items() if count > 1], "lost": lost,
        "phantom": phantom, "wrong_bind": wrong, "reconciled": reconciled, "faults": ledger["faults"],
        "earliest_s": round(late[0], 3), "p50_s": round(late[len(late) // 2], 2),
        "p99_s": round(late[int(len(late) * 0.99)], 2), "max_s": round(late[-1], 2),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "dies"),
    [("postgresql", False), ("redis", False), ("redis", True), ("rabbitmq", False), ("rabbitmq", True)],
    ids=["postgresql", "redis", "redis-stopped-for-good", "rabbitmq", "rabbitmq-stopped-for-good"],
)
async def test_a_thousand_posts_at_once_go_out_once_each(
    settings: Settings,
    make_agency: MakeAgency,
    database: Database,
    tmp_path: Path,
    name: str,
    dies: bool,
    record_property: Callable[[str, object], None],
) -> None:
    """Workers are SIGKILLed twenty times and three calls in ten are spoiled; with `dies` the broker is stopped for good."""
    here, start = BROKERS[name]
    if not here():
        assert not MUST_RUN, f"{name} is not installed"
        pytest.skip(f"{name} is not installed")
    with ExitStack() as stack:
        network = stack.enter_context(fake_network(tmp_path / "ledger", seed=SEED, faults=FAULTS, list_faults=LIST_FAULTS))
        broker = stack.enter_context(start())
        here_settings = settings.model_copy(update={"sandbox_url": network})
        setting = await prepare(here_settings, make_agency, 20)
        own = environment(settings, sandbox_url=network, **FAST, **({"broker_url": broker.url} if broker else {}))
        processes = [Process(["workers", role], own, tmp_path / f"{role}.log") for role in ("worker", "worker", "scheduler")]
        for process in processes:
            stack.callback(process.stop)
        await asyncio.sleep(max((setting.due - now()).total_seconds(), 0))
        killer = Killer(processes[:2], seed=SEED, times=KILLS, mean_s=KILL_MEAN_S)
        killer.start()
        if dies:
            broker.kill()
        await asyncio.to_thread(killer.join)
        await quiet(settings)
        verdict = await judge(database, setting, network)
    verdict["kills"] = killer.kills
    record_property("verdict", verdict)
    logging.getLogger("campaign").warning("%s dies=%s %s", name, dies, verdict)
    assert (verdict["duplicates"], verdict["lost"], verdict["phantom"], verdict["wrong_bind"]) == ([], [], [], [])
    assert sum(verdict["states"].values()) == POSTS
    assert verdict["earliest_s"] >= 0
    assert verdict["kills"] == KILLS
    assert sum(count for kind, count in verdict["faults"].items() if "list" not in kind) > POSTS // 5, (
        "too few faults to prove anything"
    )
