"""The process that runs duties: `python -m workers worker`; and with the scheduler in it, `python -m workers all`."""

import asyncio
import concurrent.futures
import logging
import signal
import threading
from contextlib import suppress

import dramatiq

from core import garbage
from core.settings import Settings
from workers.broker import declare_all, make_broker, wait_ms
from workers.late import take_late, take_waiting
from workers.publishing import rehearse
from workers.runtime import Runtime
from workers.scheduler import Scheduler

log = logging.getLogger("octavo.worker")
LATE_SHARE = 0.2
"""Part of the grace that is kept for what runs beside the messages."""
HEAD_START_S = 0.25
"""What waits at the start comes first: the broker's library is as much work as all that the posts need of us (measured)."""
REHEARSE_AFTER_S = 1.0
"""Then come the messages, and then the connections are made ready for a burst."""


def work(settings: Settings, *, scheduling: bool = False) -> None:
    """Run duties, and schedule them if asked to, until SIGTERM.

    Then take no new ones, finish the calls in flight, and end within `shutdown_s`. Nothing is interrupted between a call
    and its record.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    runtime = Runtime(settings, stop)
    try:
        runtime.open()
        concurrent.futures.wait([runtime.beside(take_waiting(runtime.context))], HEAD_START_S)
        broker = make_broker(settings.effective_broker_url)
        actors = declare_all(broker, runtime.run)
        idle_ms = wait_ms(settings.effective_broker_url)
        worker = dramatiq.Worker(broker, worker_threads=settings.worker_threads, worker_timeout=idle_ms)
        worker.start()
        runtime.beside(take_late(runtime.context, runtime.stopping))
        runtime.beside(_rehearse(runtime))
        if scheduling:
            scheduler = Scheduler(settings, actors)
            runtime.beside(scheduler.run(), end=scheduler.stop)
        garbage.settle()
        log.info("worker is up")
        stop.wait()
        log.info("worker is stopping")
        runtime.leave_off()
        worker.stop(timeout=int(settings.shutdown_s * (1 - LATE_SHARE) * 1000))
    finally:
        runtime.close(settings.shutdown_s * LATE_SHARE)
    broker.close()
    if runtime.failed:
        raise SystemExit(1)


async def _rehearse(runtime: Runtime) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(runtime.stopping.wait(), REHEARSE_AFTER_S)
    try:
        if not runtime.stopping.is_set():
            await rehearse(runtime.context)
    except Exception as error:  # without it the first burst is slower, and no more
        log.warning("not rehearsed", extra={"error": type(error).__name__})
