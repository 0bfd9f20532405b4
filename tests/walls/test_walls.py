"""The walls: every operation of the document, with the ids of somebody else in every slot, for every kind of stranger.

Each wall alone must hold: with both, with row-level security off (the application's filters alone), and with the filters
off (row-level security alone). The answer must be that for an id that never was, to the byte, and nothing may change.
"""

import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI
from sqlmodel import select

from core.clock import now
from core.db import Database, Tenant
from core.ids import encode, new_id
from core.settings import Settings
from tenants import permissions
from tenants.agencies.keys import create_key
from tenants.agencies.schemas import KeyCreate, WorkspaceCreate
from tenants.agencies.service import create_workspace
from tenants.permissions import Permission
from tests.campaign.processes import fake_network
from tests.conftest import MakeAgency, TestAgency, client_of
from tests.media.files import picture

TENANT_TABLES = (
    "agencies", "agency_keys", "workspaces", "api_keys", "accounts", "connections", "connect_sessions", "assets",
    "asset_versions", "posts", "variants", "publications", "attempts", "events", "duties", "idempotency_records",
    "post_findings", "operations",
)  # fmt: skip
PREFIXES = {
    "workspace_id": "wsp", "account_id": "acc", "post_id": "pst", "publication_id": "pub", "asset_id": "ast",
    "connect_session_id": "cns", "key_id": "key", "operation_id": "opr",
}  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "create_api_key": {"name": "k", "scopes": ["post:read"]},
    "create_workspace": {"name": "w", "time_zone": "UTC"},
    "update_workspace": {"name": "changed"},
    "create_connect_session": {"network": "sandbox"},
    "complete_connect_session": {"credentials": {"handle": "always_ok"}, "targets": "all"},
    "reconnect_account": {},
    "update_account": {"name": "changed"},
    "upload_media": {"url": "http://127.0.0.1:9/a.png"},
    "update_media": {"alt_text": "changed"},
    "create_post": {"text": "x", "account_ids": [encode("acc", new_id())]},
    "validate_post": {"text": "x", "account_ids": [encode("acc", new_id())]},
    "create_posts": {"items": [{"post": {"text": "x", "account_ids": [encode("acc", new_id())]}}]},
    "import_posts": {},
    "update_post": {"text": "changed"},
    "schedule_post": {"schedule": "now"},
    "resolve_publication": {"outcome": "published"},
}
BODY_SLOTS: tuple[tuple[str, str], ...] = (
    ("create_post", "account_ids"), ("create_post", "media"), ("create_post", "variants"), ("update_post", "account_ids"),
    ("update_post", "media"), ("create_api_key", "workspace_ids"), ("validate_post", "account_ids"),
    ("validate_post", "media"), ("validate_post", "variants"),
)  # fmt: skip
QUERY_SLOTS = (
    ("list_posts", "account_id"),
    ("list_publications", "workspace_id"),
    ("list_publications", "account_id"),
    ("list_events", "after"),
)


@dataclass
class Things:
    """What one tenant has, by the name of its slot in a path."""

    key: str
    ids: dict[str, str]
    asset_version: str
    event: str
    cursor: str


async def furnish(app: FastAPI, agency: TestAgency) -> Things:
    """Give an agency one of everything."""
    workspace = encode("wsp", agency.workspace.id)
    base = f"/v1/workspaces/{workspace}"
    async with client_of(app, agency.key) as client:
        body = {"network": "sandbox", "credentials": {"handle": f"load-{workspace[-8:]}"}, "targets": "all"}
        session = (await client.post(f"{base}/connect-sessions", json=body)).json()
        account = session["accounts"][0]["id"]
        asset = (await client.post(f"{base}/media", files={"file": ("a.png", picture("PNG"), "image/png")})).json()
        at = {"at": "2027-06-01T09:00:00", "time_zone": "UTC"}
        post = {}
        for number in range(2):
            post = (
                await client.post(
                    f"{base}/posts", json={"text": f"secret of {workspace} {number}", "account_ids": [account], "schedule": at}
                )
            ).json()
        key = (await client.post("/v1/api-keys", json={"name": "k", "scopes": ["post:read"]})).json()["id"]
        sheet = f"text,account_ids\nsecret,{account}\n"
        taken = await client.post(f"{base}/posts/import", content=sheet, headers={"Content-Type": "text/csv"})
        event = (await client.get("/v1/events")).json()["data"][0]["id"]
        cursor = (await client.get(f"{base}/posts", params={"limit": 1})).json()["next_cursor"]
    ids = {
        "workspace_id": workspace, "account_id": account, "post_id": post["id"],
        "publication_id": post["publications"][0]["id"], "asset_id": asset["id"], "connect_session_id": session["id"],
        "key_id": key, "operation_id": taken.json()["id"],
    }  # fmt: skip
    return Things(agency.key, ids, asset["versions"][0]["id"], event, cursor)


