"""What a worker process runs its duties on: the event loop of Dramatiq's async actors, and the context on it."""

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from dramatiq.asyncio import EventLoopThread, set_event_loop_thread

from core.duties import Claimed
from core.settings import Settings
from workers.context import Context, open_context
from workers.duties import run_batch

log = logging.getLogger("octavo.worker")
LOOP_START_S = 1.0


class Runtime:
    """The loop in its thread, and on it what the duties use. `stop` is set when something on it ends that must not."""

    context: Context

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self.settings = settings
        self.stopping = asyncio.Event()
        self.failed = False
        self._stop = stop
        self._thread = EventLoopThread(log)
        self._beside: list[concurrent.futures.Future[None]] = []
        self._ends: list[Callable[[], None]] = [self.stopping.set]

    def open(self) -> None:
        """Start the loop, and open the context on it."""
        self._thread.start(timeout=LOOP_START_S)
        set_event_loop_thread(self._thread)
        self.context = self._thread.run_coroutine(open_context(self.settings))

    async def run(self, kind: str, claimed: list[Claimed]) -> None:
        """Run one message's batch."""
        await run_batch(self.context, kind, claimed)

    def beside(self, task: Coroutine[Any, Any, None], end: Callable[[], None] | None = None) -> "concurrent.futures.Future[None]":
        """Run something beside the messages until `stopping`, or until `end` is called then. An error of it ends the process."""
        future = asyncio.run_coroutine_threadsafe(self._guarded(task), self._thread.loop)
        self._beside.append(future)
        if end is not None:
            self._ends.append(end)
        return future

    async def _guarded(self, task: Coroutine[Any, Any, None]) -> None:
        try:
            await task
        except Exception:
            log.exception("ended beside the messages")
            self.failed = True
            self._stop.set()

    def leave_off(self) -> None:
        """Tell what runs beside the messages to end."""
        for end in self._ends:
            self._thread.loop.call_soon_threadsafe(end)

    def close(self, deadline_s: float) -> None:
        """Wait for what runs beside the messages, and close the context, then the loop."""
        _, late = concurrent.futures.wait(self._beside, deadline_s)
        if late:
            log.warning("not ended in time", extra={"count": len(late)})
        if hasattr(self, "context"):
            self._thread.run_coroutine(self.context.close())
        self._thread.stop()
        set_event_loop_thread(None)
