"""Erasing an agency: after it nothing of it can be read anywhere, and nothing of its neighbour is missing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from core.clock import now
from core.db import Database, Person
from core.ids import encode, new_id
from core.settings import Settings
from tenants.command import erase
from tenants.people.sessions import Bound, begin_session
from tenants.rights import erasing
from tenants.rights.closing import AGENCY_GRACE
from tests.conftest import Platform, TestAgency
from tests.people.cast import Cast
from tests.people.people import PASSWORD, browser, join, make_person, signed_in
from tests.walls.things import Things, furnish, with_archive
from workers import exports


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """The owner of the tables, whom no policy stops here; those of the application hold as ever."""
    db = await asyncpg.connect(settings.database_url)
    for row in await db.fetch("select relname from pg_class where relforcerowsecurity"):
        await db.execute(f"alter table {row['relname']} no force row level security")
    yield db
    await db.close()


async def dump(owner: asyncpg.Connection, folder: Path) -> str:
    """Everything that there is: each row of each table of each schema, bytes as text too, and each file with its path."""
    tables = await owner.fetch(
        "select table_schema s, table_name t from information_schema.tables where table_type = 'BASE TABLE'"
        " and table_schema not in ('pg_catalog', 'information_schema')"
    )
    found = []
    for table in tables:
        for row in await owner.fetch(f'select * from "{table["s"]}"."{table["t"]}"'):
            found += [f"{table['t']}.{name}={_text(value)}" for name, value in row.items()]
    found += [f"{path} {path.read_bytes().decode('latin1')}" for path in folder.rglob("*") if path.is_file()]
    return "\n".join(found)


def _text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


async def plant(owner: asyncpg.Connection, agency: TestAgency, word: str) -> int:
    """Put a word of its own into every text of every row of an agency, past all rules. Returns into how many columns."""
    columns = await owner.fetch(
        "select c.table_name t, c.column_name c, c.udt_name k from information_schema.columns c"
        " where c.table_schema = 'public' and c.udt_name in ('text', 'varchar', 'jsonb', '_text')"
        " and exists (select from information_schema.columns a where a.table_schema = 'public' and a.table_name = c.table_name"
        "   and a.column_name = 'agency_id')"
    )
    planted = 0
    for column in columns:
        table, name = column["t"], column["c"]
        for constraint in await owner.fetch(
            "select conname from pg_constraint where conrelid = $1::text::regclass and contype = 'c'", table
        ):
            await owner.execute(f"alter table {table} drop constraint {constraint['conname']}")
        await owner.execute(f"alter table {table} disable trigger user")
        value = {"jsonb": f"""jsonb_build_object('x', '{word}-{table}')""", "_text": f"array['{word}-{table}']"}.get(
            column["k"], f"'{word}-{table}-' || ctid"
        )
        if (table, name) in KEYS:
            continue
        done = await owner.execute(f"update {table} set {name} = {value} where agency_id = $1", agency.actor.agency_id)
        planted += done != "UPDATE 0"
    for table in {column["t"] for column in columns}:
        await owner.execute(f"alter table {table} enable trigger user")
    return planted


KEYS = {
    ("duties", "kind"), ("duties", "state"), ("asset_versions", "storage_key"), ("operations", "storage_key"),
    ("accounts", "network"), ("accounts", "control_external_id"), ("publications", "network"), ("publications", "external_id"),
}  # fmt: skip
"""By these the machinery finds its way, to what the sandbox shows too; they hold words and ids of ours."""


async def settle(platform: Platform, owner: asyncpg.Connection) -> None:
    """Let the grace pass, and the minutes between the sweeps."""
    await owner.execute("update agencies set erase_at = now() - interval '1 second' where erase_at is not null")
    for _ in range(6):
        await owner.execute("update duties set due_at = now() - interval '1 second' where kind = 'erase' and state = 'waiting'")
        await platform.work("erase")


async def close(platform: Platform, agency: TestAgency, email: str = "ada@first.example") -> None:
    """Have the owner of an agency close it. `agency` is the live one."""
    database = platform.context.database
    user = await make_person(database, email)
    for one in (agency, agency.sibling):
        assert one is not None
        await join(database, one, user, "owner")
    async with await signed_in(platform.app, database, user, agency) as home:
        answer = await home.post("/v1/agency/closure")
        assert answer.status_code == 202, answer.text


async def grow_old(owner: asyncpg.Connection, by_minutes: int = 11) -> None:
    """Let the minutes pass in which a session counts as fresh."""
    await owner.execute("alter table sessions no force row level security")
    await owner.execute("update sessions set authenticated_at = authenticated_at - make_interval(mins => $1)", by_minutes)
    await owner.execute("alter table sessions force row level security")


async def furnished(platform: Platform, agency: TestAgency) -> Things:
    async with platform.client(agency.key) as client:
        things = await furnish(client, encode("wsp", agency.workspace.id))
    return await with_archive(platform.app, platform.context.database, agency, things)


async def with_own_roles(platform: Platform, agency: TestAgency) -> None:
    """Give a member a role of the agency's own, in the agency and in a workspace."""
    cast = Cast(platform.app, platform.context.database, agency)
    ben = await cast.add("ben", "member")
    async with platform.client(agency.key) as client, ben.client:
        rooms = await client.post("/v1/workspaces", json={"name": "w", "time_zone": "UTC"})
        for scope, path in (("agency", f"members/{ben.id}"), ("workspace", f"workspaces/{rooms.json()['id']}/members/{ben.id}")):
            wish = {"name": scope, "scope": scope, "permissions": ["post:read"]}
            role = (await client.post("/v1/roles", json=wish)).json()["id"]
            method = "PATCH" if scope == "agency" else "PUT"
            given = await client.request(method, f"/v1/{path}", json={"role": role})
            assert given.status_code == 200, given.text


