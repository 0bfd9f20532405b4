"""The scheduler: claims due duties and hands them to the broker in batches. May run in several copies.

It sleeps until the next duty is due, woken by LISTEN/NOTIFY when one that is due now is written, and at most `poll_s`.
When the broker is away it gives the rows back at once: workers then take late ones straight from the database.
"""

import asyncio
import logging
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import dramatiq

from core import duties, garbage, metrics
from core.clock import now
from core.duties import CHANNEL, Claimed
from core.pool import open_pool
from core.settings import Settings
from workers.broker import SEND_DEADLINE_S, Wire, declare_all, make_broker, write_batch
from workers.kinds import QUEUES, SYSTEM_KINDS

log = logging.getLogger("octavo.scheduler")
CLAIM_MAX = 500
"""Duties in one claim: five full messages."""
FULL_PAUSE_S = 0.02
"""Wait before the next look when work is due, but the queue is full or the accounts are busy. Workers do not notify when they end
a duty: a notification takes a lock that every commit of the database waits for (measured: a third of the time of ten thousand)."""
AWAY_PAUSE_S = 1.0


class Scheduler:
    """One copy of the scheduler."""

    def __init__(self, settings: Settings, actors: dict[str, "dramatiq.Actor[[Wire], Any]"]) -> None:
        self.settings = settings
        self.actors = actors
        self.stopping = asyncio.Event()
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Schedule until `stopping`. A database that is away is waited for."""
        while not self.stopping.is_set():
            try:
                await self._connected()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("database away", extra={"error": type(error).__name__})
                await self._sleep(AWAY_PAUSE_S)

    async def _connected(self) -> None:
        pool = await open_pool(self.settings.worker_url, self.settings, size=2)
        listener = asyncio.create_task(self._listen())
        try:
            async with pool.acquire() as db:
                for kind in SYSTEM_KINDS:
                    await duties.ensure_system(db, kind)
                while not self.stopping.is_set():
                    await self.tick(db)
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener
            with suppress(Exception):
                await asyncio.wait_for(pool.close(), AWAY_PAUSE_S)

    async def _listen(self) -> None:
        while True:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(self.settings.listen_url, server_settings={"application_name": "octavo-listen"})
                lost = asyncio.Event()
                connection.add_termination_listener(lambda *_, lost=lost: lost.set())
                try:
                    await connection.add_listener(CHANNEL, lambda *_: self._woken.set())
                    await lost.wait()
                finally:
                    connection.terminate()
            await asyncio.sleep(AWAY_PAUSE_S)

    async def tick(self, db: asyncpg.Connection) -> int:
        """Claim and hand on once for every kind; sleep if there was nothing. Returns how many were handed on."""
        self._woken.clear()
        total = 0
        for kind in QUEUES:
            claimed = await duties.claim(db, kind, CLAIM_MAX, self.settings.lease, self.settings.duties_queued)
            if claimed:
                metrics.claimed(kind, len(claimed))
                await self._hand_on(db, kind, claimed)
                total += len(claimed)
        if total == 0:
            await self._wait(db)
        return total

    async def _hand_on(self, db: asyncpg.Connection, kind: str, claimed: Sequence[Claimed]) -> None:
        size = self.settings.batch_size
        batches = [claimed[start : start + size] for start in range(0, len(claimed), size)]
        for position, batch in enumerate(batches):
            try:
                async with asyncio.timeout(SEND_DEADLINE_S):
                    await asyncio.to_thread(self.actors[kind].send, write_batch(batch))
            except Exception as error:  # whatever a broker raises means: not handed on
                log.warning("broker away", extra={"broker": type(error).__name__, "kind": kind})
                left = [row for rest in batches[position:] for row in rest]
                await duties.release(db, kind, left)
                await self._sleep(AWAY_PAUSE_S)
                return

    async def _wait(self, db: asyncpg.Connection) -> None:
        waits = [self.settings.poll_s]
        for kind in QUEUES:
            due = await duties.next_due(db, kind)
            if due is not None:
                waits.append(max((due - now()).total_seconds(), FULL_PAUSE_S))
        await self._sleep(min(waits))

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)

    def stop(self) -> None:
        """End after the current step."""
        self.stopping.set()
        self._woken.set()


async def _nothing(_kind: str, _claimed: list[Claimed]) -> None:
    """The scheduler sends and never runs."""


def schedule(settings: Settings) -> None:
    """Claim and hand on until SIGTERM."""
    broker = make_broker(settings.effective_broker_url)
    scheduler = Scheduler(settings, declare_all(broker, _nothing))

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, scheduler.stop)
        log.info("scheduler is up")
        await scheduler.run()

    garbage.settle()
    asyncio.run(run())
    broker.close()
