"""Media of two agencies: what is taken, shown, pinned and deleted, and the walls between them."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from core.clock import now
from core.db import Database
from core.errors import Conflict, InvalidInput, Missing
from core.ids import new_id
from core.settings import Settings
from core.store import MediaStore, NotStoredError, open_store
from tenants.agencies.schemas import WorkspaceCreate
from tenants.agencies.service import create_workspace
from tenants.media import service, versions
from tenants.media.schemas import AssetRead, AssetUpdate
from tests.conftest import TestAgency
from tests.media import files


@pytest.fixture
def store(settings: Settings) -> MediaStore:
    return open_store(settings)


async def upload(
    database: Database, store: MediaStore, agency: TestAgency, *, alt_text: str = "", workspace_id: UUID | None = None
) -> AssetRead:
    """Take one picture in, as the route does."""
    workspace_id = workspace_id or agency.workspace.id
    with tempfile.TemporaryFile() as file:
        file.write(files.picture())
        async with (
            service.store_picture(store, agency.actor, workspace_id, file, "image/jpeg") as stored,
            database.session(agency.tenant) as session,
        ):
            return await service.create_asset(
                session, agency.actor, workspace_id, stored, filename="buns.jpg", alt_text=alt_text, now=now()
            )


async def second_workspace(database: Database, agency: TestAgency) -> UUID:
    async with database.session(agency.tenant) as session:
        wish = WorkspaceCreate(name="Second", time_zone="UTC")
        return (await create_workspace(session, agency.actor, wish, now())).id


async def key_of(database: Database, agency: TestAgency, asset: AssetRead) -> str:
    async with database.connection(agency.tenant) as db:
        rows = await versions.load(db, agency.actor.agency_id, [asset.versions[-1].id])
    return str(rows[asset.versions[-1].id]["storage_key"])


async def test_a_file_is_taken_and_shown(database: Database, store: MediaStore, agency: TestAgency) -> None:
    asset = await upload(database, store, agency, alt_text="Buns")
    assert (asset.content_type, asset.width, asset.height, asset.version) == ("image/jpeg", 64, 48, 1)
    assert asset.allowed_actions == ["update", "delete"]
    assert asset.url.endswith(f"/media/{asset.model_dump(mode='json')['id']}/content")
    key = await key_of(database, agency, asset)
    version = asset.versions[0]
    assert key == f"{agency.actor.agency_id}/{agency.workspace.id}/{version.sha256.hex()}-{version.id}"
    assert len(await store.get(key)) == asset.size_bytes
    async with database.session(agency.tenant) as session:
        assert await service.get_asset(session, agency.actor, agency.workspace.id, asset.id) == asset


async def test_files_are_listed_newest_first(database: Database, store: MediaStore, agency: TestAgency) -> None:
    made = [(await upload(database, store, agency)).id for _ in range(3)]
    elsewhere = await second_workspace(database, agency)
    async with database.session(agency.tenant) as session:
        workspace_id = agency.workspace.id
        page = await service.list_assets(session, agency.actor, workspace_id, after=None, limit=2)
        rest = await service.list_assets(session, agency.actor, workspace_id, after=page[-1].id, limit=2)
        assert [row.id for row in page + rest] == made[::-1]
        assert await service.list_assets(session, agency.actor, elsewhere, after=None, limit=2) == []


async def test_changes(database: Database, store: MediaStore, agency: TestAgency) -> None:
    asset = await upload(database, store, agency, alt_text="Buns")
    async with database.session(agency.tenant) as session:
        row = await service.lock_asset(session, agency.actor, agency.workspace.id, asset.id)
        wish = AssetUpdate.model_validate({"filename": "../x.exe", "alt_text": None})
        changed = await service.update_asset(session, agency.actor, row, wish, now())
    assert (changed.filename, changed.alt_text, changed.version) == ("x.exe.jpg", "", 2)
    assert changed.versions == asset.versions


async def test_what_fails_before_its_rows_leaves_no_bytes(
    database: Database, store: MediaStore, agency: TestAgency, other: TestAgency, settings: Settings
) -> None:
    with pytest.raises(Missing):
        await upload(database, store, agency, workspace_id=other.workspace.id)
    assert [path for path in open_folder(settings).rglob("*") if path.is_file()] == []


def open_folder(settings: Settings) -> Path:
    return Path(settings.home) / "media"


async def test_nothing_reaches_over_a_wall(database: Database, store: MediaStore, agency: TestAgency, other: TestAgency) -> None:
    asset = await upload(database, store, agency)
    elsewhere = await second_workspace(database, agency)
    narrow = replace(agency.actor, workspace_ids=(elsewhere,))
    assert agency.sibling is not None
    strangers = [
        (other.actor, agency.workspace.id),
        (other.actor, other.workspace.id),
        (agency.sibling.actor, agency.workspace.id),
        (agency.actor, elsewhere),
        (narrow, agency.workspace.id),
    ]
    for actor, workspace_id in strangers:
        async with database.session(actor.tenant) as session:
            for call in (service.get_asset, service.newest_version, service.lock_asset):
                with pytest.raises(Missing):
                    await call(session, actor, workspace_id, asset.id)
            if workspace_id not in {other.workspace.id, elsewhere}:
                with pytest.raises(Missing):
                    await service.list_assets(session, actor, workspace_id, after=None, limit=9)
        async with database.connection(actor.tenant) as db:
            with pytest.raises((InvalidInput, Missing)):
                await service.resolve(db, actor, workspace_id, [{"asset_id": asset.id}])
            if actor is not agency.actor:
                assert await versions.load(db, actor.agency_id, [asset.versions[0].id]) == {}


async def test_files_are_pinned(database: Database, store: MediaStore, agency: TestAgency, other: TestAgency) -> None:
    first, second = await upload(database, store, agency, alt_text="One"), await upload(database, store, agency)
    foreign = await upload(database, store, other)
    async with database.connection(agency.tenant) as db:
        pinned = await service.resolve(
            db,
            agency.actor,
            agency.workspace.id,
            [
                {"asset_version_id": second.versions[0].id, "alt_text": "Two"},
                {"asset_id": str(first.id)},
                {"asset_id": first.id, "asset_version_id": first.versions[0].id, "alt_text": ""},
            ],
        )
        assert pinned == [
            {"asset_id": str(second.id), "asset_version_id": str(second.versions[0].id), "alt_text": "Two"},
            {"asset_id": str(first.id), "asset_version_id": str(first.versions[0].id), "alt_text": "One"},
            {"asset_id": str(first.id), "asset_version_id": str(first.versions[0].id), "alt_text": ""},
        ]
        wrong = [
            {"asset_id": first.id},
            {"asset_id": foreign.id},
            {"asset_version_id": foreign.versions[0].id},
            {"asset_id": new_id()},
            {"asset_id": first.id, "asset_version_id": second.versions[0].id},
            {},
        ]
        with pytest.raises(InvalidInput) as caught:
            await service.resolve(db, agency.actor, agency.workspace.id, wrong)
        assert [fault.pointer for fault in caught.value.faults] == [f"/media/{place}" for place in range(1, 6)]
        assert await service.resolve(db, agency.actor, agency.workspace.id, []) == []


POST = "insert into posts (agency_id, id, workspace_id, state, media) values ($1, $2, $3, $4, $5::jsonb)"
VARIANT = """
with a as (insert into accounts (agency_id, id, workspace_id, network, external_id, name)
           values ($1, gen_random_uuid(), $3, 'sandbox', 'x', 'x') returning id)