async def test_nothing_of_an_erased_agency_is_left_and_everything_of_its_neighbour_is(
    platform: Platform, agency: TestAgency, other: TestAgency, owner: asyncpg.Connection, settings: Settings
) -> None:
    folder = Path(settings.home) / "media"
    for one in (agency, other):
        await furnished(platform, one)
        async with platform.client(one.key) as client:  # published to the sandbox, which keeps what it shows in this database
            word, base = f"sandboxed-{one.actor.agency_name}", f"/v1/workspaces/{encode('wsp', one.workspace.id)}"
            account = (await client.get(f"{base}/accounts")).json()["data"][0]["id"]
            await client.post(f"{base}/posts", json={"text": word, "account_ids": [account], "schedule": "now"})
    await platform.work("publish", "operation", "audit")
    assert agency.sibling is not None
    await close(platform, agency.sibling)
    await with_own_roles(platform, agency.sibling)
    words = {one.actor.agency_name: f"canary-{one.actor.agency_name}" for one in (agency, other)}
    for one in (agency, other):
        assert await plant(owner, one, words[one.actor.agency_name]) > 40
        id = one.actor.agency_id
        await owner.execute("update agencies set name = $2 where id = $1", id, words[one.actor.agency_name])
    before = await dump(owner, folder)
    for word in ("canary-First", "canary-Second", "sandboxed-First", "sandboxed-Second", "ada@first.example"):
        assert word in before, word
    theirs = {line for line in before.splitlines() if "canary-Second" in line or str(other.actor.agency_id) in line}
    assert len(theirs) > 100
    # When the grace is over
    await settle(platform, owner)
    after = await dump(owner, folder)
    # Then no word and no person of the one is anywhere, and its id stands in the tombstone alone
    for word in ("canary-First", "sandboxed-First", "ada@first.example", "lanterns"):
        assert word not in after, [line for line in after.splitlines() if word in line][:3]
    for one in (agency, agency.sibling):
        lines = [line for line in after.splitlines() if str(one.actor.agency_id) in line]
        assert [line.partition("=")[0] for line in lines] == ["erasures.agency_id"]
    assert not list(folder.glob(f"{agency.actor.agency_id}/**/*.*"))
    # And of the other nothing is missing
    assert theirs - set(after.splitlines()) == set()
    async with platform.client(agency.key) as client:
        assert (await client.get("/v1/me")).status_code == 401


