"""Publishing: how late posts come, measured where they arrive, for the project and for P0."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg

from bench.gates import Gate, Measured, quantile, ratios
from bench.http_rounds import BACKENDS
from bench.processes import BenchFailed, Started, answering, cpu_of, spent
from bench.seed import add_bare, add_posts
from bench.world import World
from core.embedded import free_port

AHEAD_S = 2.0
SLACK = 3
"""A burst is written so long before its time: two seconds, and three times what as many posts of the seed took."""
SINGLES_STEP_S = 0.37
"""Between posts that are due alone: no divisor of the scheduler's poll."""
ARRIVAL_DEADLINE_S = 180.0
RECORD_DEADLINE_S = 30.0
POLL_S = 0.1
SLOW_MS = 200
REST_S = 1.0
RECORDED = "select count(*) from publications where id = any($1::uuid[]) and state = 'published'"
LEFT = "select count(*) from duties where kind = 'publish' and subject_id = any($1::uuid[])"
MARKED = "select count(*) from bench_due where id = any($1::bigint[]) and status = 2"


@dataclass
class Burst:
    """What came of posts that were due together."""

    count: int
    late_s: list[float]
    duplicates: int
    lost: int
    cpu_us: float

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of lateness."""
        return 1_000 * quantile(self.late_s, 0.99)

    @property
    def rate(self) -> float:
        """Posts per second from the due instant to the last arrival."""
        return len(self.late_s) / max(self.late_s)

    def summary(self) -> dict[str, Any]:
        """The burst as numbers."""
        late = {name: round(1_000 * quantile(self.late_s, share), 1) for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99))}
        more = {"max_ms": round(1_000 * max(self.late_s), 1), "per_s": round(self.rate), "cpu_us_a_post": round(self.cpu_us)}
        return {"count": self.count, **late, **more, "duplicates": self.duplicates, "lost": self.lost}


@dataclass
class Run:
    """One repeat of one side: from its start to its stop."""

    cold_s: float = 0.0
    bursts: dict[str, Burst] = field(default_factory=dict)


class Side:
    """The project or P0: how posts are written, and which processes send them."""

    def __init__(self, world: World, db: asyncpg.Connection, *, project: bool) -> None:
        self.world, self.db, self.project = world, db, project
        self.parts: list[Started] = []

    async def start(self) -> None:
        """Start what a first post needs: on both sides HTTP is up too."""
        if self.project:
            self.port = free_port()
            self.parts = self.world.start("api", "all", port=self.port)
        else:
            app, self.port = self.world.bare_app("a")
            p0 = self.world.household.start("p0", ["-m", "bench.baselines.p0"], self.world.bare_environment())
            self.parts = [app, p0]

    async def take_apart(self) -> None:
        """Give the project's scheduler a process of its own, as P0 has none: what is measured then is one worker process."""
        if self.project:
            api, both = self.parts
            await asyncio.to_thread(self.world.household.stop, both)
            self.parts = [api, *self.world.start("worker", "scheduler", port=self.port)]
            await answering(api, self.port, "/readyz")

    async def stop(self) -> None:
        """Stop it."""
        await asyncio.to_thread(self.world.household.stop, *self.parts)

    async def write(self, count: int, due: float, step: float = 0.0, agency: UUID | None = None) -> list[UUID] | list[int]:
        """Write posts."""
        if self.project:
            return await add_posts(self.db, count, due, step, agency=agency)
        return await add_bare(self.db, count, due, step)

    def markers(self, ids: Sequence[UUID | int]) -> list[str]:
        """What the network sees of them."""
        return [str(id) if self.project else f"p0-{id}" for id in ids]

    async def cpu(self) -> dict[int, float]:
        """CPU of the publishing processes and PostgreSQL's backends."""
        pids = [process.pid for part in self.parts if not part.name.startswith(("api", "bare")) for process in part.tree]
        return cpu_of([*pids, *(row["pid"] for row in await self.db.fetch(BACKENDS))])

    async def recorded(self, ids: Sequence[UUID | int]) -> None:
        """Wait until each arrival is written down too. Raises BenchFailed when one is not."""
        deadline = time.monotonic() + RECORD_DEADLINE_S
        while time.monotonic() < deadline:
            done = await self.db.fetchval(RECORDED if self.project else MARKED, ids)
            left = await self.db.fetchval(LEFT, ids) if self.project else 0
            if done == len(ids) and left == 0:
                return
            await asyncio.sleep(POLL_S)
        tails = "\n".join(part.tail() for part in self.parts)
        raise BenchFailed(f"of {len(ids)} posts {done} are recorded and {left} duties are left\n{tails}")


