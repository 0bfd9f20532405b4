"""HTTP: the project's routes against bare baselines, interleaved round by round, by CPU seconds per request."""

import asyncio
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg

from bench.gates import SPREAD_MAX, Gate, Measured, ratios, spread
from bench.load import Job, Outcome, request
from bench.processes import BenchFailed, Started, answering, cpu_of, spent
from bench.world import World
from core.ids import encode

CURSOR = re.compile(rb'"next_cursor":"[^"]{40,}"')
"""The two sides sign their cursors with keys of their own."""
BACKENDS = "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
TEXT = "lorem ipsum " * 12
ROUTE_TITLES = {
    Gate.READ_CPU: "list of 50 posts",
    Gate.WRITE_CPU: "create a scheduled post",
    Gate.CRUD_READ_CPU: "get a workspace",
    Gate.CRUD_WRITE_CPU: "create a workspace",
}


@dataclass
class Side:
    """One side of a pair, and what its rounds gave."""

    part: Started
    port: int
    request: str
    outcomes: list[Outcome] = field(default_factory=list)
    app_us: list[float] = field(default_factory=list)
    postgres_us: list[float] = field(default_factory=list)

    @property
    def cpu_us(self) -> list[float]:
        """CPU microseconds per request of the process tree and PostgreSQL's backends."""
        return [app + postgres for app, postgres in zip(self.app_us, self.postgres_us, strict=True)]

    def summary(self) -> dict[str, Any]:
        """The rounds as numbers."""
        return {
            "requests_per_s": [round(outcome.rate) for outcome in self.outcomes],
            "app_us": [round(value) for value in self.app_us],
            "postgres_us": [round(value) for value in self.postgres_us],
            "p50_ms": [round(outcome.p50_ms, 1) for outcome in self.outcomes],
            "p99_ms": [round(outcome.p99_ms, 1) for outcome in self.outcomes],
        }


@dataclass
class Pair:
    """A route of the project and its baseline. `table` is what each request adds one row to."""

    gate: Gate
    bare: Side
    project: Side
    table: str | None = None


async def measure(world: World) -> list[Measured]:
    """Run every pair."""
    api, port = await world.start_api()
    bare_a, port_a = world.bare_app("a")
    bare_b, port_b = world.bare_app("b")
    for part, at in ((bare_a, port_a), (bare_b, port_b)):
        await answering(part, at, "/", any_status=True)
    measured = []
    async with world.root() as db:
        pairs = await _pairs(world, db, (api, port), (bare_a, port_a), (bare_b, port_b))
        await _same_bytes(world, port, port_a, port_b)
        for pair in pairs:
            world.say(f"HTTP: {ROUTE_TITLES[pair.gate]}")
            measured.append(await _rounds(world, db, pair))
    await asyncio.to_thread(world.household.stop, api, bare_a, bare_b)
    return measured


async def _pairs(
    world: World, db: asyncpg.Connection, api: tuple[Started, int], a: tuple[Started, int], b: tuple[Started, int]
) -> list[Pair]:
    reader, writer, bare_writer = world.agencies[2], world.agencies[0], world.agencies[1]
    workspace = {"name": "Corner Bakery", "time_zone": "Europe/Berlin"}
    bare_post = {"text": TEXT, "account_id": encode("acc", bare_writer.id), "due_at": _in_a_month()}
    place = f"/{bare_writer.id}/{bare_writer.workspace_id}/posts"
    return [
        Pair(
            Gate.READ_CPU,
            Side(*a, request("GET", _bare_list(world))),
            Side(*api, request("GET", f"/v1/workspaces/{reader.workspace}/posts?limit=50", reader.headers)),
        ),
        Pair(
            Gate.WRITE_CPU,
            Side(*a, request("POST", place, body=bare_post)),
            Side(*api, await write_request(world, db)),
            "posts",
        ),
        Pair(
            Gate.CRUD_READ_CPU,
            Side(*b, request("GET", f"/{reader.id}/workspaces/{reader.workspace_id}")),
            Side(*api, request("GET", f"/v1/workspaces/{reader.workspace}", reader.headers)),
        ),
        Pair(
            Gate.CRUD_WRITE_CPU,
            Side(*b, request("POST", f"/{bare_writer.id}/workspaces", body=workspace)),
            Side(*api, request("POST", "/v1/workspaces", writer.headers, workspace)),
            "workspaces",
        ),
    ]


