"""Events: written in the transaction of what they tell, read in the order of commits."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from core.duties import Statements
from core.ids import new_id
from tenants.permissions import Actor

EMIT = """
insert into events (agency_id, workspace_id, id, type, subject_id, data)
select $1, w, i, t, s, d::jsonb from unnest($2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::text[]) x(w, i, t, s, d)
"""
LIST = """
select id, workspace_id, type, subject_id, data::text data, created_at, transaction_id from events
where agency_id = $1 and ($2::uuid[] is null or workspace_id = any($2))
  and (transaction_id, id) > (coalesce((select transaction_id from events where agency_id = $1 and id = $3), 0),
                              coalesce($3, '00000000-0000-0000-0000-000000000000'::uuid))
  and transaction_id < (pg_snapshot_xmin(pg_current_snapshot())::text)::bigint
  and ($4::text is null or type = $4)
order by transaction_id, id limit $5
"""


async def emit(db: Statements, agency_id: UUID, rows: Sequence[tuple[UUID, str, UUID, dict[str, Any]]]) -> None:
    """Append events (workspace, type, subject, data) in the current transaction."""
    if rows:
        await db.execute(
            EMIT,
            agency_id,
            [row[0] for row in rows],
            [new_id() for _ in rows],
            [row[1] for row in rows],
            [row[2] for row in rows],
            [orjson.dumps(row[3]).decode() for row in rows],
        )


async def list_events(db: Statements, actor: Actor, *, after: UUID | None, type: str | None, limit: int) -> list[asyncpg.Record]:
    """Read the events after one of them. What is not committed everywhere yet is left for the next call, so none is skipped."""
    return await db.fetch(LIST, actor.agency_id, actor.reach, after, type, limit)
