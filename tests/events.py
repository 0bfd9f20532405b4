"""The feed of events, read with patience."""

import asyncio
from typing import Any

import httpx2

TRIES = 200
"""Ten seconds."""


async def told(client: httpx2.AsyncClient, type: str | None = None, *, at_least: int = 1) -> list[dict[str, Any]]:
    """Read the feed's first page once it shows so many events.

    The feed waits for every writing transaction of the server that began earlier, and the making of another test's
    database is one.
    """
    for _ in range(TRIES):
        events: list[dict[str, Any]] = (await client.get("/v1/events", params={"type": type} if type else {})).json()["data"]
        if len(events) >= at_least:
            return events
        await asyncio.sleep(0.05)
    raise AssertionError(f"the feed shows {events} and no more")
