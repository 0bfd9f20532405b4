"""Counters of windows that slide, for the rate limits: of this process, and shared with the others over a Redis if there is one.

No request waits for the Redis. Each is counted and judged here; a task tells the Redis a moment later what was counted and
learns what the others counted. So a Redis that is slow or away costs nothing but the knowledge of the others.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from limits.aio.storage import RedisStorage
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from core import clock

log = logging.getLogger("octavo.windows")
WINDOW_S = 60
"""Length of every window. A minute forgives a burst, and who used it up waits no longer."""
SHARE_EVERY_S = 0.1
"""How late processes learn of one another: what a caller sends in that time is far below any quota."""
ANSWER_S_MAX = 0.5
"""A Redis beside us answers in 0.2 ms; one that takes this long is away."""
AWAY_S = 5.0
"""A Redis that did not answer is asked again after this."""
PREFIX = "octavo-rate"


class Windows:
    """Counters of sliding windows, in this process and in constant time.

    All windows have one length and begin together, so what has expired is dropped as a whole (a library's storage walks over
    every counter at each request: 33 us with one key, 189 us with a thousand).
    """

    def __init__(self) -> None:
        self.index = 0
        """Number of the window that runs, counted from the epoch: the same in every process."""
        self.counts: dict[str, int] = {}
        self.before: dict[str, int] = {}
        """The counts of the window before."""
        self.untold: dict[str, int] = {}
        """What was counted since the others were told."""
        self.asked: set[str] = set()
        """Whose window before was asked for."""

    def turn(self) -> float:
        """Begin the window that runs now, if it has not begun. Returns how many seconds of it have gone by."""
        index, gone = divmod(clock.seconds(), WINDOW_S)
        if index != self.index:
            self.before = self.counts if index == self.index + 1 else {}
            self.counts, self.untold, self.asked, self.index = {}, {}, set(), int(index)
        return gone

    def read(self, key: str) -> tuple[int, float, int]:
        """Read the count of the window before, the seconds that are left of the one that runs, and its count."""
        left = WINDOW_S - self.turn()
        return self.before.get(key, 0), left, self.counts.get(key, 0)

    def knows(self, key: str) -> bool:
        """Say whether anything was counted under `key` in this window or the one before."""
        self.turn()
        return key in self.counts or key in self.before

    def forget(self, key: str) -> None:
        """Count under `key` from nothing again."""
        for counters in (self.counts, self.before, self.untold):
            counters.pop(key, None)

    def add(self, key: str) -> None:
        """Count one under `key`, in the window that was read."""
        self.counts[key] = self.counts.get(key, 0) + 1
        self.untold[key] = self.untold.get(key, 0) + 1


async def share(windows: Windows, store: RedisStorage) -> int:
    """Tell the store what was counted here and not told yet, and take the totals of all processes for our own.

    Returns how many counters were told. Raises what the store raises; what was not told then stays to be told.
    """
    windows.turn()
    index, told, windows.untold = windows.index, windows.untold, {}
    keys = list(told)
    try:
        for key in keys:
            before = 0 if key in windows.asked else await store.get(f"{key}/{index - 1}")
            total = await store.incr(f"{key}/{index}", 2 * WINDOW_S, told[key])
            del told[key]
            windows.turn()
            if windows.index == index and key in windows.counts:
                windows.asked.add(key)
                # A Redis that was emptied knows less than we do, so no count falls.
                windows.counts[key] = max(windows.counts[key], total + windows.untold.get(key, 0))
                windows.before[key] = max(windows.before.get(key, 0), before)
    finally:
        if windows.index == index:
            for key, hits in told.items():
                windows.untold[key] = windows.untold.get(key, 0) + hits
    return len(keys)


@asynccontextmanager
async def shared(windows: Windows, url: str) -> AsyncIterator[None]:
    """Share over the Redis at `url` as long as this is open. It need not be there."""
    pool: ConnectionPool = ConnectionPool.from_url(url, socket_timeout=ANSWER_S_MAX, socket_connect_timeout=ANSWER_S_MAX)
    store = RedisStorage(f"async+{url}", implementation="redispy", key_prefix=PREFIX, connection_pool=pool)  # type: ignore[arg-type]  # as the library documents it
    task = asyncio.create_task(_keep_sharing(windows, store))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await pool.aclose()


async def _keep_sharing(windows: Windows, store: RedisStorage) -> None:
    """Share until cancelled. A Redis that is away is logged once and asked again later; meanwhile each process counts alone."""
    away = False
    while True:
        try:
            told = await share(windows, store)
        except (RedisError, OSError) as error:
            if not away:
                log.warning("rate limits are not shared: Redis is away", extra={"error": type(error).__name__})
            away = True
            await asyncio.sleep(AWAY_S)
            continue
        if away and told:
            log.info("rate limits are shared again")
            away = False
        await asyncio.sleep(SHARE_EVERY_S)
