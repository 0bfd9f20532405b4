"""Reading the log: filters, pages, export; and each wall by itself between agencies and between workspaces."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from core.clock import now
from core.db import Database
from core.filters import Filter
from core.ids import encode, new_id
from core.settings import Settings
from tenants.agencies.keys import create_key
from tenants.agencies.schemas import KeyCreate
from tenants.audit import queries
from tenants.permissions import Actor, Permission
from tests.conftest import Platform, TestAgency, client_of

PATH = "/v1/audit-entries"


@dataclass
class Scene:
    """An agency with two workspaces in which something was done, and a key that is bound to the first of them."""

    client: httpx2.AsyncClient
    bound: httpx2.AsyncClient
    mine: str
    beside: str


@pytest.fixture
async def scene(app: FastAPI, agency: TestAgency, database: Database) -> AsyncIterator[Scene]:
    """The scene; five entries: a workspace made, two changed, a key made, a file refused (none), one changed again."""
    async with database.session(agency.tenant) as session:
        wish = KeyCreate(name="bound", scopes=list(Permission), workspace_ids=[agency.workspace.id])
        _, text = await create_key(session, agency.actor, wish, now())
    mine = encode("wsp", agency.workspace.id)
    async with client_of(app, agency.key) as client, client_of(app, text) as bound:
        beside = (await client.post("/v1/workspaces", json={"name": "Beside", "time_zone": "UTC"})).json()["id"]
        for workspace, name in ((mine, "one"), (beside, "two"), (mine, "three")):
            await client.patch(f"/v1/workspaces/{workspace}", json={"name": name})
        await bound.post("/v1/api-keys", json={"name": "k", "scopes": ["post:read"]})
        yield Scene(client, bound, mine, beside)


async def names(client: httpx2.AsyncClient, **query: str) -> list[str]:
    """The actions and new names of what is listed."""
    answer = await client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    return [f"{one['action']} {one['after']['name']}" for one in answer.json()["data"]]


async def test_filters_choose_by_who_what_where_and_when(scene: Scene, agency: TestAgency) -> None:
    every = ["key.create k", "workspace.update three", "workspace.update two", "workspace.update one", "workspace.create Beside"]
    assert await names(scene.client) == every
    assert await names(scene.client, action="workspace.create") == every[4:]
    assert await names(scene.client, subject=scene.beside) == [every[2], every[4]]
    assert await names(scene.client, workspace_id=scene.mine) == [every[1], every[3]]
    assert await names(scene.client, actor=encode("key", agency.actor.key_id)) == every[1:]
    assert await names(scene.client, actor=encode("key", new_id())) == []
    # The same number as an id of another kind, or of a kind that there is not, is nobody's
    assert await names(scene.client, subject=scene.beside.replace("wsp_", "pst_")) == []
    assert await names(scene.client, subject=scene.beside.replace("wsp_", "zzz_")) == []
    assert await names(scene.client, **{"at[gte]": "2020-01-01T00:00:00Z", "at[lt]": "2100-01-01T00:00:00Z"}) == every
    assert await names(scene.client, **{"at[lt]": "2020-01-01T00:00:00Z"}) == []
    for query in ({"subject": "x"}, {"actor": "key_"}, {"from": "1"}):
        assert (await scene.client.get(PATH, params=query)).status_code == 400


async def test_pages_and_the_export_give_everything_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "EXPORT_PAGE", 2)
    every = [one["id"] for one in (await scene.client.get(PATH)).json()["data"]]
    seen, cursor = [], None
    while True:
        page = (await scene.client.get(PATH, params={"limit": "2"} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == every
    answer = await scene.client.get(f"{PATH}/export")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/jsonl")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [one["id"] for one in reversed(lines)] == every
    assert lines == list(reversed((await scene.client.get(PATH)).json()["data"]))
    chosen = (await scene.client.get(f"{PATH}/export", params={"subject": scene.beside})).text.splitlines()
    assert [json.loads(line)["action"] for line in chosen] == ["workspace.create", "workspace.update"]


async def test_an_agency_without_entries_exports_nothing(stranger: httpx2.AsyncClient) -> None:
    answer = await stranger.get(f"{PATH}/export")
    assert (answer.status_code, answer.text) == (200, "")


@pytest.mark.parametrize("walls", ["both", "filters alone", "row-level security alone"])
async def test_others_see_nothing_and_a_bound_key_sees_its_workspaces(
    scene: Scene, stranger: httpx2.AsyncClient, settings: Settings, monkeypatch: pytest.MonkeyPatch, walls: str
) -> None:
    if walls == "filters alone":
        owner = await asyncpg.connect(settings.database_url)
        for table in ("audit_entries", "audit_seals"):
            await owner.execute(f"alter table {table} no force row level security, disable row level security")
        await owner.close()
    if walls == "row-level security alone":

        def unfiltered(actor: Actor) -> Filter:
            return Filter(actor.agency_id, None)

        monkeypatch.setattr(queries, "begin", unfiltered)
        monkeypatch.setattr(queries, "SEALED", queries.SEALED.replace("e.agency_id = $1", "$1::uuid is not null"))
    within = ["workspace.update three", "workspace.update one"]
    assert await names(scene.bound) == within
    assert await names(scene.bound, workspace_id=scene.beside) == []
    assert await names(scene.bound, subject=scene.beside) == []
    assert len((await scene.bound.get(f"{PATH}/export")).text.splitlines()) == len(within)
    assert await names(stranger) == []
    assert (await stranger.get(f"{PATH}/export")).text == ""


async def test_a_bound_key_verifies_what_it_sees(platform: Platform, scene: Scene) -> None:
    await platform.work("audit")
    whole, part = [(await one.get(f"{PATH}/verify")).json() for one in (scene.client, scene.bound)]
    assert [(one["ok"], one["checked"], one["to_sequence"]) for one in (whole, part)] == [(True, 5, 5), (True, 2, 5)]
    assert whole["head"] == part["head"]


async def test_without_the_permission_nothing_is_read(app: FastAPI, agency: TestAgency, database: Database) -> None:
    async with database.session(agency.tenant) as session:
        scopes = [one for one in Permission if one is not Permission.AUDIT_READ]
        _, text = await create_key(session, agency.actor, KeyCreate(name="k", scopes=scopes), now())
    async with client_of(app, text) as client:
        for path in ("", "/head", "/verify", "/export"):
            answer = await client.get(PATH + path)
            assert (answer.status_code, answer.json()["required_permission"]) == (403, "audit:read")
