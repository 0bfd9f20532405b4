"""What runs each kind of duty, and the one way to run a batch of any of them."""

import asyncio
import importlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from core.duties import Claimed
from workers import heartbeat, publishing
from workers.context import Context

log = logging.getLogger("octavo.worker")
Run = Callable[[Context, UUID, list[Claimed]], Awaitable[None]]
RUNS: dict[str, Run] = {"publish": publishing.run, "heartbeat": heartbeat.run}
"""What is there from the start: a post must not wait for the imports of anything else."""
LATER = {
    "refresh_token": "workers.tokens",
    "audit": "workers.audit",
    "mail": "workers.mail",
    "cleanup": "workers.cleanup",
    "operation": "workers.operations",
    "erase": "workers.erasing",
    "findings": "workers.findings",
}
"""Imported with the first duty of the kind, in a thread: some of them bring SQLAlchemy with its models."""


async def run_of(kind: str) -> Run:
    """Give the function that runs the duties of `kind` of one agency."""
    if kind not in RUNS:
        RUNS[kind] = (await asyncio.to_thread(importlib.import_module, LATER[kind])).run
    return RUNS[kind]


async def run_batch(context: Context, kind: str, claimed: Sequence[Claimed]) -> None:
    """Run a batch, each agency's part under its own stamp and apart from the others' errors.

    An error leaves the leases to run out: the rows come back, and their `claims` count what happens to poison.
    """
    parts: dict[UUID, list[Claimed]] = defaultdict(list)
    for row in claimed:
        parts[row.agency_id].append(row)

    async def part(agency_id: UUID, rows: list[Claimed]) -> None:
        try:
            await (await run_of(kind))(context, agency_id, rows)
        except Exception:
            log.exception("batch failed", extra={"kind": kind, "agency_id": str(agency_id), "count": len(rows)})

    await asyncio.gather(*(part(agency_id, rows) for agency_id, rows in parts.items()))
