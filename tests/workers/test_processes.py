"""The real processes over each broker: work gets done, /readyz tells the truth, and SIGTERM leaves nothing unknown.

Worker and scheduler are two processes over every broker, and one over the default broker too, as `make run` has it.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from core.ids import encode
from core.settings import Settings
from tests.campaign.processes import Process, environment, fake_network
from tests.campaign.test_campaign import BROKERS
from tests.conftest import MakeAgency, TestAgency, client_of

pytestmark = pytest.mark.timeout(150)
MUST_RUN = os.environ.get("OCTAVO_REQUIRE_ALL") == "1"
DEADLINE_S = 40
HEARTBEAT_S = 0.5


class House:
    """API in process, worker and scheduler as one process or two, one connected account."""

    def __init__(self, app: Any, agency: TestAgency, processes: dict[str, Process]) -> None:
        self.app, self.agency, self.processes = app, agency, processes
        self.base = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}"
        self.account = ""

    async def connect(self, client: httpx2.AsyncClient) -> None:
        body = {"network": "sandbox", "credentials": {"handle": "load-house"}, "targets": "all"}
        self.account = (await client.post(f"{self.base}/connect-sessions", json=body)).json()["accounts"][0]["id"]

    async def readyz(self) -> tuple[int, dict[str, Any]]:
        async with client_of(self.app, None) as anybody:
            answer = await anybody.get("/readyz")
            return answer.status_code, answer.json()["checks"]

    async def until_ready(self, status: int) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            seen, checks = await self.readyz()
            if seen == status:
                return checks
            assert time.monotonic() < deadline, checks
            await asyncio.sleep(0.1)

    async def post(self, client: httpx2.AsyncClient, text: str) -> dict[str, Any]:
        body = {"text": text, "account_ids": [self.account], "schedule": "now"}
        post: dict[str, Any] = (await client.post(f"{self.base}/posts", json=body)).json()
        return post

    async def publication(self, client: httpx2.AsyncClient, post: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = (await client.get(f"{self.base}/posts/{post['id']}")).json()["publications"][0]
        return found

    async def until(self, client: httpx2.AsyncClient, post: dict[str, Any], state: str) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_S
        while (found := await self.publication(client, post))["state"] != state:
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.02)
        return found


APART = ("worker", "scheduler")
TOGETHER = ("all",)
HOUSES = {**{broker: (broker, APART) for broker in BROKERS}, "all-postgresql": ("postgresql", TOGETHER)}


@pytest.fixture(params=list(HOUSES))
async def house(
    request: pytest.FixtureRequest, settings: Settings, make_agency: MakeAgency, tmp_path: Path
) -> AsyncIterator[House]:
    """Everything up, over one of the brokers."""
    from api.app import create_app

    name, roles = HOUSES[request.param]
    here, start = BROKERS[name]
    if not here():
        assert not MUST_RUN, f"{name} is not installed"
        pytest.skip(f"{name} is not installed")
    with ExitStack() as stack:
        network = stack.enter_context(fake_network(tmp_path / "ledger", seed=7, faults=0, list_faults=0))
        broker = stack.enter_context(start())
        settings = settings.model_copy(update={"sandbox_url": network, "heartbeat_s": HEARTBEAT_S})
        more = {"broker_url": broker.url} if broker else {}
        env = environment(settings, sandbox_url=network, heartbeat_s=str(HEARTBEAT_S), **more)
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            agency = await make_agency("House")
            processes = {role: Process(["workers", role], env, tmp_path / f"{role}.log") for role in roles}
            for process in processes.values():
                stack.callback(process.stop)
            built = House(app, agency, processes)
            async with client_of(app, agency.key) as client:
                await built.connect(client)
            await built.until_ready(200)
            yield built


async def test_a_post_for_now_goes_out_over_every_broker_and_a_stop_leaves_nothing_unknown(house: House) -> None:
    async with client_of(house.app, house.agency.key) as client:
        found = await house.until(client, await house.post(client, "now"), "published")
        assert (found["attempts"], found["error"]) == (1, None)
        posts = [await house.post(client, f"post {number}") for number in range(20)]
        for process in house.processes.values():
            process.popen.terminate()
        for process in house.processes.values():
            assert await asyncio.to_thread(process.popen.wait, 30) == 0
        states = {(await house.publication(client, post))["state"] for post in posts}
        assert states <= {"published", "scheduled", "claimed"}, states
        for process in house.processes.values():
            process.start()
        for post in posts:
            assert (await house.until(client, post, "published"))["attempts"] == 1


async def test_readyz_turns_red_when_no_worker_consumes_and_names_the_oldest_due_publication(house: House) -> None:
    worker = next(iter(house.processes.values()))
    worker.kill()
    async with client_of(house.app, house.agency.key) as client:
        post = await house.post(client, "nobody is there")
        checks = await house.until_ready(503)
        assert checks["workers"]["ok"] is False
        assert checks["publishing"]["oldest_due"]["publication"] == post["publications"][0]["id"]
    worker.start()
    await house.until_ready(200)
