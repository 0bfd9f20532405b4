"""What every duty may use. One per process, made and closed on the event loop that runs the duties."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from core.crypto import KeyRing
from core.db import Database
from core.pool import open_pool
from core.settings import Settings
from core.store import MediaStore, open_store
from networks import connectors
from networks.base import Network
from networks.client import Client

STEP_DEADLINE_S = 60.0
"""An upload of the largest image over a slow line."""
LEASE_MARGIN = timedelta(seconds=5)
"""Time that a lease must leave before and after the one call."""


@dataclass(frozen=True, slots=True)
class Context:
    """Settings, database, networks, keys and media of a worker process."""

    settings: Settings
    database: Database
    duties_pool: asyncpg.Pool
    client: Client
    networks: Mapping[str, Network]
    ring: KeyRing
    store: MediaStore
    calls: asyncio.Semaphore

    @property
    def lease_left_s(self) -> float:
        """How long after a beginning a call may still end: the lease, less the margin."""
        return self.settings.lease_s - LEASE_MARGIN.total_seconds()

    @property
    def step_deadline_s(self) -> float:
        """Longest time of one repeatable step: it must end within its lease."""
        return min(STEP_DEADLINE_S, self.lease_left_s)

    async def close(self) -> None:
        """Close what is open."""
        await self.client.close()
        await self.database.close()
        await self.duties_pool.close()


async def open_context(settings: Settings) -> Context:
    """Open everything. Refuses a lease that a call could outlive."""
    client = Client(allow_loopback=settings.egress_allow_loopback)
    networks = connectors(client, settings)
    longest = max(network.capabilities.call_deadline for network in networks.values())
    needed_s = (longest + LEASE_MARGIN).total_seconds()
    if settings.lease_s <= needed_s:
        raise SystemExit(f"OCTAVO_LEASE_S must be longer than {needed_s:.0f}")
    return Context(
        settings=settings,
        database=Database(settings),
        duties_pool=await open_pool(settings.worker_url, settings, size=2),
        client=client,
        networks=networks,
        ring=KeyRing(settings.encryption_keys.get_secret_value()),
        store=open_store(settings),
        calls=asyncio.Semaphore(settings.worker_calls_in_flight),
    )
