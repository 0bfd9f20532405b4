"""Operations: accepting long work, moving it on, and ending it. One transaction each, opened by the caller."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from core import duties
from core.duties import Statements
from core.wire import encode_known
from tenants.events.service import emit
from tenants.permissions import Actor, Permission

KIND = "operation"
"""The duty of an operation, over its whole life."""
KEEP = timedelta(days=30)
ENDED = frozenset({"succeeded", "failed", "canceled"})

INSERT = """
insert into operations (agency_id, workspace_id, id, kind, input, storage_key, created_by, created_at, updated_at, expires_at)
values ($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $8, $9)
"""
LOAD = """
select o.id, o.workspace_id, o.kind, o.state, o.progress, o.position, o.input::text input, o.storage_key,
  o.result::text result, o.created_by, a.name agency_name, a.livemode, coalesce(k.name, '') key_name
from operations o join agencies a on a.id = o.agency_id
left join api_keys k on k.agency_id = o.agency_id and k.id = o.created_by
where o.agency_id = $1 and o.id = $2 for update of o
"""
MOVE = """
update operations set state = 'running', position = $3, progress = $4, result = $5::text::jsonb, updated_at = now()
where agency_id = $1 and id = $2
"""
END = """
update operations set state = $3::text, progress = case when $3::text = 'succeeded' then 100 else progress end,
  problem = $4::text::jsonb, storage_key = $5, expires_at = coalesce($6, expires_at), updated_at = now()
where agency_id = $1 and id = $2 returning id
"""


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


async def accept(
    db: Statements, actor: Actor, workspace_id: UUID | None, id: UUID, kind: str, input: Mapping[str, Any], storage_key: str | None,
    now: datetime,
) -> None:  # fmt: skip
    """Write an operation and its duty; None is the whole agency. What it may do later is what the caller may do now."""
    permissions = sorted(permission.value for permission in actor.permissions)
    text = _json({**input, "permissions": permissions, "eyes": None if actor.eyes is None else str(actor.eyes)})
    await db.execute(INSERT, actor.agency_id, workspace_id, id, kind, text, storage_key, actor.id, now, now + KEEP)
    await duties.put(db, KIND, actor.agency_id, [(id, now, None)], now)


async def load(db: Statements, agency_id: UUID, id: UUID) -> asyncpg.Record | None:
    """Lock an operation for its worker; None when it is gone."""
    rows = await db.fetch(LOAD, agency_id, id)
    return rows[0] if rows else None


def actor_of(agency_id: UUID, row: asyncpg.Record) -> Actor:
    """Act as who asked for it, within its workspace if it has one, with the permissions of that moment."""
    input = orjson.loads(row["input"])
    eyes = input.get("eyes")
    return Actor(
        agency_id=agency_id,
        agency_name=row["agency_name"],
        livemode=row["livemode"],
        key_id=row["created_by"],
        key_name=row["key_name"],
        permissions=frozenset(Permission(name) for name in input["permissions"]),
        workspace_ids=None if row["workspace_id"] is None else (row["workspace_id"],),
        eyes=None if eyes is None else UUID(eyes),
    )


async def move(db: Statements, agency_id: UUID, id: UUID, position: int, total: int, result: Mapping[str, Any]) -> None:
    """Store how far it is, in the transaction of what was done. It is at 100 only when it has ended."""
    await db.execute(MOVE, agency_id, id, position, min(99, position * 100 // max(total, 1)), _json(result))


async def end(
    db: Statements, agency_id: UUID, row: asyncpg.Record, fence: int, state: str, data: Mapping[str, Any],
    problem: Mapping[str, Any] | None = None, kept: tuple[str, datetime] | None = None,
) -> bool:  # fmt: skip
    """End an operation with its duty, and tell it. False, and nothing changed, for a worker whose lease is lost.

    `kept`: what it made lies under this key until then, and the operation is forgotten with it.
    """
    if row["id"] not in await duties.finish(db, KIND, [(row["id"], fence)]):
        return False
    if await db.fetchval(END, agency_id, row["id"], state, _json(problem), *(kept or (None, None))) is None:
        return False  # its workspace was erased meanwhile
    if row["workspace_id"] is None:
        return True  # events are a workspace's
    about = {"kind": row["kind"], "state": state, **data}
    await emit(db, agency_id, [(row["workspace_id"], "operation.completed", row["id"], about)])
    return True


def location(id: UUID) -> str:
    """Where an operation is read."""
    return f"/v1/operations/{encode_known('operation', id)}"
