"""Exports through the door: everything that is the agency's or the workspace's, nothing secret, nobody else's, and for a day."""

import asyncio
import hashlib
import io
import json
import re
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from sqlalchemy import LargeBinary

from core import duties
from core.clock import now
from core.db import Database
from core.ids import decode, encode
from core.settings import Settings
from tenants.rights import exporting
from tenants.rights.exporting import NOT_EXPORTED, RESOURCES
from tenants.tables import METADATA
from tests.conftest import Platform, TestAgency
from tests.people.cast import Cast
from tests.people.people import join, make_person, signed_in, with_member
from tests.walls.things import furnish
from workers import exports
from workers.duties import run_batch

HASHES_SHOWN = {("asset_versions", "sha256"), ("audit_seals", "hash")}
"""Bytes that are no secret: digests of what the archive itself holds."""
SECRET_NAMES = re.compile(r"secret|sealed|hash|digest|token|password|verifier|wrapped|code")
RAW = re.compile(r'"[^"]*":\s*"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"')
PLAIN = {("attempts", "content_digest"), ("audit_seals", "sealed_at"), *HASHES_SHOWN}
"""Names that sound secret and are not, as (table, column)."""


async def fetch(platform: Platform, client: httpx2.AsyncClient, path: str) -> tuple[zipfile.ZipFile, dict[str, Any]]:
    """Export, wait, download, and hold the archive against its manifest."""
    taken = await client.post(path)
    assert taken.status_code == 202, taken.text
    await platform.work("operation")
    operation = (await client.get(taken.headers["Location"])).json()
    assert operation["state"] == "succeeded", operation
    archive = operation["result"]["archive"]
    answer = await client.get(archive["url"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert hashlib.sha256(answer.content).hexdigest() == archive["sha256"]
    zip = zipfile.ZipFile(io.BytesIO(answer.content))
    assert zip.testzip() is None
    manifest = json.loads(zip.read("manifest.json"))
    assert {one["name"] for one in manifest["files"]} | {"manifest.json"} == set(zip.namelist())
    for one in manifest["files"]:
        data = zip.read(one["name"])
        assert (len(data), hashlib.sha256(data).hexdigest()) == (one["bytes"], one["sha256"])
        assert one.get("rows", data.count(b"\n")) == data.count(b"\n") or one["name"].startswith("media/")
    assert manifest["missing"] == []
    return zip, operation


def lines(zip: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    """A file of the archive."""
    return [json.loads(line) for line in zip.read(f"{name}.jsonl").splitlines()]


def test_every_table_with_an_agency_is_exported_or_says_why_not() -> None:
    owned = {name for name, table in METADATA.tables.items() if "agency_id" in table.columns} | {"agencies"}
    assert owned == set(RESOURCES) | set(NOT_EXPORTED)
    assert not set(RESOURCES) & set(NOT_EXPORTED)
    assert all(reason.endswith(".") for reason in NOT_EXPORTED.values())
    for table, resource in RESOURCES.items():
        columns = METADATA.tables[table].columns
        assert set(resource.withheld) <= set(columns.keys()), table
        secret = {one.name for one in columns if isinstance(one.type, LargeBinary) or SECRET_NAMES.search(one.name)}
        assert {one for one in secret if (table, one) not in PLAIN} <= set(resource.withheld), table


async def test_an_agencys_archive_holds_everything_and_no_secret(
    platform: Platform, database: Database, agency: TestAgency, other: TestAgency, settings: Settings
) -> None:
    async with platform.client(agency.key) as client, platform.client(other.key) as stranger:
        things = await with_member(database, agency, await furnish(client, encode("wsp", agency.workspace.id)))
        theirs = await furnish(stranger, encode("wsp", other.workspace.id))
        room = (await client.post("/v1/workspaces", json={"name": "Second room", "time_zone": "UTC"})).json()["id"]
        await platform.work("audit")
        zip, operation = await fetch(platform, client, "/v1/agency/exports")
        text = b"\n".join(zip.read(name) for name in zip.namelist() if name.endswith(("l", "n"))).decode()
        entries = (await client.get("/v1/audit-entries", params={"limit": 100})).json()["data"]
    assert operation["workspace_id"] is None
    assert {one["id"] for one in lines(zip, "workspaces")} == {things.ids["wsp"], room}
    assert things.ids["pst"] in {one["id"] for one in lines(zip, "posts")}
    assert things.secret in text
    member = next(one for one in lines(zip, "members") if one["id"] == things.ids["mem"])
    assert member["email"] == f"viewer@{things.ids['wsp']}.example"
    assert lines(zip, "accounts")[0]["workspace_id"] == things.ids["wsp"]
    assert lines(zip, "posts")[0]["id"].startswith("pst_")
    for name in zip.namelist():
        found = [] if name.startswith("media/") else RAW.findall(zip.read(name).decode())
        assert found == [], name
    keys, operations = {one["id"] for one in lines(zip, "api-keys")}, lines(zip, "operations")
    assert {one["created_by"] for one in operations} | {one["input"]["eyes"] for one in operations} <= keys
    sealed = [one["id"] for one in entries if one["sequence"] is not None]
    assert set(sealed) <= {one["id"] for one in lines(zip, "audit-entries")}
    media = [name for name in zip.namelist() if name.startswith("media/")]
    assert media == [f"media/{things.ids['asv']}.png"]
    version = next(one for one in lines(zip, "asset-versions") if one["id"] == things.ids["asv"])
    assert hashlib.sha256(zip.read(media[0])).hexdigest() == version["sha256"]
    # Nothing of the other agency, and no secret of its own
    assert theirs.secret not in text
    assert encode("agc", other.actor.agency_id) not in text
    owner = await asyncpg.connect(settings.database_url)
    for table in ("api_keys", "connections", "share_links", "agency_keys", "passwords"):
        await owner.execute(f"alter table {table} no force row level security")
        column = {"connections": "sealed", "agency_keys": "wrapped"}.get(table, "hash")
        for row in await owner.fetch(f"select {column} from {table} where {column} is not null"):
            value = row[column]
            assert (value.hex() if isinstance(value, bytes) else value) not in text, table
    await owner.close()
    assert agency.key[-30:] not in text


async def test_a_workspaces_archive_holds_that_workspace_alone(
    platform: Platform, database: Database, agency: TestAgency
) -> None:  # fmt: skip
    async with platform.client(agency.key) as client:
        first = await with_member(database, agency, await furnish(client, encode("wsp", agency.workspace.id)))
        room = (await client.post("/v1/workspaces", json={"name": "Second room", "time_zone": "UTC"})).json()["id"]
        second = await with_member(database, agency, await furnish(client, room))
        zip, operation = await fetch(platform, client, f"/v1/workspaces/{room}/exports")
        elsewhere = operation["result"]["archive"]["url"].replace(room, first.ids["wsp"])
        assert (await client.get(elsewhere)).status_code == 404
    text = b"\n".join(zip.read(name) for name in zip.namelist()).decode("latin1")
    assert operation["workspace_id"] == room
    # Who did it is named as everywhere, also a key that reaches beyond the workspace and is not in the archive
    assert {one["created_by"] for one in lines(zip, "posts")} == {encode("key", agency.actor.id)}
    assert {one["created_by"] for one in lines(zip, "operations")} == {encode("key", agency.actor.id)}
    assert second.secret in text
    assert second.ids["mem"] in text
    for id in ("wsp", "acc", "pst", "pub", "ast", "asv", "shl", "mem"):
        assert first.ids[id] not in text, id
    assert first.secret not in text
    assert "agency.jsonl" not in zip.namelist()


async def test_who_may_export_what_is_said_by_the_roles(platform: Platform, database: Database, agency: TestAgency) -> None:
    room = agency.workspace.id
    paths = ("/v1/agency/exports", f"/v1/workspaces/{encode('wsp', room)}/exports")
    wanted = {"owner": (202, 202), "admin": (202, 202), "manager": (403, 202), "content": (403, 403), "client": (403, 403)}
    for role, codes in wanted.items():
        user = await make_person(database, f"{role}@first.example")
        agencys = role in {"owner", "admin"}
        await join(database, agency, user, role if agencys else "member", {} if agencys else {room: role})
        async with await signed_in(platform.app, database, user, agency) as browser:
            assert tuple([(await browser.post(path)).status_code for path in paths]) == codes, role
        await platform.work("operation")
    async with platform.client(agency.key) as client:
        bound = {"name": "k", "scopes": ["agency:export", "workspace:export"], "workspace_ids": [encode("wsp", room)]}
        key = (await client.post("/v1/api-keys", json=bound)).json()["key"]
    async with platform.client(key) as client:
        assert [(await client.post(path)).status_code for path in paths] == [403, 202]


async def test_a_second_export_waits_for_the_first(platform: Platform, agency: TestAgency) -> None:
    async with platform.client(agency.key) as client:
        assert [(await client.post("/v1/agency/exports")).status_code for _ in range(2)] == [202, 409]
        await platform.work("operation")
        assert (await client.post("/v1/agency/exports")).status_code == 202


@pytest.mark.parametrize("place", ["workspaces/{}", "agency"])
async def test_of_many_exports_at_once_one_is_taken(
    platform: Platform, agency: TestAgency, other: TestAgency, place: str
) -> None:  # fmt: skip
    async with platform.client(agency.key) as client, platform.client(other.key) as stranger:
        path, theirs = (f"/v1/{place.format(encode('wsp', one.workspace.id))}/exports" for one in (agency, other))
        calls = [client.post(path) for _ in range(8)] + [stranger.post(theirs)]
        *answers, foreign = [one.status_code for one in await asyncio.gather(*calls)]
    assert (sorted(answers), foreign) == ([202] + [409] * 7, 202)


async def test_a_workspace_that_is_exported_and_closed_at_once_has_one_of_both(platform: Platform, agency: TestAgency) -> None:
    base = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}"
    async with platform.client(agency.key) as client:
        answers = await asyncio.gather(*(client.post(f"{base}/{what}") for what in ("exports", "closure") * 2))
    assert sorted(one.status_code for one in answers) == [202, 409, 409, 409]


async def test_an_export_that_is_run_twice_or_broken_off_is_made_once(
    platform: Platform, agency: TestAgency, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    context = platform.context
    async with platform.client(agency.key) as client:
        await furnish(client, encode("wsp", agency.workspace.id))
        await platform.work("operation")
        taken = await client.post("/v1/agency/exports")
        with monkeypatch.context() as patch:
            patch.setattr(exports, "_digest", lambda _file: 1 / 0)  # a crash, with everything written
            await platform.work("operation")
        assert (await client.get(taken.headers["Location"])).json()["state"] in {"queued", "running"}
        async with context.duties_pool.acquire() as db:
            await db.execute("update duties set lease_until = now() - interval '1 second' where state = 'leased'")
            claimed = await duties.claim(db, "operation", 100, context.settings.lease, 100)
        for _ in range(2):  # a message that comes twice
            await run_batch(context, "operation", claimed)
        operation = (await client.get(taken.headers["Location"])).json()
        assert operation["state"] == "succeeded"
        assert (await client.get(operation["result"]["archive"]["url"])).status_code == 200
    assert len(list((Path(settings.home) / "media").rglob("*.zip"))) == 1


async def test_an_archive_is_there_for_a_day_and_then_gone_with_its_operation(
    platform: Platform, agency: TestAgency, settings: Settings
) -> None:
    async with platform.client(agency.key) as client:
        _, operation = await fetch(platform, client, "/v1/agency/exports")
        url, id = operation["result"]["archive"]["url"], decode("opr", operation["id"])
        expires = operation["expires_at"]
        assert timedelta(hours=23) < exporting.KEEP <= timedelta(hours=24)
        assert operation["result"]["archive"]["expires_at"][:16] == expires[:16]
        async with platform.context.database.connection(agency.tenant) as db:
            await db.execute("update operations set expires_at = $2 where id = $1", id, now())
        assert (await client.get(url)).status_code == 404
        await platform.let_pass(90_000)
        await platform.work("cleanup")
        await platform.work("cleanup")
        assert (await client.get(f"/v1/operations/{operation['id']}")).status_code == 404
    assert not list((Path(settings.home) / "media").rglob("*.zip"))


async def test_only_its_agency_fetches_an_archive(platform: Platform, agency: TestAgency, other: TestAgency) -> None:
    async with platform.client(agency.key) as client, platform.client(other.key) as stranger:
        _, operation = await fetch(platform, client, "/v1/agency/exports")
        assert (await stranger.get(operation["result"]["archive"]["url"])).status_code == 404
        no_scope = (await client.post("/v1/api-keys", json={"name": "k", "scopes": ["operation:read"]})).json()["key"]
    async with platform.client(no_scope) as reader:
        assert (await reader.get(operation["result"]["archive"]["url"])).status_code == 403


@pytest.mark.parametrize("place", ["workspaces/{}", "agency"])
async def test_who_may_only_export_gets_an_archive_of_nothing(
    platform: Platform, database: Database, agency: TestAgency, place: str
) -> None:  # fmt: skip
    room, of = encode("wsp", agency.workspace.id), "agency" if place == "agency" else "workspace"
    path = f"/v1/{place.format(room)}/exports"
    async with platform.client(agency.key) as client:
        things = await furnish(client, room)
        wishes = [[f"{of}:export", "operation:read"], [f"{of}:export", "operation:read", "post:read", "media:read"]]
        keys = [(await client.post("/v1/api-keys", json={"name": "k", "scopes": one})).json()["key"] for one in wishes]
        _, whole = await fetch(platform, client, path)
    async with platform.client(keys[0]) as exporter, platform.client(keys[1]) as reader:
        nothing, first = await fetch(platform, exporter, path)
        some, second = await fetch(platform, reader, path)
        assert set(nothing.namelist()) == {"manifest.json", "operations.jsonl"}
        assert things.secret not in b"".join(nothing.read(name) for name in nothing.namelist()).decode()
        wanted = {"manifest", "operations", "posts", "variants", "post-findings", "assets", "asset-versions"}
        assert {name.removesuffix(".json").removesuffix(".jsonl") for name in some.namelist()} == {
            *wanted,
            f"media/{things.ids['asv']}.png",
        }
        # And neither fetches what was made for who may read more
        for one, other in ((exporter, second), (exporter, whole), (reader, whole)):
            assert (await one.get(other["result"]["archive"]["url"])).status_code == 403
        assert (await reader.get(first["result"]["archive"]["url"])).status_code == 200


async def test_an_archive_holds_what_its_asker_may_read_and_no_more(
    platform: Platform, database: Database, agency: TestAgency
) -> None:
    cast, room = Cast(platform.app, database, agency), encode("wsp", agency.workspace.id)
    ada, max_ = await cast.add("ada", "owner"), await cast.add("max", "member", {agency.workspace.id: "manager"})
    key = await ada.client.post("/v1/api-keys", json={"name": "k", "scopes": ["post:read"], "workspace_ids": [room]})
    assert key.status_code == 201
    path = f"/v1/workspaces/{room}/exports"
    whole, theirs = await fetch(platform, ada.client, path)
    part, operation = await fetch(platform, max_.client, path)
    refused = {"api-keys.jsonl": "/v1/api-keys", "grants.jsonl": "/v1/grants", "audit-entries.jsonl": "/v1/audit-entries"}
    for name, place in refused.items():
        assert (await max_.client.get(place)).status_code == 403
        assert name in whole.namelist()
        assert name not in part.namelist()
    left_out = [name.removesuffix(".jsonl") for name in whole.namelist() if name not in part.namelist()]
    assert sorted(operation["result"]["archive"]["withheld"]) == sorted(left_out)
    assert json.loads(part.read("manifest.json"))["withheld"] == operation["result"]["archive"]["withheld"]
    assert "members.jsonl" in part.namelist()  # a manager sees the people of the workspace
    # And what somebody asked for who may read more, is not for him either
    assert (await max_.client.get(theirs["result"]["archive"]["url"])).status_code == 403
    assert (await ada.client.get(operation["result"]["archive"]["url"])).status_code == 200
