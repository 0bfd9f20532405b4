"""The two processes: `python -m workers worker` and `python -m workers scheduler`."""

import asyncio
import concurrent.futures
import logging
import signal
import threading
from typing import Any

import dramatiq
import uvloop
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.middleware.asyncio import AsyncIO

from core.duties import Claimed
from core.logging import configure
from core.settings import Settings, get_settings
from workers.broker import POLL_MS, Wire, declare, make_broker
from workers.context import Context, open_context
from workers.duties import KINDS, run_batch
from workers.scheduler import Scheduler, take_late

log = logging.getLogger("octavo.worker")


class Runtime(AsyncIO):
    """Dramatiq's event loop, and on it what the duties use: opened before the first message, closed after the last."""

    context: Context
    _late: "concurrent.futures.Future[None]"

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.stopping = asyncio.Event()

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Open the loop and the context."""
        super().before_worker_boot(broker, worker)  # type: ignore[no-untyped-call]  # Dramatiq types its API, not this middleware
        thread = get_event_loop_thread()
        assert thread is not None
        self.context = thread.run_coroutine(open_context(self.settings))
        self._late = asyncio.run_coroutine_threadsafe(take_late(self.context, self.stopping), thread.loop)

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Stop taking late duties at once."""
        thread = get_event_loop_thread()
        assert thread is not None
        thread.loop.call_soon_threadsafe(self.stopping.set)

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Close the context, then the loop. Nothing is interrupted between a call and its record."""
        thread = get_event_loop_thread()
        assert thread is not None
        try:
            self._late.result(timeout=self.settings.shutdown_s)
        except Exception as error:  # whatever it was, the process ends now
            log.warning("late duties ended", extra={"error": type(error).__name__})
        thread.run_coroutine(self.context.close())
        super().after_worker_shutdown(broker, worker)  # type: ignore[no-untyped-call]  # as above


def declare_all(broker: dramatiq.Broker, runtime: Runtime) -> dict[str, "dramatiq.Actor[[Wire], Any]"]:
    """Declare the actor of every kind of duty."""

    async def run(kind: str, claimed: list[Claimed]) -> None:
        await run_batch(runtime.context, kind, claimed)

    return {name: declare(broker, name, kind.queue, run) for name, kind in KINDS.items()}


def work(settings: Settings) -> None:
    """Run duties until SIGTERM: then stop taking new ones, finish calls in flight, and end within `shutdown_s`."""
    runtime = Runtime(settings)
    broker = make_broker(settings.effective_broker_url, runtime)
    declare_all(broker, runtime)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker = dramatiq.Worker(broker, worker_threads=settings.worker_threads, worker_timeout=POLL_MS)
    worker.start()
    log.info("worker is up")
    stop.wait()
    log.info("worker is stopping")
    worker.stop(timeout=int(settings.shutdown_s * 1000))
    broker.close()


def schedule(settings: Settings) -> None:
    """Claim and hand on until SIGTERM."""
    runtime = Runtime(settings)
    broker = make_broker(settings.effective_broker_url, runtime)
    scheduler = Scheduler(settings, declare_all(broker, runtime))

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, scheduler.stop)
        log.info("scheduler is up")
        await scheduler.run()

    asyncio.run(run())
    broker.close()


def main(role: str) -> None:
    """Start one of the two."""
    settings = get_settings()
    configure(settings)
    uvloop.install()
    {"worker": work, "scheduler": schedule}[role](settings)
