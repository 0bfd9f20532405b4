"""The walls: every operation of the document, with somebody else's things in every slot, for every kind of caller.

Each wall alone must hold: with both, with row-level security off (the application's filters alone), and with the filters off
(row-level security alone). The answer must be that for what never was, to the byte, and nothing of the other may change.
The catalogue's part is in tests/core/test_schema.py. `make walls` runs both.
"""

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FunctionType

import asyncpg
import pytest
from fastapi import FastAPI
from sqlmodel import select

from core.db import Database
from core.ids import decode, encode
from core.settings import Settings
from tenants import owned, permissions
from tests.campaign.processes import fake_network
from tests.conftest import MakeAgency, Platform, TestAgency, client_of
from tests.walls import callers
from tests.walls.callers import Caller
from tests.walls.matrix import Matrix
from tests.walls.slots import IN_PERSON, Operation, operations
from tests.walls.things import PREFIXES, Things, furnish, never

ALONE = ("filters alone", "row-level security alone")


@dataclass
class Scene:
    """A victim with one of everything, and everybody else."""

    app: FastAPI
    victim: TestAgency
    things: Things
    strangers: list[Caller]
    refused: list[Caller]
    forbidden: dict[str, Caller]


@pytest.fixture
async def scene(
    request: pytest.FixtureRequest, settings: Settings, make_agency: MakeAgency, database: Database, tmp_path: Path
) -> AsyncIterator[Scene]:
    """The scene, on the side of the test data or on the live side."""
    from api.app import create_app

    with fake_network(tmp_path / "ledger", seed=1, faults=0, list_faults=0) as network:
        app = create_app(settings.model_copy(update={"sandbox_url": network}))
        async with app.router.lifespan_context(app):
            victim = await make_agency("Victim")
            if request.param == "live":
                assert victim.sibling is not None
                victim = victim.sibling
            things = await callers.things_of(app, database, victim, victim.key)
            yield Scene(
                app,
                victim,
                things,
                await callers.strangers(app, database, make_agency, victim),
                await callers.refused(database, victim),
                await callers.forbidden(database, victim),
            )


async def tables(settings: Settings) -> dict[str, set[str]]:
    """Every table that has an agency, with its columns."""
    db = await asyncpg.connect(settings.database_url)
    rows = await db.fetch("select table_name, column_name from information_schema.columns where table_schema = 'public'")
    await db.close()
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["table_name"], set()).add(row["column_name"])
    return {name: columns for name, columns in found.items() if "agency_id" in columns or name == "agencies"}


async def rows_of(database: Database, settings: Settings, scene: Scene) -> tuple[set[str], set[str]]:
    """A hash of every row of the victim's agency, and of every row of its workspace; when a key was used last does not count."""
    everything, own = set(), set()
    workspace = decode("wsp", scene.things.ids["wsp"])
    async with database.connection(scene.victim.tenant) as db:
        for table, columns in (await tables(settings)).items():
            column = "id" if table == "agencies" else "agency_id"
            inside = next((f"{name} = $2" for name in ("workspace_id", "id") if name in columns), "$2::uuid is null")
            rows = await db.fetch(
                f"select md5((to_jsonb(t) - 'last_used_at')::text) hash, {inside} own from {table} t where {column} = $1",
                scene.victim.actor.agency_id,
                workspace,
            )
            everything |= {f"{table} {row['hash']}" for row in rows}
            own |= {f"{table} {row['hash']}" for row in rows if row["own"]}
    assert len({hash.split()[0] for hash in own}) > 6, "the victim has next to nothing"
    return everything, own


def switch_filters_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the application's filters away wherever they are used."""
    fakes = {
        owned.owned: lambda model, _actor: select(model),
        permissions.owned_sql: lambda _table: "$1::uuid is not null and $2::uuid is not null",
        permissions.sees: lambda _actor, _workspace: True,
    }
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()) if module.__name__.startswith(("tenants", "api")) else []:
            if isinstance(value, FunctionType) and value in fakes:
                monkeypatch.setattr(module, name, fakes[value])


async def switch_rls_off(settings: Settings) -> None:
    """Take row-level security away from every table."""
    db = await asyncpg.connect(settings.database_url)
    for table in await tables(settings):
        await db.execute(f"alter table {table} no force row level security; alter table {table} disable row level security")
    await db.close()


async def try_everything(scene: Scene, known: list[Operation], *, filters: bool) -> Matrix:
    """Every caller at every slot of every operation: what only looks first, what ends things last."""
    order = ("GET", "POST", "PUT", "PATCH", "DELETE")
    async with client_of(scene.app, None) as client:
        matrix = Matrix(client, scene.things, filters)
        for operation in sorted(known, key=lambda one: order.index(one.method)):
            for caller in (*scene.refused, scene.forbidden[operation.permission]):
                await matrix.stopped(caller, operation)
            for caller in scene.strangers:
                if operation.permission in caller.permissions:
                    await matrix.astray(caller, operation)
                else:
                    await matrix.stopped(replace(caller, kind="forbidden"), operation)
        for operation in (one for one in known if not one.of("path")):
            for caller in (one for one in scene.strangers if operation.permission in one.permissions):
                await matrix.by_name(caller, operation)
    return matrix


