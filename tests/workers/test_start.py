"""How a worker comes up: what waits is published first, and what it cannot do without ends it with an error."""

import asyncio
import threading
from pathlib import Path

import pytest

from core.settings import Settings
from tests.campaign.processes import Process, environment, fake_network
from tests.conftest import MakeAgency, client_of, free_port
from tests.workers.test_processes import House
from workers.runtime import Runtime

pytestmark = pytest.mark.timeout(150)
END_S = 30


async def test_what_waits_is_published_even_where_no_broker_can_be_reached(
    settings: Settings, make_agency: MakeAgency, tmp_path: Path
) -> None:
    from api.app import create_app

    with fake_network(tmp_path / "ledger", seed=7, faults=0, list_faults=0) as network:
        settings = settings.model_copy(update={"sandbox_url": network})
        nobody = f"redis://127.0.0.1:{free_port()}"
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            house = House(app, await make_agency("Early"), {})
            async with client_of(app, house.agency.key) as client:
                await house.connect(client)
                post = await house.post(client, "I was here before the worker")
                env = environment(settings, sandbox_url=network, broker_url=nobody, fallback_after_s="3600")
                worker = Process(["workers", "worker"], env, tmp_path / "worker.log")
                try:
                    assert (await house.until(client, post, "published"))["attempts"] == 1
                finally:
                    worker.stop()


@pytest.mark.parametrize("role", ["worker", "all"])
async def test_without_a_database_a_worker_ends_with_an_error(settings: Settings, tmp_path: Path, role: str) -> None:
    away = settings.model_copy(update={"database_url": f"postgresql://octavo@127.0.0.1:{free_port()}/octavo"})
    process = Process(["workers", role], environment(away), tmp_path / "worker.log")
    try:
        assert await asyncio.to_thread(process.popen.wait, END_S) == 1
    finally:
        process.stop()


def test_what_fails_beside_the_messages_ends_the_process(settings: Settings) -> None:
    async def fails() -> None:
        raise LookupError

    stop = threading.Event()
    runtime = Runtime(settings, stop)
    runtime.open()
    runtime.beside(fails())
    assert stop.wait(END_S)
    runtime.leave_off()
    runtime.close(END_S)
    assert runtime.failed