@pytest.fixture
async def scene(settings: Settings, make_agency: MakeAgency, database: Database, tmp_path: Any) -> AsyncIterator[Any]:
    """A victim with one of everything, and three strangers: another agency, the other mode, another workspace."""
    from api.app import create_app

    with fake_network(tmp_path / "ledger", seed=1, faults=0, list_faults=0) as network:
        app = create_app(settings.model_copy(update={"sandbox_url": network}))
        async with app.router.lifespan_context(app):
            victim = await make_agency("Victim")
            things = await furnish(app, victim)
            robber = await furnish(app, await make_agency("Robber"))
            assert victim.sibling is not None
            mode = {"workspace_id": encode("wsp", victim.sibling.workspace.id)}
            async with database.session(victim.tenant) as session:
                room = await create_workspace(session, victim.actor, WorkspaceCreate(name="Room", time_zone="UTC"), now())
                wish = KeyCreate(name="bound", scopes=list(Permission), workspace_ids=[room.id])
                _, bound = await create_key(session, victim.actor, wish, now())
            yield (
                app,
                victim,
                things,
                {
                    "another agency": (robber.key, robber.ids),
                    "the other mode": (victim.sibling.key, mode),
                    "another workspace": (bound, {"workspace_id": encode("wsp", room.id)}),
                },
            )


async def fingerprint(database: Database, tenant: Tenant, owner_url: str) -> dict[str, str]:
    """A hash of every row of a tenant, read with its own stamp."""
    hashes = {}
    async with database.connection(tenant) as db:
        for table in TENANT_TABLES:
            column = "id" if table == "agencies" else "agency_id"
            hashes[table] = await db.fetchval(
                f"select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {table} t where {column} = $1",
                tenant.agency_id,
            )
    return hashes


def paths(app: FastAPI) -> list[tuple[str, str, str, list[str]]]:
    """Operations with an id in their path: method, path, operation id, slots."""
    found = []
    for path, operations in app.openapi()["paths"].items():
        slots = [slot for slot in re.findall(r"{(\w+)}", path) if slot in PREFIXES]
        found += [(method.upper(), path, operation["operationId"], slots) for method, operation in operations.items() if slots]
    return found


def fill(path: str, ids: dict[str, str]) -> str:
    return re.sub(r"{(\w+)}", lambda match: ids[match[1]], path)


def never() -> dict[str, str]:
    return {slot: encode(prefix, new_id()) for slot, prefix in PREFIXES.items()}


def same(answer: httpx2.Response) -> tuple[int, str]:
    """Status and body, less what differs by right: the request's id and the path's own ids."""
    return answer.status_code, re.sub(r'"request_id":"[^"]*"', "", answer.text)


async def ask(client: httpx2.AsyncClient, method: str, path: str, operation: str, **more: Any) -> tuple[int, str]:
    body = more.pop("json", BODIES.get(operation))
    headers = {"If-Match": "*"} if method == "PATCH" else {}
    return same(await client.request(method, path, json=body, headers=headers, **more))


def body_with(operation: str, slot: str, ids: dict[str, str], version: str) -> dict[str, Any]:
    """The operation's body with the victim's id in one slot."""
    value: Any = {
        "account_ids": [ids["account_id"]], "media": [{"asset_version_id": version}],
        "variants": [{"account_id": ids["account_id"], "text": "x"}], "workspace_ids": [ids["workspace_id"]],
    }[slot]  # fmt: skip
    return BODIES[operation] | {slot: value}


async def try_everything(app: FastAPI, things: Things, strangers: dict[str, tuple[str, dict[str, str]]]) -> tuple[int, list[str]]:
    """Try every slot of every operation as every stranger. Returns how many were tried, and the leaks."""
    tried, leaks = 0, []
    for who, (key, own) in strangers.items():
        async with client_of(app, key) as client:
            for method, path, operation, slots in paths(app):
                mixes = [{slot: things.ids[slot] for slot in slots}]
                if len(slots) > 1:
                    mixes.append({slot: own["workspace_id"] if slot == "workspace_id" else things.ids[slot] for slot in slots})
                for mix in mixes:
                    unreal = {slot: value if value in own.values() else never()[slot] for slot, value in mix.items()}
                    seen = await ask(client, method, fill(path, mix), operation)
                    expected = await ask(client, method, fill(path, unreal), operation)
                    tried += 1
                    if seen != expected or seen[0] != 404:
                        leaks.append(f"{who}: {method} {path} {mix} answered {seen}, a never-existing id {expected}")
            tried += await _other_slots(client, who, own, things, leaks)
    return tried, leaks


