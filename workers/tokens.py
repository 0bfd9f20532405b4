"""Refresh duties: each exchanges one refresh token, at most once at a time. The rules are in `tenants.accounts.tokens`."""

import asyncio
import logging
from uuid import UUID

from core.duties import Claimed
from tenants.accounts.tokens import refresh
from tenants.posts import release
from workers.context import Context

log = logging.getLogger("octavo.tokens")


async def run(context: Context, agency_id: UUID, claimed: list[Claimed]) -> None:
    """Refresh each connection, apart from the others' errors; one that fails comes back with its lease."""

    async def one(row: Claimed) -> None:
        try:
            async with context.calls:
                await refresh(context.database, context.networks, context.ring, agency_id, row.subject_id, row.fence, release)
        except Exception:
            log.exception("refresh failed", extra={"kind": "refresh_token", "agency_id": str(agency_id)})

    await asyncio.gather(*(one(row) for row in claimed))
