"""Reading the audit log: pages for people, newest first, and the whole of a choice for an export, oldest first."""

from typing import Any
from uuid import UUID

import asyncpg
import orjson

from core.duties import Statements
from core.filters import Filter
from core.ids import encode
from core.wire import PREFIXES, encode_known, write_instant
from tenants.audit.chain import ENTRY
from tenants.permissions import Actor

EXPORT_PAGE = 500
"""Entries that an export reads in one transaction."""
NOUNS = {prefix: noun for noun, prefix in PREFIXES.items()}
BEHALF = "member"
"""On whose behalf an application acts is the member who granted it."""
SEALED = f"""
select {ENTRY}, s.sequence, s.hash from audit_entries e
left join audit_seals s on s.agency_id = e.agency_id and s.entry_id = e.id
where e.agency_id = $1 and ($2::uuid[] is null or e.workspace_id = any($2))"""
NEWEST = "select id from audit_entries where agency_id = $1 order by id desc limit 1"


def begin(actor: Actor) -> Filter:
    """Begin a choice of entries: the agency's, within the caller's workspaces."""
    return Filter(actor.agency_id, actor.reach)


async def list_entries(db: Statements, wanted: Filter, limit: int) -> list[asyncpg.Record]:
    """A page of entries with their places in the chain, newest first."""
    return await db.fetch(f"{SEALED}{wanted.sql} order by e.id desc limit {int(limit)}", *wanted.arguments)


async def newest_id(db: Statements, actor: Actor) -> UUID | None:
    """The newest entry that the caller sees: an export ends there, however fast others write."""
    rows = await db.fetch(NEWEST, actor.agency_id)
    return rows[0]["id"] if rows else None


async def next_entries(db: Statements, wanted: Filter, after: UUID | None) -> list[asyncpg.Record]:
    """The entries that follow `after`, oldest first."""
    further = Filter(*wanted.arguments)
    further.conditions = list(wanted.conditions)
    further.add("e.id > ?", after)
    return await db.fetch(f"{SEALED}{further.sql} order by e.id limit {EXPORT_PAGE}", *further.arguments)


def named(noun: str, id: UUID) -> dict[str, str]:
    """Name a thing by its kind and its id."""
    return {"type": noun, "id": encode_known(noun, id)}


def shown(row: asyncpg.Record) -> dict[str, Any]:
    """One entry on the wire."""
    return {
        "id": encode_known("audit_entry", row["id"]),
        "sequence": row["sequence"],
        "hash": None if row["hash"] is None else row["hash"].hex(),
        "at": write_instant(row["at"]),
        "action": row["action"],
        "actor": named(row["actor_type"], row["actor_id"]),
        "on_behalf_of": None if row["on_behalf_of"] is None else named(BEHALF, row["on_behalf_of"]),
        "credential": None if row["credential_id"] is None else named(row["credential_type"], row["credential_id"]),
        "workspace_id": None if row["workspace_id"] is None else encode("wsp", row["workspace_id"]),
        "subject": named(row["subject_type"], row["subject_id"]),
        "address": row["address"],
        "user_agent": row["user_agent"],
        "request_id": row["request_id"],
        "before": None if row["before"] is None else orjson.loads(row["before"]),
        "after": None if row["after"] is None else orjson.loads(row["after"]),
    }
