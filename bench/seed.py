"""The seed: twenty agencies, a thousand accounts that the fake network knows, and posts by bare SQL."""

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID

import aiohttp
import asyncpg

from bench.load import Generator, Job, request
from bench.processes import BenchFailed
from core.ids import decode
from core.settings import Settings
from tenants.command import create

AGENCIES = 20
ACCOUNTS = 1_000
ACCOUNTS_OF_THE_LARGEST = 525
"""Agency A has more than half of all accounts, so that an unfair queue would show."""
FUTURE_S = 2 * 24 * 3_600
CONNECTING = 8
"""Connections that the accounts are connected over."""
CHUNK = 100_000

ACCOUNT_TABLE = """
create unlogged table bench_accounts as
select (row_number() over (order by md5(id::text)) - 1)::int n, agency_id, workspace_id, id account_id from accounts
"""
BARE_TABLE = """
create table bench_due (id bigint generated always as identity primary key, profile text not null, token text not null,
  text text not null, due_at timestamptz not null, status smallint not null default 0, attempts int not null default 0,
  locked_until timestamptz, remote_id text) with (fillfactor = 80);
create index bench_due_waiting on bench_due (due_at, id) where status = 0;
create unlogged table bench_profiles (n int primary key, profile text not null, token text not null);
"""
CHOSEN = """
chosen as (select *, row_number() over (order by n) - 1 place, count(*) over () total from bench_accounts
  where ($4::uuid is null or agency_id = $4)),
numbered as materialized (
  select g, c.agency_id, c.workspace_id, c.account_id, uuidv7() post, uuidv7() variant, uuidv7() publication,
    to_timestamp($2::float8 + g * $3::float8) due, 'due=' || ($2::numeric + g * $3::numeric)::numeric(20, 3)::text mark
  from generate_series(0, $1::int - 1) g join chosen c on c.place = g % c.total)
"""
TEXT = "repeat('lorem ipsum ', 12)"
POSTS = f"""
with {CHOSEN},
post as (insert into posts (agency_id, workspace_id, id, state, text, due_at, time_zone)
  select agency_id, workspace_id, post, 'scheduled', {TEXT} || mark, due, 'UTC' from numbered),
variant as (insert into variants (agency_id, workspace_id, id, post_id, account_id)
  select agency_id, workspace_id, variant, post, account_id from numbered),
publication as (
  insert into publications (agency_id, workspace_id, id, post_id, variant_id, account_id, network, state, due_at)
  select agency_id, workspace_id, publication, post, variant, account_id, 'sandbox', 'scheduled', due from numbered),
duty as (insert into duties (agency_id, kind, subject_id, due_at, serial_key)
  select agency_id, 'publish', publication, due, account_id from numbered)
select publication from numbered
"""
BARE = f"""
insert into bench_due (profile, token, text, due_at)
select p.profile, p.token, {TEXT} || 'due=' || ($2::numeric + g * $3::numeric)::numeric(20, 3)::text,
  to_timestamp($2::float8 + g * $3::float8)
from generate_series(0, $1::int - 1) g join bench_profiles p on p.n = g % {ACCOUNTS}
returning id
"""


@dataclass(frozen=True, slots=True)
class Agency:
    """An agency to act as: the test key, and its one workspace with the text of its id."""

    id: UUID
    key: str
    workspace_id: UUID
    workspace: str

    @property
    def headers(self) -> dict[str, str]:
        """What authenticates."""
        return {"Authorization": f"Bearer {self.key}"}


async def create_agencies(settings: Settings, count: int = AGENCIES) -> list[Agency]:
    """Create agencies as the operator's command does."""
    made = []
    for number in range(count):
        one = await create(settings, f"Agency {number}", "Client", "Europe/Berlin")
        made.append(Agency(decode("agc", one["test_agency"]), one["test_key"], decode("wsp", one["workspace"]), one["workspace"]))
    return made


def owners(agencies: list[Agency]) -> list[Agency]:
    """Whose each of the accounts is."""
    rest = agencies[1:]
    return [agencies[0] if n < ACCOUNTS_OF_THE_LARGEST or not rest else rest[n % len(rest)] for n in range(ACCOUNTS)]


async def prepare(
    db: asyncpg.Connection, agencies: list[Agency], generator: Generator, port: int, network_url: str, waiting: int
) -> float:
    """Connect the accounts through the API and write what waits, for both sides. Returns posts written per second."""
    connects = [
        request("POST", f"/v1/workspaces/{agency.workspace}/connect-sessions", agency.headers,
                {"network": "sandbox", "credentials": {"handle": f"always_ok-{n}"}, "targets": "all"})
        for n, agency in enumerate(owners(agencies))
    ]  # fmt: skip
    outcome = await generator.run(Job(port, connects, connections=CONNECTING, count=ACCOUNTS))
    if outcome.bad or outcome.count != ACCOUNTS:
        raise BenchFailed(f"accounts did not connect: {outcome}")
    await db.execute(ACCOUNT_TABLE)
    await db.execute(BARE_TABLE)
    await _bare_profiles(db, network_url)
    began = time.monotonic()
    await add_posts(db, waiting, time.time() + FUTURE_S, 1.0)
    written_per_s = waiting / (time.monotonic() - began)
    await add_bare(db, waiting, time.time() + FUTURE_S, 1.0)
    await settle(db)
    return written_per_s


async def _bare_profiles(db: asyncpg.Connection, network_url: str) -> None:
    """Open as many handles for P0, which keeps its tokens as they are."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTING)) as client:

        async def opened(n: int) -> tuple[int, str, str]:
            wish = {"grant_type": "handle", "handle": f"always_ok-p{n}"}
            async with client.post(network_url + "/token", json=wish) as answer:
                answer.raise_for_status()
                body = await answer.json()
                return n, body["targets"][0]["external_id"], body["access_token"]

        rows = await asyncio.gather(*(opened(n) for n in range(ACCOUNTS)))
    await db.copy_records_to_table("bench_profiles", records=rows, columns=["n", "profile", "token"])


async def add_posts(db: asyncpg.Connection, count: int, due: float, step: float = 0.0, *, agency: UUID | None = None) -> list[UUID]:
    """Write posts with variants, publications and duties, due at one time or `step` seconds apart. Returns the publications."""
    made: list[UUID] = []
    for start in range(0, count, CHUNK):
        rows = await db.fetch(POSTS, min(CHUNK, count - start), due + start * step, step, agency)
        made += [row["publication"] for row in rows]
    return made


async def add_bare(db: asyncpg.Connection, count: int, due: float, step: float = 0.0) -> list[int]:
    """The same for P0."""
    return [row["id"] for row in await db.fetch(BARE, count, due, step)]


async def settle(db: asyncpg.Connection) -> None:
    """Let statistics and buffers be as they are in an installation that lives."""
    await db.execute("vacuum analyze")
    await db.execute("checkpoint")
