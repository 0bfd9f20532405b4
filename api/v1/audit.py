"""The audit log: reading, exporting and verifying it. It is written by `api.idempotency`, with the answers."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from api.dependencies import Bare, can_apart, can_bare
from api.pagination import Page, PageQuery, page_of, read_cursor
from api.routing import v1
from core.db import Database
from core.filters import Filter
from core.ids import decode_suffix
from core.wire import DIGITS_MAX, Input, Instant, QueryNumber, WorkspaceId
from tenants.accounts.sealing import open_vault
from tenants.audit import chain, queries
from tenants.audit.schemas import AnyId, AuditEntryRead, AuditHead, AuditVerification
from tenants.permissions import Actor, Permission

router = v1("Audit log")
ACTION_LENGTH_MAX = 64
SEQUENCE_MAX = 10**DIGITS_MAX - 1
"""What a number in a query can say."""
JSON_LINES = "application/jsonl"
LINE = '{"id":"aud_01kazm3v9sfa4t2tq9gk1x7c5e","sequence":4711,"action":"workspace.update"}\n'
"""The beginning of a line, for the document."""
LINES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One entry a line, as `GET /v1/audit-entries` shows it, oldest first",
        "content": {JSON_LINES: {"schema": {"type": "string", "contentMediaType": JSON_LINES}, "example": LINE}},
    }
}


class Chosen(Input):
    """Which entries."""

    actor: AnyId | None = Field(
        None, description="Who did it: a key, a member or an application.", examples=["key_01kazm3v9sfa4t2tq9gk1x7c5e"]
    )
    action: str | None = Field(None, max_length=ACTION_LENGTH_MAX, description="What was done.", examples=["workspace.update"])
    subject: AnyId | None = Field(None, description="To what it was done: the id of anything.")
    workspace_id: WorkspaceId | None = None
    at_gte: Instant | None = Field(None, alias="at[gte]", description="At this instant or later.")
    at_lt: Instant | None = Field(None, alias="at[lt]", description="Before this instant.")


class AuditQuery(PageQuery, Chosen):
    """Filters of the audit log."""


class VerifyQuery(Input):
    """Which part of the chain."""

    from_sequence: QueryNumber = Field(1, ge=1, le=SEQUENCE_MAX, description="The first number to recompute.")
    limit: QueryNumber = Field(chain.VERIFY_MAX, ge=1, le=chain.VERIFY_MAX, description="How many links at most.")


def _wanted(actor: Actor, query: Chosen) -> Filter:
    wanted = queries.begin(actor)
    for column, id in (("actor", query.actor), ("subject", query.subject)):
        if id is not None:
            wanted.add(f"e.{column}_type = ?", queries.NOUNS.get(id[:3], ""))
            wanted.add(f"e.{column}_id = ?", decode_suffix(id[4:]))
    wanted.add("e.action = ?", query.action)
    wanted.add("e.workspace_id = ?", query.workspace_id)
    wanted.add("e.at >= ?", query.at_gte)
    wanted.add("e.at < ?", query.at_lt)
    return wanted


@router.get("/audit-entries", response_model=Page[AuditEntryRead], summary="Read the audit log")
async def list_audit_entries(
    db: Bare, actor: Annotated[Actor, can_bare(Permission.AUDIT_READ)], request: Request, response: Response,
    query: Annotated[AuditQuery, Query()],
) -> Response:  # fmt: skip
    """Who changed what, newest first: one entry for each request that changed something. A key that is bound to workspaces
    sees what was done there.
    """
    wanted = _wanted(actor, query)
    wanted.add("e.id < ?", read_cursor(request, actor, query))
    found = await queries.list_entries(db, wanted, query.limit + 1)
    page = page_of(request, response, actor, query, found, [row["id"] for row in found])
    page["data"] = [queries.shown(row) for row in page["data"]]
    return Response(orjson.dumps(page), media_type="application/json", headers=dict(response.headers))


def _head(head: chain.Head) -> AuditHead:
    return AuditHead(sequence=head.sequence, hash=head.hash.hex(), at=head.at, unsealed=head.unsealed)


@router.get("/audit-entries/head", response_model=AuditHead, summary="Get the head of the audit log")
async def get_audit_head(db: Bare, actor: Annotated[Actor, can_bare(Permission.AUDIT_READ)]) -> AuditHead:
    """The last link of the agency's chain. Keep it where nobody of the agency can change it, and compare later."""
    return _head(await chain.read_head(db, actor.agency_id))


@router.get("/audit-entries/verify", response_model=AuditVerification, summary="Verify the audit log")
async def verify_audit_entries(
    db: Bare, actor: Annotated[Actor, can_bare(Permission.AUDIT_READ)], request: Request, query: Annotated[VerifyQuery, Query()]
) -> AuditVerification:
    """Recompute a part of the chain, and name the first number that does not hold. A key that is bound to workspaces checks
    the entries that it sees, and cannot tell that one of the others is missing.
    """
    vault = await open_vault(db, request.app.state.ring, actor.agency_id)
    key = chain.chain_key(actor.agency_id, vault.data_key)
    first, whole = query.from_sequence, actor.workspace_ids is None
    verdict = await chain.verify(db, key, actor.agency_id, first, query.limit, whole=whole)
    return AuditVerification(
        ok=verdict.broken is None,
        from_sequence=first,
        to_sequence=verdict.to,
        checked=verdict.checked,
        broken_sequence=verdict.broken,
        broken_reason=verdict.reason,
        next_sequence=chain.going_on(verdict),
        head=_head(verdict.head),
    )


@router.get(
    "/audit-entries/export",
    response_class=Response,
    responses=LINES,
    summary="Export the audit log",
)
async def export_audit_entries(
    actor: Annotated[Actor, can_apart(Permission.AUDIT_READ)], request: Request, query: Annotated[Chosen, Query()]
) -> Response:
    """The chosen entries as JSON Lines, oldest first, up to the newest that there is when it begins."""
    database: Database = request.app.state.database
    async with database.connection(actor.tenant) as db:
        last = await queries.newest_id(db, actor)
    wanted = _wanted(actor, query)
    wanted.add("e.id <= ?", last)
    lines = _lines(database, actor, wanted) if last is not None else _nothing()
    return StreamingResponse(lines, media_type=JSON_LINES, headers={"Content-Disposition": 'attachment; filename="audit.jsonl"'})


async def _lines(database: Database, actor: Actor, wanted: Filter) -> AsyncIterator[bytes]:
    """Read a page in a short transaction of its own, and write it out between two."""
    after: UUID | None = None
    while True:
        async with database.connection(actor.tenant) as db:
            rows = await queries.next_entries(db, wanted, after)
        if rows:
            yield b"".join(orjson.dumps(queries.shown(row), option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        if len(rows) < queries.EXPORT_PAGE:
            return
        after = rows[-1]["id"]


async def _nothing() -> AsyncIterator[bytes]:
    yield b""
