"""The process that runs duties: `python -m workers worker`."""

import asyncio
import concurrent.futures
import logging
import signal
import threading
from contextlib import suppress

import dramatiq
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.middleware.asyncio import AsyncIO

from core import garbage
from core.duties import Claimed
from core.settings import Settings
from workers.broker import declare_all, make_broker, wait_ms
from workers.context import Context, open_context
from workers.duties import run_batch
from workers.late import take_late
from workers.publishing import rehearse

log = logging.getLogger("octavo.worker")
LATE_SHARE = 0.2
"""Part of the grace that is kept for late duties, which are told to stop before the messages are."""
REHEARSE_AFTER_S = 1.0
"""What waits at the start comes first; then the connections are made ready for a burst."""


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
        self._late = asyncio.run_coroutine_threadsafe(self._beside(), thread.loop)

    async def _beside(self) -> None:
        """What a worker does beside its messages."""
        await asyncio.gather(take_late(self.context, self.stopping), self._rehearse())

    async def _rehearse(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), REHEARSE_AFTER_S)
        try:
            if not self.stopping.is_set():
                await rehearse(self.context)
        except Exception as error:  # without it the first burst is slower, and no more
            log.warning("not rehearsed", extra={"error": type(error).__name__})

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
            self._late.result(timeout=self.settings.shutdown_s * LATE_SHARE)
        except Exception as error:  # whatever it was, the process ends now
            log.warning("late duties ended", extra={"error": type(error).__name__})
        thread.run_coroutine(self.context.close())
        super().after_worker_shutdown(broker, worker)  # type: ignore[no-untyped-call]  # as above

    async def run(self, kind: str, claimed: list[Claimed]) -> None:
        """Run one message's batch."""
        await run_batch(self.context, kind, claimed)


def work(settings: Settings) -> None:
    """Run duties until SIGTERM: then stop taking new ones, finish calls in flight, and end within `shutdown_s`."""
    runtime = Runtime(settings)
    broker = make_broker(settings.effective_broker_url, runtime)
    declare_all(broker, runtime.run)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    idle_ms = wait_ms(settings.effective_broker_url)
    worker = dramatiq.Worker(broker, worker_threads=settings.worker_threads, worker_timeout=idle_ms)
    worker.start()
    garbage.settle()
    log.info("worker is up")
    stop.wait()
    log.info("worker is stopping")
    worker.stop(timeout=int(settings.shutdown_s * (1 - LATE_SHARE) * 1000))
    broker.close()
