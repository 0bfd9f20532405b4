"""Exports: the archive is written into a file without a name on the worker's disk, page by page, and put into the media store in
parts. What is in memory is one page and a few parts, however large the agency is.

A crash leaves nothing half: the archive is there when it is whole, and a worker that comes after begins anew.
"""

import asyncio
import hashlib
import tempfile
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any
from uuid import UUID

import asyncpg
import orjson

from core.clock import now
from core.db import Tenant
from core.store import NotStoredError
from core.wire import encode_known, write_instant
from tenants.audit.chain import read_head
from tenants.operations.service import move
from tenants.rights import exporting
from workers.context import Context

FORMAT = "octavo-export-1"


@dataclass(frozen=True, slots=True)
class Done:
    """What work that runs as a whole came to: its result, what it made (key, until when), and what ends in its last transaction."""

    result: dict[str, Any]
    kept: tuple[str, datetime] | None = None
    finish: Callable[[asyncpg.Connection], Awaitable[None]] | None = None


@dataclass
class Archive:
    """A zip in the making, with the digest of each of its files."""

    zip: zipfile.ZipFile
    files: list[dict[str, Any]] = field(default_factory=list)

    async def add(self, name: str, pieces: AsyncIterator[bytes], *, packed: bool = True, **about: Any) -> None:
        """Write one file, a piece at a time, outside of the event loop."""
        digest, size = hashlib.sha256(), 0
        info = zipfile.ZipInfo(name, date_time=now().timetuple()[:6])
        info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        with self.zip.open(info, "w", force_zip64=True) as handle:
            async for piece in pieces:
                digest.update(piece)
                size += len(piece)
                await asyncio.to_thread(handle.write, piece)
        self.files.append({"name": name, "bytes": size, "sha256": digest.hexdigest()} | about)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def run(context: Context, agency_id: UUID, operation: asyncpg.Record, fence: int) -> Done:
    """Export an agency or a workspace, as its operation says."""
    held = orjson.loads(operation["input"])["permissions"]
    key, summary = await build(context, operation, agency_id, fence, held)
    ends = now() + exporting.KEEP
    return Done({"archive": told(operation, ends) | summary}, (key, ends))


def told(operation: asyncpg.Record, ends: datetime) -> dict[str, Any]:
    """Say where an archive is fetched, and until when."""
    workspace_id = operation["workspace_id"]
    place = "agency" if workspace_id is None else f"workspaces/{encode_known('workspace', workspace_id)}"
    name = encode_known("operation", operation["id"])
    return {"url": f"/v1/{place}/exports/{name}/content", "expires_at": write_instant(ends)}


async def build(
    context: Context, operation: asyncpg.Record, agency_id: UUID, fence: int, held: Collection[str] | None
) -> tuple[str, dict[str, Any]]:
    """Write the archive of an operation into the store. Returns its key and what the operation's result says of it.

    It holds what a holder of these permissions may read; None: everything.

    Raises TemporarilyUnavailable when the store is away.
    """
    workspace_id: UUID | None = operation["workspace_id"]
    place = exporting.folder(agency_id, workspace_id, operation["id"])
    await context.store.sweep(place)  # what a worker left behind that crashed
    total = len(exporting.resources(workspace_id, held)) + 1

    async def said(done: int) -> None:
        async with context.database.connection(Tenant(agency_id)) as db:
            await move(db, agency_id, operation["id"], done, total, {})

    with tempfile.TemporaryFile() as file:
        summary = await _write(context, file, agency_id, workspace_id, held, said)
        key = f"{place}{fence}.zip"
        size = file.seek(0, 2)
        digest = await asyncio.to_thread(_digest, file)
        file.seek(0)
        await context.store.put_file(key, file)
    return key, summary | {"size_bytes": size, "sha256": digest}


def _digest(file: IO[bytes]) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # IO[bytes] has what it reads by


async def _write(
    context: Context,
    file: IO[bytes],
    agency_id: UUID,
    workspace_id: UUID | None,
    held: Collection[str] | None,
    said: Callable[[int], Awaitable[None]],
) -> dict[str, Any]:
    tenant = Tenant(agency_id, None if workspace_id is None else (workspace_id,))
    rows: dict[str, int] = {}
    missing: list[str] = []
    with zipfile.ZipFile(file, "w") as zip:
        archive = Archive(zip)
        for done, (table, resource) in enumerate(exporting.resources(workspace_id, held), 1):
            name, counted = f"{resource.name}.jsonl", [0]
            await archive.add(name, _lines(context, tenant, table, workspace_id, counted))
            archive.files[-1]["rows"] = rows[resource.name] = counted[0]
            await said(done)
        media = 0
        async for row in _versions(context, tenant, workspace_id, held):
            try:
                pieces = await context.store.pieces(row["storage_key"], row["size_bytes"])
            except NotStoredError:
                missing.append(exporting.media_name(row))
                continue
            await archive.add(exporting.media_name(row), pieces, packed=False)
            media += 1
        withheld = exporting.withheld(workspace_id, held)
        manifest = await _manifest(context, tenant, workspace_id, archive.files, missing) | {"withheld": withheld}
        await archive.add("manifest.json", _once(_json(manifest)))
    return {"rows": rows, "media": media, "missing": missing, "withheld": withheld}


def _json(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)


async def _lines(
    context: Context, tenant: Tenant, table: str, workspace_id: UUID | None, counted: list[int]
) -> AsyncIterator[bytes]:
    after = None
    while True:
        async with context.database.connection(tenant) as db:
            lines, count, after = await exporting.next_rows(db, table, tenant.agency_id, workspace_id, after)
        counted[0] += count
        yield lines
        if after is None:
            return


async def _versions(
    context: Context, tenant: Tenant, workspace_id: UUID | None, held: Collection[str] | None
) -> AsyncIterator[asyncpg.Record]:
    after = None
    while exporting.shows_media(held):
        async with context.database.connection(tenant) as db:
            rows = await exporting.next_versions(db, tenant.agency_id, workspace_id, after)
        for row in rows:
            yield row
        if not rows:
            return
        after = rows[-1]["id"]


async def _manifest(
    context: Context, tenant: Tenant, workspace_id: UUID | None, files: list[dict[str, Any]], missing: list[str]
) -> dict[str, Any]:
    """Say what is in the archive, with digests; and where the audit log ended, which is all that stays after an erasure."""
    async with context.database.connection(tenant) as db:
        head = await read_head(db, tenant.agency_id)
    return {
        "format": FORMAT,
        "agency_id": encode_known("agency", tenant.agency_id),
        "workspace_id": None if workspace_id is None else encode_known("workspace", workspace_id),
        "made_at": write_instant(now()),
        "audit_head": {"sequence": head.sequence, "hash": head.hash.hex()},
        "files": files,
        "missing": missing,
    }