@pytest.mark.parametrize("scene", ["test", "live"], indirect=True)
@pytest.mark.parametrize("walls", ["both", *ALONE])
async def test_no_caller_sees_or_touches_what_is_not_theirs(
    scene: Scene, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, walls: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    known = operations(scene.app.openapi())
    if walls == "filters alone":
        await switch_rls_off(settings)
    before, own = await rows_of(database, settings, scene)
    if walls == "row-level security alone":
        switch_filters_off(monkeypatch)
    matrix = await try_everything(scene, known, filters=walls != "row-level security alone")
    monkeypatch.undo()
    after, own_after = await rows_of(database, settings, scene)
    reached = {operation for operation, _, _ in matrix.tried}
    names = {caller for _, caller, _ in matrix.tried}
    mode = "live" if scene.victim.actor.livemode else "test"
    with capsys.disabled():
        sys.stdout.write(
            f"\nwalls ({walls}, {mode} data): {len(reached)} of {len(known)} operations x {len(names)} callers x"
            f" {sum(len(one.slots) for one in known)} slots, {matrix.cells.total()} pairs {dict(matrix.cells)},"
            f" {len(matrix.leaks)} leaks\n"
        )
    assert not matrix.leaks, "\n".join(matrix.leaks[:50])
    assert reached == {operation.id for operation in known}
    assert before <= after, sorted(before - after)
    assert own == own_after, sorted(own ^ own_after)


@pytest.mark.parametrize("scene", ["test"], indirect=True)
async def test_the_owner_reaches_every_slot_that_the_matrix_tries(scene: Scene, database: Database) -> None:
    """Otherwise a 404 would prove nothing: the fixture of each operation must lead somewhere."""
    order = ("GET", "PATCH", "PUT", "POST", "DELETE")
    known = reversed(operations(scene.app.openapi()))  # a post, which ends its publications, is deleted last
    async with client_of(scene.app, scene.victim.key) as client:
        for operation in sorted(known, key=lambda one: (one.id == "close_workspace", order.index(one.method))):
            if operation.id in IN_PERSON:
                continue
            assert {slot.prefix for slot in operation.slots} <= {"", *PREFIXES}, f"no fixture for {operation.id}"
            path, body = operation.fill(scene.things.ids), operation.body(scene.things.ids)
            sent = {"content": body} if operation.kind == "text/csv" else {"json": body}
            headers = {"If-Match": "*"} | ({"Content-Type": "text/csv"} if operation.kind == "text/csv" else {})
            answer = await client.request(operation.method, path, headers=headers, **sent)  # type: ignore[arg-type]  # one of two
            refusals = {400, 401, 403, 404, 405, 415}
            assert answer.status_code not in refusals, (operation.id, answer.text)
            for slot in operation.of("body"):
                made = operation.body(scene.things.ids, slot, scene.things.ids[slot.prefix])
                answer = await client.request(operation.method, path, headers={"If-Match": "*"}, json=made)
                faults = [fault["code"] for fault in answer.json().get("errors", [])]
                assert "not_found" not in answer.text or "not_found" not in faults, (operation.id, str(slot), answer.text)


async def test_a_sheet_with_somebody_elses_account_is_refused_as_with_one_that_never_was(
    platform: Platform, agency: TestAgency, other: TestAgency
) -> None:
    async with platform.client(agency.key) as client, platform.client(other.key) as stranger:
        theirs = await furnish(client, encode("wsp", agency.workspace.id))
        base = f"/v1/workspaces/{encode('wsp', other.workspace.id)}"
        results = []
        for account in (theirs.ids["acc"], never()["acc"]):
            sheet = f"text,account_ids\nx,{account}\n"
            taken = await stranger.post(f"{base}/posts/import", content=sheet, headers={"Content-Type": "text/csv"})
            await platform.work("operation")
            results.append((await stranger.get(taken.headers["Location"])).json()["result"])
        assert results[0] == results[1]
        assert "not_found" in str(results[0])


async def test_without_a_stamp_no_row_is_seen(database: Database, settings: Settings, agency: TestAgency) -> None:
    pool = await database.pool()
    for table in await tables(settings):
        assert await pool.fetchval(f"select count(*) from {table}") == 0, table


@pytest.mark.parametrize("scene", ["test"], indirect=True)
async def test_without_both_walls_the_matrix_finds_the_leaks(
    scene: Scene, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise no leaks would prove nothing."""
    await switch_rls_off(settings)
    switch_filters_off(monkeypatch)
    known = [one for one in operations(scene.app.openapi()) if one.method == "GET"]
    matrix = await try_everything(scene, known, filters=True)
    monkeypatch.undo()
    leaking = {leak.split()[2] for leak in matrix.leaks if leak.startswith("another agency: ")}
    assert {"get_post", "get_publication", "get_operation", "get_connect_session", "get_account", "get_media"} <= leaking, leaking