async def test_an_erasure_that_is_run_twice_or_breaks_off_goes_on_where_it_was(
    platform: Platform, agency: TestAgency, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await furnished(platform, agency)
    assert agency.sibling is not None
    await close(platform, agency.sibling)
    tables = erasing.tables()

    def broken() -> list[str]:
        return [*tables[:4], "no_such_table"]

    with monkeypatch.context() as patch:
        patch.setattr(erasing, "tables", broken)
        await owner.execute("update agencies set erase_at = now() where erase_at is not null")
        await owner.execute("update duties set due_at = now() where kind = 'erase'")
        await platform.work("erase")  # it breaks off in the middle of the first sweep
    assert await owner.fetchval("select count(*) from agencies where closed_at is not null") == 2
    # Leases end, and another worker comes
    await owner.execute("update duties set lease_until = now() - interval '1 second' where kind = 'erase' and state = 'leased'")
    await settle(platform, owner)
    assert await owner.fetchval("select count(*) from agencies where id = $1", agency.actor.agency_id) == 0
    assert await owner.fetchval("select count(*) from erasures") == 2


async def test_an_owner_closes_and_calls_it_off_and_nobody_else_does(
    platform: Platform, database: Database, agency: TestAgency, owner: asyncpg.Connection
) -> None:
    live = agency.sibling
    assert live is not None
    people = {role: await make_person(database, f"{role}@first.example") for role in ("owner", "admin", "member")}
    for role, user in people.items():
        await join(database, live, user, role)
    for role in ("admin", "member"):
        async with await signed_in(platform.app, database, people[role], live) as browser:
            refused = await browser.post("/v1/agency/closure")
            assert (refused.status_code, refused.json()["required_permission"]) == (403, "agency:close")
    async with platform.client(live.key) as client:
        assert (await client.post("/v1/agency/closure")).status_code == 403
    async with await signed_in(platform.app, database, people["owner"], live) as browser:
        await grow_old(owner)
        stale = await browser.post("/v1/agency/closure")
        assert (stale.status_code, stale.json()["code"]) == (403, "reauthentication_required")
        again = "/v1/sessions/current/reauthentication"
        assert (await browser.post(again, json={"password": "not the password at all"})).status_code == 401
        assert (await browser.post("/v1/agency/closure")).status_code == 403
        assert (await browser.post(again, json={"password": PASSWORD})).status_code == 204
        assert (await browser.get("/v1/agency/closure")).json() == {"erase_at": None}
        closed = [await browser.post("/v1/agency/closure") for _ in range(2)]
        assert closed[0].json() == closed[1].json() == (await browser.get("/v1/agency/closure")).json()
        assert await owner.fetchval("select count(*) from agencies where erase_at > $1", now() + AGENCY_GRACE * 0.99) == 2
        assert await owner.fetchval("select count(*) from duties where kind = 'erase'") == 2
        # Meanwhile everything goes on
        async with platform.client(live.key) as client:
            assert (await client.post("/v1/workspaces", json={"name": "w", "time_zone": "UTC"})).status_code == 201
        assert (await browser.delete("/v1/agency/closure")).status_code == 204
        assert await owner.fetchval("select count(*) from duties where kind = 'erase'") == 0
        actions = [one["action"] for one in (await browser.get("/v1/audit-entries")).json()["data"]]
        assert actions == ["agency.keep", "workspace.create", "agency.close"]


async def test_an_owner_who_comes_by_a_provider_closes_when_that_was_just_now(
    platform: Platform, database: Database, agency: TestAgency, owner: asyncpg.Connection
) -> None:
    live, provider_id = agency.sibling, new_id()
    assert live is not None
    agency_id, user = live.actor.agency_id, await make_person(database, "owner@first.example")
    member_id = await join(database, live, user, "owner")
    async with database.connection(live.tenant) as db:
        await db.execute(
            "insert into identity_providers (agency_id, id, name, issuer, client_id, sealed_secret, domains, second_factor,"
            " set_by_member) values ($1, $2, 'p', 'https://id.first.example', 'c', '', '{first.example}', false, $3)",
            agency_id, provider_id, member_id,
        )  # fmt: skip
    async with database.connection(Person(user)) as db:
        _, text = await begin_session(db, user, None, "", now(), bound=Bound(agency_id, provider_id))
    async with browser(platform.app, cookie=text) as bound:
        await grow_old(owner)
        assert (await bound.post("/v1/agency/closure")).json()["code"] == "reauthentication_required"
        assert await owner.fetchval("select count(*) from agencies where erase_at is not null") == 0
        await grow_old(owner, by_minutes=-11)
        assert (await bound.post("/v1/agency/closure")).status_code == 202


async def test_the_application_itself_can_neither_hasten_an_erasure_nor_take_the_log_away(
    platform: Platform, database: Database, agency: TestAgency
) -> None:
    async with platform.client(agency.key) as client:
        await client.post("/v1/workspaces", json={"name": "w", "time_zone": "UTC"})
    for statement in (
        "update agencies set erase_at = now()",
        "update agencies set erase_at = now() + interval '12 days'",
        "delete from audit_entries",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.connection(agency.tenant) as db:
                await db.execute(statement)


async def test_a_person_who_is_in_another_agency_too_stays(
    platform: Platform, database: Database, agency: TestAgency, other: TestAgency, owner: asyncpg.Connection
) -> None:
    ada = await make_person(database, "both@first.example")
    assert agency.sibling is not None
    await join(database, agency.sibling, ada, "admin")
    await join(database, other, ada, "member")
    await close(platform, agency.sibling)
    await settle(platform, owner)
    assert [row["email"] for row in await owner.fetch("select email from users")] == ["both@first.example"]


async def test_an_operator_erases_an_agency_by_a_command(
    platform: Platform, agency: TestAgency, other: TestAgency, owner: asyncpg.Connection, settings: Settings
) -> None:
    assert agency.sibling is not None
    live = encode("agc", agency.sibling.actor.agency_id)
    # With the grace at first, and then at once
    told = await erase(settings, live, at_once=False)
    assert sorted(told["agencies"]) == sorted([live, encode("agc", agency.actor.agency_id)])
    await platform.work("erase")
    seen = "alter table agencies no force row level security"  # which the command forces again
    await owner.execute(seen)
    assert await owner.fetchval("select count(*) from agencies") == 4
    await erase(settings, live, at_once=True)
    await owner.execute(seen)
    await settle(platform, owner)
    left = {row["id"] for row in await owner.fetch("select id from agencies")}
    assert other.sibling is not None
    assert left == {other.actor.agency_id, other.sibling.actor.agency_id}
    for wrong in (encode("agc", other.actor.agency_id), live):  # test data by themselves, and what is gone
        with pytest.raises(LookupError):
            await erase(settings, wrong, at_once=True)


async def test_no_key_can_hold_what_is_an_owners_alone(
    platform: Platform, database: Database, agency: TestAgency
) -> None:  # fmt: skip
    user = await make_person(database, "ada@first.example")
    await join(database, agency, user, "owner")
    async with await signed_in(platform.app, database, user, agency) as browser:
        made = await browser.post("/v1/api-keys", json={"name": "k", "scopes": ["agency:close", "post:read"]})
        assert (made.status_code, made.json()["scopes"]) == (201, ["post:read"])
        assert (await browser.post("/v1/api-keys", json={"name": "k", "scopes": ["agency:close"]})).status_code == 403


async def test_an_export_that_ends_after_the_erasure_of_its_workspace_leaves_nothing(
    platform: Platform, agency: TestAgency, owner: asyncpg.Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}"
    async with platform.client(agency.key) as client:
        await furnish(client, base.rpartition("/")[2])
        assert (await client.post(f"{base}/closure")).status_code == 202
        await platform.work("operation")
        go, there = asyncio.Event(), asyncio.Event()
        manifest = exports._manifest

        async def slow(*arguments: Any) -> dict[str, Any]:
            there.set()
            await go.wait()
            return await manifest(*arguments)

        # Given an export of the closed workspace that is under way
        monkeypatch.setattr(exports, "_manifest", slow)
        assert (await client.post(f"{base}/exports")).status_code == 202
        work = asyncio.create_task(platform.work("operation"))
        await there.wait()
        # When the workspace is erased before it ends
        await owner.execute("update workspaces set erase_at = now() - interval '1 second' where id = $1", agency.workspace.id)
        await owner.execute("update duties set due_at = now() - interval '1 second' where kind = 'erase' and state = 'waiting'")
        await platform.work("erase")
        assert (await client.get(base)).status_code == 404
        go.set()
        await work
        # Then neither a file nor an event of it is left
        assert not list((Path(settings.home) / "media").rglob("*.zip"))
        assert await owner.fetchval("select count(*) from events where workspace_id = $1", agency.workspace.id) == 0
