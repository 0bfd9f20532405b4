"""Media of a workspace: taking files in, showing them, giving them to posts.

A file's bytes are put into the store before its rows are written, outside any transaction (`store_picture`), and
deleted after the rows are gone. So a crash between the two leaves bytes without rows, which cost a little space, and
never rows without bytes, which would cost a post.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from core.duties import Statements
from core.errors import Conflict, Fault, InvalidInput
from core.ids import encode, new_id
from core.store import MediaStore
from core.wire import PREFIXES
from tenants.agencies.models import Workspace
from tenants.closed import require_open
from tenants.media import images
from tenants.media.models import Asset, AssetVersion
from tenants.media.names import clean_name
from tenants.media.schemas import AssetRead, AssetUpdate, AssetVersionRead
from tenants.owned import find, owned
from tenants.permissions import Actor, Permission, owned_sql

IN_USE = text(
    """
select exists (select 1 from posts where agency_id = :agency and workspace_id = :workspace and state <> 'archived'
               and media @> jsonb_build_array(jsonb_build_object('asset_id', cast(:asset as text))))
    or exists (select 1 from variants v join posts p on p.agency_id = v.agency_id and p.id = v.post_id
               where v.agency_id = :agency and v.workspace_id = :workspace and p.state <> 'archived'
               and v.media @> jsonb_build_array(jsonb_build_object('asset_id', cast(:asset as text))))
"""
)
"""By table names: posts import media, so media cannot import posts."""
# The key-share lock makes a deletion wait for the post that is being written, and that post for a deletion.
RESOLVE = f"""
select asset_versions.id, asset_versions.asset_id, asset_versions.number, assets.alt_text
from asset_versions join assets on assets.agency_id = asset_versions.agency_id and assets.id = asset_versions.asset_id
where {owned_sql("asset_versions")}
  and (asset_versions.id = any($3::uuid[]) or asset_versions.asset_id = any($4::uuid[]))
order by asset_versions.number for key share of assets
"""


@dataclass(slots=True)
class Stored:
    """A picture whose bytes are in the store, waiting for its rows."""

    version_id: UUID
    picture: images.Picture
    sha256: bytes
    key: str
    has_rows: bool = False
    """From here on a failure may be a commit whose answer was lost, so the bytes must stay."""


def storage_key(agency_id: UUID, workspace_id: UUID, sha256: bytes, version_id: UUID) -> str:
    """Name the bytes of one version. The version's id stands in it, so that deleting one never takes another's."""
    return f"{agency_id}/{workspace_id}/{sha256.hex()}-{version_id}"


@asynccontextmanager
async def store_picture(
    store: MediaStore, actor: Actor, workspace_id: UUID, file: BinaryIO, declared: str | None
) -> AsyncIterator[Stored]:
    """Check a file, write it anew and put it away; take it away again if its rows
    are never written. Outside a transaction.

    Raises what `images.take` raises, and TemporarilyUnavailable when the store is away.
    """
    async with images.jail_slot():
        picture = await images.take(file, declared)
        version_id, sha256 = new_id(), hashlib.sha256(picture.data).digest()
        stored = Stored(version_id, picture, sha256, storage_key(actor.agency_id, workspace_id, sha256, version_id))
        await store.put(stored.key, picture.data)
        try:
            yield stored
        except BaseException:
            if not stored.has_rows:
                await store.discard(stored.key)
            raise


async def check_workspace(session: AsyncSession, actor: Actor, workspace_id: UUID, *, look: bool = False) -> None:
    """Refuse a workspace that is not the caller's or, unless it is for a look, closed. Raises Missing, Conflict."""
    workspace = await find(session, Workspace, actor, workspace_id)
    if not look:
        require_open(workspace.closed_at)


async def create_asset(
    session: AsyncSession,
    actor: Actor,
    workspace_id: UUID,
    stored: Stored,
    *,
    filename: str,
    alt_text: str,
    now: datetime,
) -> AssetRead:
    """Write the rows of a new file: the asset and its first version. Raises Missing for a foreign workspace."""
    await check_workspace(session, actor, workspace_id)
    picture = stored.picture
    asset = Asset(
        agency_id=actor.agency_id,
        id=new_id(),
        workspace_id=workspace_id,
        filename=clean_name(filename, picture.content_type),
        alt_text=alt_text,
        version=1,
        created_at=now,
        updated_at=now,
    )
    session.add(asset)
    await session.flush()
    version = AssetVersion(
        agency_id=actor.agency_id,
        id=stored.version_id,
        workspace_id=workspace_id,
        asset_id=asset.id,
        number=1,
        content_type=picture.content_type,
        size_bytes=len(picture.data),
        width=picture.width,
        height=picture.height,
        sha256=stored.sha256,
        storage_key=stored.key,
        created_at=now,
    )
    session.add(version)
    await session.flush()
    stored.has_rows = True
    return present(asset, [version], actor)


async def list_assets(
    session: AsyncSession, actor: Actor, workspace_id: UUID, *, after: UUID | None, limit: int
) -> list[AssetRead]:
    """Read files, newest first, from the one after `after`. Raises Missing for a foreign workspace."""
    await check_workspace(session, actor, workspace_id, look=True)
    query = owned(Asset, actor).where(Asset.workspace_id == workspace_id)
    if after is not None:
        query = query.where(col(Asset.id) < after)
    assets = (await session.exec(query.order_by(col(Asset.id).desc()).limit(limit))).all()
    versions = await _versions(session, actor, [asset.id for asset in assets])
    return [present(asset, versions[asset.id], actor) for asset in assets]


