"""What a post's files are, for whoever has only their ids: the worker that publishes, and the checks before."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from core.duties import Statements

LOAD = """
select id, asset_id, workspace_id, content_type, size_bytes, width, height, sha256, storage_key
from asset_versions where agency_id = $1 and id = any($2::uuid[])
"""


async def load(db: Statements, agency_id: UUID, version_ids: Sequence[UUID]) -> dict[UUID, asyncpg.Record]:
    """Read versions by id, for the worker that publishes: types, sizes, digests and storage keys."""
    return {row["id"]: row for row in await db.fetch(LOAD, agency_id, list(version_ids))}
