"""Importing a sheet of posts: what the operation of that kind does, a few rows in one transaction at a time."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from core.clock import now
from core.errors import InvalidInput, Problem
from core.ids import encode
from networks.base import Network
from tenants.permissions import Actor
from tenants.posts import preflight, sheet
from tenants.posts.findings import RANKS, Found
from tenants.posts.sheet import Row
from tenants.posts.wishes import Refused, create_wished, read_wish

KIND = "posts_import"
FINDINGS_PER_ROW_MAX = 10
"""The worst come first; a sheet of ten thousand rows must still be an answer that can be read."""
read = sheet.read


def storage_key(agency_id: UUID, workspace_id: UUID, operation_id: UUID) -> str:
    """Name the bytes of a sheet; they stay until its operation ends."""
    return f"{agency_id}/{workspace_id}/imports/{operation_id}.csv"


async def step(
    db: asyncpg.Connection, actor: Actor, networks: Mapping[str, Network], operation: asyncpg.Record, rows: Sequence[Row],
    public_url: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """Create or (dry run) judge the posts of some rows, each by itself. Returns what became of each, for people and programs."""
    dry_run = orjson.loads(operation["input"])["dry_run"]
    one = _judge if dry_run else _create
    return [_about(row) | await one(db, actor, networks, operation["workspace_id"], row, public_url) for row in rows]


def _about(row: Row) -> dict[str, Any]:
    return {"row": row.number, "client_ref": row.client_ref}


def _wish(row: Row) -> Any:
    if not row.whole:
        return Refused(InvalidInput("The row has more cells than there are columns."))
    return read_wish(row.wish())


async def _create(
    db: asyncpg.Connection, actor: Actor, networks: Mapping[str, Network], workspace_id: UUID, row: Row, public_url: str
) -> dict[str, Any]:
    made = await create_wished(db, actor, networks, workspace_id, _wish(row), now())
    if isinstance(made, Problem):
        return {"status": made.status, "problem": made.describe(public_url)}
    return {"status": 201, "post_id": encode("pst", made)}


async def _judge(
    db: asyncpg.Connection, actor: Actor, networks: Mapping[str, Network], workspace_id: UUID, row: Row, public_url: str
) -> dict[str, Any]:
    wish = _wish(row)
    if isinstance(wish, Refused):
        return {"status": wish.problem.status, "problem": wish.problem.describe(public_url)}
    try:
        verdict = await preflight.validate_post(db, actor, networks, workspace_id, wish, now())
    except Problem as problem:
        return {"status": problem.status, "problem": problem.describe(public_url)}
    found = sorted(verdict.findings, key=lambda finding: -RANKS[finding.severity])[:FINDINGS_PER_ROW_MAX]
    return {"status": 200 if verdict.valid else 422, "valid": verdict.valid, "findings": [_brief(finding) for finding in found]}


def _brief(finding: Found) -> dict[str, Any]:
    account = finding.account_id
    return {
        "code": finding.code,
        "severity": finding.severity,
        "pointer": finding.pointer,
        "account_id": None if account is None else encode("acc", account),
        "detail": finding.detail,
    }