async def get_asset(session: AsyncSession, actor: Actor, workspace_id: UUID, asset_id: UUID) -> AssetRead:
    """Read one file. Raises Missing."""
    asset = await find(session, Asset, actor, asset_id, workspace_id=workspace_id)
    return present(asset, (await _versions(session, actor, [asset_id]))[asset_id], actor)


async def newest_version(session: AsyncSession, actor: Actor, workspace_id: UUID, asset_id: UUID) -> tuple[Asset, AssetVersion]:
    """Find what the content route gives: the file and its newest version. Raises Missing."""
    asset = await find(session, Asset, actor, asset_id, workspace_id=workspace_id)
    return asset, (await _versions(session, actor, [asset_id]))[asset_id][-1]


async def lock_asset(session: AsyncSession, actor: Actor, workspace_id: UUID, asset_id: UUID) -> Asset:
    """Lock one file for a change. Raises Missing."""
    return await find(session, Asset, actor, asset_id, workspace_id=workspace_id, lock=True)


async def update_asset(session: AsyncSession, actor: Actor, asset: Asset, wish: AssetUpdate, now: datetime) -> AssetRead:
    """Change name and description of a locked file; its versions never change."""
    versions = (await _versions(session, actor, [asset.id]))[asset.id]
    changes: dict[str, Any] = wish.model_dump(exclude_unset=True)
    if "alt_text" in changes:
        changes["alt_text"] = changes["alt_text"] or ""
    if "filename" in changes:
        changes["filename"] = clean_name(changes["filename"], versions[-1].content_type)
    if changes:
        asset.sqlmodel_update(changes | {"version": asset.version + 1, "updated_at": now})
        session.add(asset)
        await session.flush()
    return present(asset, versions, actor)


async def delete_asset(session: AsyncSession, actor: Actor, asset: Asset) -> list[str]:
    """Delete the rows of a locked file and name the keys of its bytes, to be deleted after the commit.

    Raises Conflict (resource_in_use) while a post that is not archived carries it.
    """
    about = {"agency": actor.agency_id, "workspace": asset.workspace_id, "asset": str(asset.id)}
    if (await session.execute(IN_USE, about)).scalar_one():
        raise Conflict("A post that is not archived carries this file.", code="resource_in_use")
    versions = (await _versions(session, actor, [asset.id]))[asset.id]
    await session.delete(asset)
    await session.flush()
    return [version.storage_key for version in versions]


async def _versions(session: AsyncSession, actor: Actor, ids: Sequence[UUID]) -> Mapping[UUID, list[AssetVersion]]:
    found: dict[UUID, list[AssetVersion]] = {asset_id: [] for asset_id in ids}
    query = owned(AssetVersion, actor).where(col(AssetVersion.asset_id).in_(ids)).order_by(col(AssetVersion.number))
    for version in await session.exec(query):
        found[version.asset_id].append(version)
    return found


def present(asset: Asset, versions: Sequence[AssetVersion], actor: Actor) -> AssetRead:
    """Show a file with its versions, oldest first, to this caller."""
    newest = versions[-1]
    actions = {"update": Permission.MEDIA_CREATE, "delete": Permission.MEDIA_DELETE}
    place = encode(PREFIXES["workspace"], asset.workspace_id)
    return AssetRead(
        id=asset.id,
        workspace_id=asset.workspace_id,
        filename=asset.filename,
        alt_text=asset.alt_text,
        content_type=newest.content_type,
        size_bytes=newest.size_bytes,
        width=newest.width,
        height=newest.height,
        versions=[AssetVersionRead.model_validate(version) for version in versions],
        url=f"/v1/workspaces/{place}/media/{encode(PREFIXES['asset'], asset.id)}/content",
        allowed_actions=[name for name, permission in actions.items() if actor.may(permission)],
        version=asset.version,
        created_at=asset.created_at,
        updated_at=asset.updated_at,
    )


async def resolve(db: Statements, actor: Actor, workspace_id: UUID, wanted: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Pin what a post wants, `{"asset_id" | "asset_version_id", "alt_text"?}` each, to versions, in the same order.

    Answers `{"asset_id", "asset_version_id", "alt_text"}` as plain strings, for a jsonb column. An asset means its
    newest version; its own description stands in where none is given. The files cannot be deleted until the
    transaction ends.
    Raises InvalidInput that points at `/media/{i}` for what is not there, and for what is not this workspace's, alike.
    """
    if not wanted:
        return []
    actor.see(workspace_id)
    versions, assets = ([UUID(str(one[name])) for one in wanted if one.get(name)] for name in ("asset_version_id", "asset_id"))
    rows = await db.fetch(RESOLVE, actor.agency_id, workspace_id, versions, assets)
    by_version = {row["id"]: row for row in rows}
    newest = {row["asset_id"]: row for row in rows}
    pinned: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for place, one in enumerate(wanted):
        row = _chosen(one, by_version, newest)
        if row is None:
            faults.append(Fault(f"/media/{place}", "not_found", "There is no such file in this workspace."))
            continue
        alt_text = one.get("alt_text")
        pinned.append(
            {
                "asset_id": str(row["asset_id"]),
                "asset_version_id": str(row["id"]),
                "alt_text": row["alt_text"] if alt_text is None else alt_text,
            }
        )
    if faults:
        raise InvalidInput("A file of the post is not there.", faults=faults)
    return pinned


def _chosen(
    one: Mapping[str, Any], by_version: Mapping[UUID, asyncpg.Record], newest: Mapping[UUID, asyncpg.Record]
) -> asyncpg.Record | None:
    asset_id = one.get("asset_id") and UUID(str(one["asset_id"]))
    if not one.get("asset_version_id"):
        return newest.get(asset_id) if asset_id else None
    row = by_version.get(UUID(str(one["asset_version_id"])))
    # Both given: they must belong together.
    return row if row is None or not asset_id or row["asset_id"] == asset_id else None