insert into variants (agency_id, id, workspace_id, post_id, account_id, media)
select $1, gen_random_uuid(), $3, $2, a.id, $4::jsonb from a
"""


async def test_a_file_that_a_post_carries_stays(database: Database, store: MediaStore, agency: TestAgency) -> None:
    asset = await upload(database, store, agency)
    agency_id, workspace_id = agency.actor.agency_id, agency.workspace.id
    post_id, second_id = new_id(), new_id()
    async with database.connection(agency.tenant) as db:
        pinned = await service.resolve(db, agency.actor, workspace_id, [{"asset_id": asset.id}])
        await db.execute(POST, agency_id, post_id, workspace_id, "draft", orjson.dumps(pinned).decode())
    with pytest.raises(Conflict) as caught:
        await delete(database, agency, asset)
    assert caught.value.code == "resource_in_use"
    async with database.connection(agency.tenant) as db:
        await db.execute("update posts set state = 'archived' where agency_id = $1 and id = $2", agency_id, post_id)
        await db.execute(POST, agency_id, second_id, workspace_id, "scheduled", "[]")
        await db.execute(VARIANT, agency_id, second_id, workspace_id, orjson.dumps(pinned).decode())
    with pytest.raises(Conflict):
        await delete(database, agency, asset)
    async with database.connection(agency.tenant) as db:
        await db.execute("delete from posts where agency_id = $1 and id = $2", agency_id, second_id)
    keys = await delete(database, agency, asset)
    assert keys == [key for key in keys if await store.get(key)]
    for key in keys:
        await store.discard(key)
        with pytest.raises(NotStoredError):
            await store.get(key)
    async with database.session(agency.tenant) as session:
        with pytest.raises(Missing):
            await service.get_asset(session, agency.actor, workspace_id, asset.id)


async def delete(database: Database, agency: TestAgency, asset: AssetRead) -> list[str]:
    async with database.session(agency.tenant) as session:
        row = await service.lock_asset(session, agency.actor, agency.workspace.id, asset.id)
        return await service.delete_asset(session, agency.actor, row)


async def test_a_deletion_waits_for_the_post_that_pins(database: Database, store: MediaStore, agency: TestAgency) -> None:
    """The post is not committed yet when the deletion begins; it must see it all the same."""
    asset = await upload(database, store, agency)
    agency_id, workspace_id = agency.actor.agency_id, agency.workspace.id
    async with database.connection(agency.tenant) as db:
        pinned = await service.resolve(db, agency.actor, workspace_id, [{"asset_id": asset.id}])
        deletion = asyncio.create_task(delete(database, agency, asset))
        await asyncio.sleep(0.3)
        assert not deletion.done()
        await db.execute(POST, agency_id, new_id(), workspace_id, "draft", orjson.dumps(pinned).decode())
    with pytest.raises(Conflict):
        await deletion