async def measure(world: World) -> list[Measured]:
    """Run both sides in turn, as often as the size says."""
    mine: list[Run] = []
    bare: list[Run] = []
    async with world.root() as db:
        for number in range(world.size.repeats):
            for project in (True, False) if number % 2 == 0 else (False, True):
                world.say(f"publishing, repeat {number + 1}: {'project' if project else 'P0'}")
                (mine if project else bare).append(await _repeat(world, Side(world, db, project=project)))
    return _measured(world, mine, bare)


async def _repeat(world: World, side: Side) -> Run:
    run = Run()
    began = time.time()
    (id,) = await side.write(1, _instant(began))
    seen = await _seen(world)
    await side.start()
    (arrival,) = (await _arrivals(world, seen, set(side.markers([id])))).values()
    run.cold_s = arrival[0] - began
    if side.project:
        await answering(side.parts[0], side.port, "/readyz")
    await side.recorded([id])
    await side.take_apart()
    await asyncio.sleep(REST_S)
    try:
        run.bursts["1"] = await _burst(world, side, world.size.singles, SINGLES_STEP_S)
        for count in world.size.bursts:
            run.bursts[str(count)] = await _burst(world, side, count)
        if side.project:
            run.bursts["fair"] = await _fair(world, side, world.size.bursts[-1])
        if world.size.slow_burst:
            await world.ask_network("POST", f"/_latency?ms={SLOW_MS}")
            run.bursts["slow"] = await _burst(world, side, world.size.slow_burst)
    finally:
        await world.ask_network("POST", "/_latency?ms=0")
        await side.stop()
    return run


def _instant(at: float) -> float:
    """To the millisecond, as it stands in the post's text."""
    return math.floor(at * 1_000) / 1_000


def _in_time(world: World, count: int) -> float:
    return _instant(time.time() + AHEAD_S + SLACK * count / world.written_per_s)


async def _burst(world: World, side: Side, count: int, step: float = 0.0) -> Burst:
    due = _in_time(world, count)
    ids = await side.write(count, due, step)
    if time.time() > due - POLL_S:
        raise BenchFailed(f"{count} posts were not written before they were due")
    return await _watch(world, side, ids)


async def _fair(world: World, side: Side, count: int) -> Burst:
    """One post of agency B among `count` of agency A, all due at one instant."""
    due = _in_time(world, count)
    many = await side.write(count, due, agency=world.agencies[0].id)
    (one,) = await side.write(1, due, agency=world.agencies[1].id)
    if time.time() > due - POLL_S:
        raise BenchFailed(f"{count} posts were not written before they were due")
    whole = await _watch(world, side, [*many, one], only=str(one))
    whole.count = count
    return whole


async def _watch(world: World, side: Side, ids: Sequence[Any], only: str | None = None) -> Burst:
    """Follow posts to the network and back; count what came twice or not at all."""
    seen, before, markers = await _seen(world), await side.cpu(), side.markers(ids)
    found = await _arrivals(world, seen, set(markers))
    await side.recorded(ids)
    after = await side.cpu()
    counts = Counter(str(row[0]) for row in await world.ask_network("GET", f"/_arrivals?from={seen}"))
    duplicates = sum(counts[marker] - 1 for marker in markers if counts[marker])
    lost = sum(not counts[marker] for marker in markers)
    if duplicates or lost:
        raise BenchFailed(f"{len(ids)} posts: {duplicates} came twice, {lost} not at all")
    late = [arrived - due for marker, (arrived, due) in found.items() if only in {None, marker}]
    return Burst(len(ids), late, duplicates, lost, 1e6 * spent(before, after) / len(ids))


