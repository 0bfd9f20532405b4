"""Members of one agency, each with a browser."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx2
from fastapi import FastAPI

from core.db import Database
from core.ids import encode
from tests.conftest import TestAgency
from tests.people.people import join, make_person, signed_in


@dataclass
class Someone:
    """A member with a browser."""

    id: str
    member_id: UUID
    user_id: UUID
    client: httpx2.AsyncClient


class Cast:
    """Makes members of one agency, and closes their browsers."""

    def __init__(self, app: FastAPI, database: Database, agency: TestAgency) -> None:
        self.app, self.database, self.agency = app, database, agency

    async def add(self, name: str, role: str, rooms: dict[UUID, str] | None = None) -> Someone:
        user = await make_person(self.database, f"{name}@{self.agency.actor.agency_name}.example".lower())
        member_id = await join(self.database, self.agency, user, role, rooms)
        client = await signed_in(self.app, self.database, user, self.agency)
        return Someone(encode("mem", member_id), member_id, user, client)


@asynccontextmanager
async def while_blocked(cast: Cast, request: Any) -> AsyncIterator[asyncio.Task[httpx2.Response]]:
    """Begin a request that waits for a lock."""
    task = asyncio.create_task(request)
    async with cast.database.connection(cast.agency.tenant) as look:
        async with asyncio.timeout(10):
            while not await look.fetchval("select exists (select from pg_locks where not granted)"):
                await asyncio.sleep(0.01)
    yield task