async def _other_slots(client: httpx2.AsyncClient, who: str, own: dict[str, str], things: Things, leaks: list[str]) -> int:
    base = f"/v1/workspaces/{own['workspace_id']}"
    where = {
        "create_post": ("POST", f"{base}/posts"), "validate_post": ("POST", f"{base}/posts/validate"),
        "update_post": ("PATCH", f"{base}/posts/{own.get('post_id', '')}"),
        "create_api_key": ("POST", "/v1/api-keys"), "list_posts": ("GET", f"{base}/posts"),
        "list_publications": ("GET", "/v1/publications"), "list_events": ("GET", "/v1/events"),
    }  # fmt: skip
    tried = 0
    for operation, slot in BODY_SLOTS:
        method, path = where[operation]
        seen = await ask(client, method, path, operation, json=body_with(operation, slot, things.ids, things.asset_version))
        expected = await ask(client, method, path, operation, json=body_with(operation, slot, never(), encode("asv", new_id())))
        tried += 1
        if seen != expected or seen[0] < 400:
            leaks.append(f"{who}: {operation} body {slot}: {seen} is not {expected}")
    for slot in ("account_ids", "media", "variants"):
        mixes = ((things.ids, things.asset_version), (never(), encode("asv", new_id())))
        batches = [{"items": [{"post": body_with("create_post", slot, *mix)}]} for mix in mixes]
        seen, expected = [await ask(client, "POST", f"{base}/posts/bulk", "create_posts", json=batch) for batch in batches]
        tried += 1
        if seen != expected or '"succeeded":0' not in seen[1]:
            leaks.append(f"{who}: create_posts item {slot}: {seen} is not {expected}")
    for operation, slot in QUERY_SLOTS:
        value, unreal = (things.event, encode("evt", new_id())) if slot == "after" else (things.ids[slot], never()[slot])
        seen = same(await client.get(where[operation][1], params={slot: value}))
        expected = same(await client.get(where[operation][1], params={slot: unreal}))
        tried += 1
        if seen != expected:
            leaks.append(f"{who}: {operation} ?{slot}: {seen} is not {expected}")
    seen = same(await client.get(f"{base}/posts", params={"limit": 1, "cursor": things.cursor}))
    tried += 1
    if seen[0] != 400 or "invalid_cursor" not in seen[1]:
        leaks.append(f"{who}: a foreign cursor answered {seen}")
    for path in (
        "/v1/workspaces",
        "/v1/api-keys",
        "/v1/publications",
        "/v1/events",
        f"{base}/posts",
        f"{base}/accounts",
        f"{base}/media",
    ):
        text = (await client.get(path)).text
        tried += 1
        foreign = [id for slot, id in things.ids.items() if id in text and not (who == "another workspace" and slot == "key_id")]
        if foreign or f"secret of {things.ids['workspace_id']}" in text:
            leaks.append(f"{who}: {path} shows {foreign}")
    return tried


def switch_filters_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the application's filters away wherever they are used."""
    fakes = {
        permissions.owned: lambda model, _actor: select(model),
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
    for table in TENANT_TABLES:
        await db.execute(f"alter table {table} no force row level security; alter table {table} disable row level security")
    await db.close()


@pytest.mark.parametrize("walls", ["both", "filters alone", "row-level security alone"])
async def test_no_stranger_sees_or_touches_what_is_not_theirs(
    scene: Any,
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    walls: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    app, victim, things, strangers = scene
    if walls == "filters alone":
        await switch_rls_off(settings)
    before = await fingerprint(database, victim.tenant, settings.database_url)
    if walls == "row-level security alone":
        switch_filters_off(monkeypatch)
    tried, leaks = await try_everything(app, things, strangers)
    monkeypatch.undo()
    after = await fingerprint(database, victim.tenant, settings.database_url)
    changed = {table for table in TENANT_TABLES if before[table] != after[table]}
    with capsys.disabled():
        sys.stdout.write(
            f"\nwalls ({walls}): {len(paths(app))} operations, {len(strangers)} strangers, {tried} tries, {len(leaks)} leaks\n"
        )
    assert not leaks, "\n".join(leaks)
    # The bound key belongs to the victim's own agency, so its use, and what it made in its own room, may show in these.
    assert changed <= {"api_keys", "connect_sessions", "events"}, changed


async def test_without_a_stamp_no_row_is_seen(database: Database, agency: TestAgency) -> None:
    pool = await database.pool()
    for table in TENANT_TABLES:
        assert await pool.fetchval(f"select count(*) from {table}") == 0, table


async def test_every_operation_with_an_id_in_its_path_has_a_body_here(app: FastAPI) -> None:
    needing = {
        operation["operationId"]
        for operations in app.openapi()["paths"].values()
        for operation in operations.values()
        if "requestBody" in operation
    }
    assert needing <= set(BODIES)


async def test_a_caller_without_the_permission_is_refused_everywhere(app: FastAPI, agency: TestAgency, database: Database) -> None:
    document = app.openapi()
    tried = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            (needed,) = operation["security"][0]["ApiKey"]
            async with database.session(agency.tenant) as session:
                scopes = [permission for permission in Permission if permission != needed]
                _, text = await create_key(session, agency.actor, KeyCreate(name=needed, scopes=scopes), now())
            async with client_of(app, text) as client:
                slots = never() | {"name": "sandbox"}
                slots["workspace_id"] = encode("wsp", agency.workspace.id)
                body = BODIES.get(operation["operationId"])
                answer = await client.request(method.upper(), fill(path, slots), json=body, headers={"If-Match": "*"})
            assert (answer.status_code, answer.json()["required_permission"]) == (403, needed), (method, path, answer.text)
            tried += 1
    assert tried >= 42