async def _seen(world: World) -> int:
    return int(str((await world.ask_network("GET", "/_arrivals?from=0&count=1"))[0][0]))


async def _arrivals(world: World, seen: int, markers: set[str]) -> dict[str, tuple[float, float]]:
    """Wait for every marker: (arrived, due). Raises BenchFailed when it takes too long."""
    found: dict[str, tuple[float, float]] = {}
    deadline = time.monotonic() + ARRIVAL_DEADLINE_S
    while time.monotonic() < deadline:
        rows: list[Any] = await world.ask_network("GET", f"/_arrivals?from={seen}")
        seen += len(rows)
        for marker, due, arrived in rows:
            if marker in markers:
                found.setdefault(marker, (arrived, due))
        if len(found) == len(markers):
            return found
        await asyncio.sleep(POLL_S)
    tails = "\n".join(part.tail() for part in world.household.running if part.name != "network")
    raise BenchFailed(f"of {len(markers)} posts {len(found)} arrived in time\n{tails}")


def _measured(world: World, mine: list[Run], bare: list[Run]) -> list[Measured]:
    details = {
        name: [{"cold_start_s": run.cold_s} | {key: burst.summary() for key, burst in run.bursts.items()} for run in runs]
        for name, runs in (("project", mine), ("bare", bare))
    }

    def p99(runs: list[Run], key: str) -> list[float]:
        return [run.bursts[key].p99_ms for run in runs]

    one = p99(mine, "1")
    measured = [Measured(Gate.LATENESS_1_MS, tuple(one), _note(mine, bare, "1"), details)]
    gates = {"1": Gate.LATENESS_1, "100": Gate.LATENESS_100, "1000": Gate.LATENESS_1000, "10000": Gate.LATENESS_10000}
    measured += [Measured(gate, ratios(p99(mine, key), p99(bare, key)), _note(mine, bare, key)) for key, gate in gates.items()]
    fair = [1_000 * max(run.bursts["fair"].late_s) for run in mine]
    measured.append(Measured(Gate.FAIRNESS, ratios(fair, one), f"{quantile(fair, 0.5):,.0f} ms / {quantile(one, 0.5):,.0f} ms"))
    largest = str(world.size.bursts[-1])
    rates = [run.bursts[largest].rate for run in mine], [run.bursts[largest].rate for run in bare]
    note = f"{quantile(rates[0], 0.5):,.0f} / {quantile(rates[1], 0.5):,.0f} posts/s; CPU a post: " + " / ".join(
        f"{quantile([run.bursts[largest].cpu_us for run in runs], 0.5):,.0f} us" for runs in (mine, bare)
    )
    measured.append(Measured(Gate.THROUGHPUT, ratios(*rates), note))
    cold = [run.cold_s for run in mine], [run.cold_s for run in bare]
    measured.append(Measured(Gate.COLD_START, ratios(*cold), f"{quantile(cold[0], 0.5):.2f} s / {quantile(cold[1], 0.5):.2f} s"))
    return measured


def _note(mine: list[Run], bare: list[Run], key: str) -> str:
    def middle(runs: list[Run]) -> str:
        bursts = sorted((run.bursts[key] for run in runs), key=lambda burst: burst.p99_ms)
        found = bursts[len(bursts) // 2].summary()
        return f"p50 {found['p50_ms']:,.0f}, p99 {found['p99_ms']:,.0f}, max {found['max_ms']:,.0f} ms"

    return f"{middle(mine)} / {middle(bare)}"