async def write_request(world: World, db: asyncpg.Connection) -> str:
    """The creation of a scheduled post, each with an idempotency key of its own."""
    writer = world.agencies[0]
    account = await db.fetchval("select account_id from bench_accounts where agency_id = $1 limit 1", writer.id)
    post = {"text": TEXT, "account_ids": [encode("acc", account)], "schedule": {"at": _in_a_month()}}
    headers = {**writer.headers, "Idempotency-Key": "bench-{n}"}
    return request("POST", f"/v1/workspaces/{writer.workspace}/posts", headers, post)


def _in_a_month() -> str:
    return (datetime.now(UTC) + timedelta(days=30)).isoformat()


def _bare_list(world: World) -> str:
    reader = world.agencies[2]
    return f"/{reader.id}/{reader.workspace_id}/posts?limit=50"


async def _same_bytes(world: World, port: int, port_a: int, port_b: int) -> None:
    """Refuse to compare answers that are not the same."""
    reader = world.agencies[2]
    asked = {
        "list": ((port, f"/v1/workspaces/{reader.workspace}/posts?limit=50"), (port_a, _bare_list(world))),
        "workspace": ((port, f"/v1/workspaces/{reader.workspace}"), (port_b, f"/{reader.id}/workspaces/{reader.workspace_id}")),
    }
    async with aiohttp.ClientSession(headers=reader.headers) as client:
        for name, sides in asked.items():
            bodies = []
            for at, path in sides:
                async with client.get(f"http://127.0.0.1:{at}{path}") as answer:
                    bodies.append(CURSOR.sub(b"", await answer.read()))
            if bodies[0] != bodies[1]:
                raise BenchFailed(f"{name}: the baseline answers other bytes:\n{bodies[0][:1500]!r}\n{bodies[1][:1500]!r}")


async def _rounds(world: World, db: asyncpg.Connection, pair: Pair) -> Measured:
    for side in (pair.bare, pair.project):
        await _drive(world, db, side, world.size.warm_up_s, pair.table)
        side.outcomes.clear()
        side.app_us.clear()
        side.postgres_us.clear()
    for number in range(world.size.rounds):
        sides = (pair.bare, pair.project) if number % 2 == 0 else (pair.project, pair.bare)
        for side in sides:
            await _drive(world, db, side, world.size.seconds, pair.table)
    bare, project = pair.bare, pair.project
    rates = [outcome.rate for outcome in bare.outcomes]
    wall = ratios([outcome.rate for outcome in project.outcomes], rates)
    return Measured(
        pair.gate,
        ratios(project.cpu_us, bare.cpu_us),
        _note(project, bare, sorted(wall)[len(wall) // 2], noisy=spread(rates) > SPREAD_MAX),
        {"project": project.summary(), "bare": bare.summary(), "wall_ratio": wall, "wall_spread_of_bare": spread(rates)},
    )


def _note(project: Side, bare: Side, wall: float, *, noisy: bool) -> str:
    def middle(values: list[float]) -> float:
        return sorted(values)[len(values) // 2]

    return (
        f"{middle(project.cpu_us):,.0f} us ({middle(project.app_us):,.0f} app + {middle(project.postgres_us):,.0f} PostgreSQL)"
        f" / {middle(bare.cpu_us):,.0f} us ({middle(bare.app_us):,.0f} + {middle(bare.postgres_us):,.0f});"
        f" {middle([one.rate for one in project.outcomes]):,.0f} / {middle([one.rate for one in bare.outcomes]):,.0f} requests/s"
        f" ({wall:.2f}{', noisy' if noisy else ''})"
    )


async def _drive(world: World, db: asyncpg.Connection, side: Side, seconds: float, table: str | None) -> None:
    """One round of one side. Raises BenchFailed unless each answer was 2xx and left its row."""
    rows = await db.fetchval(f"select count(*) from {table}") if table else 0
    app_before, backends_before = _look(side), cpu_of(await _backends(db))
    outcome = await world.generator.run(Job(side.port, [side.request], seconds=seconds))
    app_after, backends_after = _look(side), cpu_of(await _backends(db))
    if outcome.bad or not outcome.count:
        raise BenchFailed(f"{side.part.name} answered {outcome.bad}: {outcome.sample}\n{side.part.tail()}")
    if table and (added := await db.fetchval(f"select count(*) from {table}") - rows) != outcome.count:
        raise BenchFailed(f"{side.part.name}: {outcome.count} answers of 2xx and {added} rows in {table}")
    side.outcomes.append(outcome)
    side.app_us.append(1e6 * spent(app_before, app_after) / outcome.count)
    side.postgres_us.append(1e6 * spent(backends_before, backends_after) / outcome.count)


def _look(side: Side) -> dict[int, float]:
    return cpu_of(process.pid for process in side.part.tree)


async def _backends(db: asyncpg.Connection) -> list[int]:
    return [row["pid"] for row in await db.fetch(BACKENDS)]
