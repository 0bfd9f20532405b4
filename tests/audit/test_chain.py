"""The chain: sealed in order by one at a time, unbroken under any number of writers, and telling on whoever touches it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest

from core import duties
from core.db import Database, Tenant
from core.ids import encode, new_id
from core.settings import Settings
from tenants.audit import chain, entries
from tenants.audit.entries import Entry, Origin, record
from tests.conftest import Platform, TestAgency
from workers.duties import run_batch

WRITERS = 50
TABLES = ("audit_entries", "audit_seals")


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """The owner of the tables, who took the walls away."""
    connection = await asyncpg.connect(settings.database_url)
    await connection.execute("; ".join(f"alter table {table} no force row level security" for table in TABLES))
    yield connection
    await connection.close()


async def write(client: httpx2.AsyncClient, count: int) -> None:
    """Make entries."""
    for number in range(count):
        answer = await client.post("/v1/workspaces", json={"name": f"w{number}", "time_zone": "UTC"})
        assert answer.status_code == 201, answer.text


async def verified(client: httpx2.AsyncClient, **query: Any) -> dict[str, Any]:
    """Ask for the verdict."""
    answer = await client.get("/v1/audit-entries/verify", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_entries_are_sealed_in_order_and_the_chain_verifies(platform: Platform, agency: TestAgency) -> None:
    async with platform.client(agency.key) as client:
        assert await verified(client) | {"head": None} == {
            "ok": True, "from_sequence": 1, "to_sequence": 0, "checked": 0, "broken_sequence": None, "broken_reason": None,
            "next_sequence": None, "head": None,
        }  # fmt: skip
        await write(client, 3)
        before = (await client.get("/v1/audit-entries/head")).json()
        assert before == {"sequence": 0, "hash": "0" * 64, "at": None, "unsealed": 3}
        await platform.work("audit")
        head = (await client.get("/v1/audit-entries/head")).json()
        assert (head["sequence"], head["unsealed"]) == (3, 0)
        entries = (await client.get("/v1/audit-entries")).json()["data"]
        assert [one["sequence"] for one in entries] == [3, 2, 1]
        assert entries[0]["hash"] == head["hash"]
        # In parts as well as at once, and beyond its end
        assert (await verified(client))["checked"] == 3
        part = await verified(client, from_sequence=2, limit=1)
        assert (part["ok"], part["checked"], part["to_sequence"], part["next_sequence"]) == (True, 1, 2, 3)
        beyond = await verified(client, from_sequence=4)
        assert (beyond["ok"], beyond["checked"], beyond["next_sequence"]) == (True, 0, None)
        # What comes later goes on where it ended
        await write(client, 1)
        await platform.let_pass(600)
        await platform.work("audit")
        later = await verified(client)
        assert (later["ok"], later["checked"], later["head"]["sequence"]) == (True, 4, 4)


async def test_many_writers_at_once_keep_one_unbroken_chain(platform: Platform, agency: TestAgency) -> None:
    async with platform.client(agency.key) as client:

        async def one(number: int) -> int:
            if number % 10 == 0:
                await platform.let_pass(600)
                await platform.work("audit")  # sealed while the others write
            answer = await client.post("/v1/workspaces", json={"name": f"w{number}", "time_zone": "UTC"})
            return answer.status_code

        assert await asyncio.gather(*(one(number) for number in range(WRITERS))) == [201] * WRITERS
        await platform.let_pass(600)
        await platform.work("audit")
        verdict = await verified(client)
        assert (verdict["ok"], verdict["checked"]) == (True, WRITERS)
        assert (verdict["head"]["sequence"], verdict["head"]["unsealed"]) == (WRITERS, 0)


async def test_an_entry_that_is_committed_after_younger_ones_were_sealed_is_sealed_next(
    platform: Platform, agency: TestAgency
) -> None:
    about = Entry("workspace", agency.workspace.id, agency.workspace.id, after={"name": "slow"})
    origin = Origin("key", agency.actor.key_id, "req_slow")
    async with platform.client(agency.key) as client:
        async with platform.context.database.connection(agency.tenant) as slow:
            # Given an entry whose transaction stays open while others are written and sealed
            await record(slow, agency.actor.agency_id, "workspace.update", origin, about)
            await write(client, 2)
            await platform.work("audit")
            assert (await verified(client))["head"] | {"hash": "", "at": ""} == {"sequence": 2, "hash": "", "at": "", "unsealed": 0}
        # Then it has the next number
        assert (await client.get("/v1/audit-entries/head")).json()["unsealed"] == 1
        await platform.let_pass(600)
        await platform.work("audit")
        verdict = await verified(client)
        assert (verdict["ok"], verdict["checked"]) == (True, 3)
        last = (await client.get("/v1/audit-entries")).json()["data"][-1]
        assert (last["request_id"], last["sequence"]) == ("req_slow", 3)


async def test_an_id_from_a_clock_that_runs_ahead_hides_no_entry(
    platform: Platform, agency: TestAgency, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform.client(agency.key) as client:
        with monkeypatch.context() as ahead:
            ahead.setattr(entries, "new_id", lambda: UUID(int=new_id().int + (24 * 3_600_000 << 80)))
            await write(client, 1)
        await platform.work("audit")
        await write(client, 2)
        await platform.let_pass(600)
        await platform.work("audit")
        verdict = await verified(client)
        assert (verdict["ok"], verdict["checked"], verdict["head"]["unsealed"]) == (True, 3, 0)


LATER = """
select state = 'waiting' and due_at > (select max(sealed_at) from audit_seals) from duties where kind = 'audit'
"""


async def test_a_sealing_that_is_run_twice_or_by_two_at_once_seals_once(platform: Platform, agency: TestAgency) -> None:
    context = platform.context
    async with platform.client(agency.key) as client:
        await write(client, 2)
        async with context.duties_pool.acquire() as db:
            claimed = await duties.claim(db, "audit", 100, context.settings.lease, 100)
        ours = [one for one in claimed if one.agency_id == agency.actor.agency_id]
        await asyncio.gather(run_batch(context, "audit", ours), run_batch(context, "audit", ours))
        await run_batch(context, "audit", ours)
        verdict = await verified(client)
        assert (verdict["ok"], verdict["head"]["sequence"]) == (True, 2)
    async with context.database.connection(agency.tenant) as db:
        assert await db.fetchval(LATER)


@pytest.mark.parametrize(("near_s", "again"), [(0.0, True), (entries.NEAR_S, False)])
async def test_a_write_brings_a_sealing_near_that_is_far_and_the_next_ones_rely_on_it(
    platform: Platform, agency: TestAgency, monkeypatch: pytest.MonkeyPatch, near_s: float, again: bool
) -> None:
    monkeypatch.setattr(entries, "NEAR_S", near_s)
    far = "update duties set due_at = now() + interval '5 minutes' where kind = 'audit'"
    due = "select due_at < now() + interval '3 seconds' from duties where kind = 'audit'"
    async with platform.client(agency.key) as client:
        async with platform.context.database.connection(agency.tenant) as db:
            await db.execute(far)
        await write(client, 1)
        async with platform.context.database.connection(agency.tenant) as db:
            assert await db.fetchval(due)
            await db.execute(far)
        await write(client, 1)
        async with platform.context.database.connection(agency.tenant) as db:
            assert await db.fetchval(due) is again


QUIET = """
alter table audit_entries disable trigger user; alter table audit_seals disable trigger user;
alter table audit_seals drop constraint fk_audit_seals_agency_id_entry_id; drop index uq_audit_seals_entry
"""
"""How an owner gets past what keeps the rows."""
TAMPERINGS = {
    "an action": ("update audit_entries set action = 'key.create' where id = {third}", 3, "hash_differs"),
    "what was before": ("update audit_entries set after = after || '{{\"name\": \"x\"}}' where id = {third}", 3, "hash_differs"),
    "the time": ("update audit_entries set at = at + interval '1 microsecond' where id = {third}", 3, "hash_differs"),
    "the actor": ("update audit_entries set actor_id = id where id = {third}", 3, "hash_differs"),
    "the session": (
        "update audit_entries set credential_type = 'session', credential_id = id where id = {third}", 3, "hash_differs",
    ),
    "an entry taken away": ("delete from audit_entries where id = {third}", 3, "entry_missing"),
    "a seal taken away": ("delete from audit_seals where entry_id = {third}", 3, "seal_missing"),
    "both taken away": (
        "delete from audit_seals where entry_id = {third}; delete from audit_entries where id = {third}", 3, "seal_missing",
    ),
    "the first both taken away": (
        "delete from audit_seals where entry_id = {first}; delete from audit_entries where id = {first}", 1, "seal_missing",
    ),
    "one byte of a hash": (
        "update audit_seals set hash = set_byte(hash, 5, 255 - get_byte(hash, 5)) where sequence = 3", 3, "hash_differs",
    ),
    "two that changed places": (
        "update audit_seals set entry_id = case sequence when 2 then {third} else {second} end where sequence in (2, 3)",
        2, "hash_differs",
    ),
    "a hash that was made up": (
        "update audit_seals set hash = decode(md5('x') || md5('y'), 'hex') where sequence = 4", 4, "hash_differs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", TAMPERINGS)
async def test_whoever_touches_the_log_is_found_and_the_place_named(
    platform: Platform, agency: TestAgency, owner: asyncpg.Connection, how: str
) -> None:
    statement, sequence, reason = TAMPERINGS[how]
    async with platform.client(agency.key) as client:
        await write(client, 5)
        await platform.work("audit")
        assert (await verified(client))["ok"]
        ids = [row["entry_id"] for row in await owner.fetch("select entry_id from audit_seals order by sequence")]
        await owner.execute(QUIET)
        await owner.execute(statement.format(first=f"'{ids[0]}'::uuid", second=f"'{ids[1]}'::uuid", third=f"'{ids[2]}'::uuid"))
        verdict = await verified(client)
        assert (verdict["ok"], verdict["broken_sequence"], verdict["broken_reason"]) == (False, sequence, reason)
        assert (verdict["checked"], verdict["next_sequence"]) == (sequence - 1, None)
        whole = await verified(client, from_sequence=sequence, limit=1) if sequence > 1 else verdict
        assert not whole["ok"]


async def test_an_end_that_is_cut_off_shows_in_a_head_that_was_kept(
    platform: Platform, agency: TestAgency, owner: asyncpg.Connection
) -> None:
    async with platform.client(agency.key) as client:
        await write(client, 2)
        await platform.work("audit")
        kept = (await client.get("/v1/audit-entries/head")).json()
        await owner.execute(QUIET)
        await owner.execute("delete from audit_entries where id = (select entry_id from audit_seals where sequence = 2)")
        await owner.execute("delete from audit_seals where sequence = 2")
        verdict = await verified(client)
        assert verdict["ok"]
        assert (verdict["head"]["sequence"], verdict["head"]["hash"]) != (kept["sequence"], kept["hash"])
        # And to who goes on from its number
        onward = await verified(client, from_sequence=kept["sequence"] + 1)
        assert (onward["ok"], onward["broken_sequence"], onward["broken_reason"]) == (False, kept["sequence"], "seal_missing")


SLIP = """
insert into audit_entries (agency_id, id, action, actor_type, actor_id, subject_type, subject_id, request_id, at)
values ($1, $2, 'member.remove', 'key', $3, 'member', $3, '', now() - interval '1 hour')
"""


def aged(hours: float) -> UUID:
    """An id as old as if it had been made hours ago."""
    return UUID(int=new_id().int - (int(hours * 3_600_000) << 80))


@pytest.mark.parametrize(("hours_ago", "number"), [(4, 1), (1.5, 3), (0.5, 4)])
async def test_an_entry_that_comes_with_an_old_id_is_found_wherever_it_slips_in(
    platform: Platform, agency: TestAgency, other: TestAgency, monkeypatch: pytest.MonkeyPatch, hours_ago: float, number: int
) -> None:
    async with platform.client(agency.key) as client, platform.client(other.key) as stranger:
        # Given entries of three hours, two hours and one hour ago, and of now
        for back in (3, 2, 1, 0):
            with monkeypatch.context() as behind:
                behind.setattr(entries, "new_id", lambda back=back: aged(back))
                await write(client, 1)
        await write(stranger, 2)
        await platform.work("audit")
        assert (await verified(client))["checked"] == 4
        # When one is written beside the API, with an id that the sealer does not look back to
        async with platform.context.database.connection(agency.tenant) as db:
            await db.execute(SLIP, agency.actor.agency_id, aged(hours_ago), new_id())
        await platform.let_pass(600)
        await platform.work("audit")
        verdict = await verified(client)
        assert (verdict["ok"], verdict["broken_sequence"], verdict["broken_reason"]) == (False, number, "entry_unsealed")
        # Then the part in which it stands tells, and the others hold
        for first in (1, 2, 3, 4):
            assert (await verified(client, from_sequence=first, limit=1))["ok"] is (first != number)
        assert (await verified(stranger))["ok"]


STATEMENTS = (
    "update audit_entries set action = 'x'", "delete from audit_entries", "truncate audit_entries cascade",
    "update audit_seals set hash = hash", "delete from audit_seals", "truncate audit_seals",
)  # fmt: skip


@pytest.mark.parametrize("statement", STATEMENTS)
async def test_no_role_changes_or_deletes_rows_of_the_log(
    platform: Platform, agency: TestAgency, owner: asyncpg.Connection, database: Database, statement: str
) -> None:
    async with platform.client(agency.key) as client:
        await write(client, 1)
        await platform.work("audit")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"permission denied|append-only"):
            async with database.connection(agency.tenant) as db:
                await db.execute(statement)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await owner.execute(statement)
        assert (await verified(client))["checked"] == 1


async def test_erasing_an_agency_takes_its_entries_and_no_others(
    platform: Platform, agency: TestAgency, other: TestAgency, owner: asyncpg.Connection, database: Database
) -> None:
    async with platform.client(agency.key) as client, platform.client(other.key) as stranger:
        for each in (client, stranger):
            await write(each, 2)
        await platform.work("audit")
        # Given an agency whose grace is over
        await owner.execute("alter table agencies no force row level security")
        await owner.execute("update agencies set erase_at = now() where id = $1", agency.actor.agency_id)
        for table in ("audit_seals", "audit_entries"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                async with database.connection(other.tenant) as db:
                    await db.execute(f"delete from {table}")
            async with database.connection(agency.tenant) as db:
                await db.execute(f"delete from {table}")
        assert (await client.get("/v1/audit-entries")).json()["data"] == []
        assert (await verified(stranger))["checked"] == 2


async def test_two_agencies_have_chains_of_their_own(platform: Platform, agency: TestAgency, other: TestAgency) -> None:
    async with platform.client(agency.key) as client, platform.client(other.key) as stranger:
        await write(client, 3)
        await write(stranger, 1)
        await platform.work("audit")
        heads = [(await each.get("/v1/audit-entries/head")).json() for each in (client, stranger)]
        assert [head["sequence"] for head in heads] == [3, 1]
        assert heads[0]["hash"] != heads[1]["hash"]
        assert (await verified(stranger))["checked"] == 1
    async with platform.context.database.connection(Tenant(other.actor.agency_id)) as db:
        assert await db.fetchval("select count(*) from audit_seals") == 1
        assert encode("agc", await db.fetchval("select agency_id from audit_seals")) == encode("agc", other.actor.agency_id)


async def test_what_was_sealed_before_entries_named_their_session_still_verifies(platform: Platform, agency: TestAgency) -> None:
    async with platform.client(agency.key) as client:
        await write(client, 1)
        async with platform.context.database.connection(agency.tenant) as db:
            row = await db.fetchrow(f"select {chain.ENTRY} from audit_entries e")
    written = json.loads(chain.canonical(1, row))
    # As the first version wrote it: these names, and no other
    assert sorted(written) == [
        "action", "actor_id", "actor_type", "address", "after", "at", "before", "id", "on_behalf_of", "request_id", "sequence",
        "subject_id", "subject_type", "user_agent", "workspace_id",
    ]  # fmt: skip
