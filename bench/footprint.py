"""Memory: what the project's processes hold at rest, and after many creates."""

import asyncio

from bench.gates import Gate, Measured
from bench.http_rounds import write_request
from bench.load import Job
from bench.processes import BenchFailed, Memory, answering, memory_of
from bench.world import World
from core.embedded import free_port

REST_S = 3.0


async def measure(world: World) -> list[Measured]:
    """Start everything, look, create, and look again."""
    world.say("memory")
    port = free_port()
    parts = world.start("api", "all", port=port)
    await answering(parts[0], port, "/readyz")
    async with world.root() as db:
        asked = await write_request(world, db)
    await _create(world, port, asked, 1)
    await asyncio.sleep(REST_S)
    before = memory_of(parts)
    await _create(world, port, asked, world.size.creates)
    await asyncio.sleep(REST_S)
    after = memory_of(parts)
    await asyncio.to_thread(world.household.stop, *parts)
    idle, loaded = _sum(before), _sum(after)
    each = ", ".join(f"{name} {one.rss:.0f} -> {after[name].rss:.0f}" for name, one in before.items())
    details = {
        moment: {name: {"rss_mib": round(one.rss, 1), "pss_mib": round(one.pss, 1)} for name, one in found.items()}
        for moment, found in (("idle", before), ("after", after))
    }
    return [
        Measured(Gate.MEMORY_MIB, (idle.rss,), f"resident; {idle.pss:.0f} MiB proportional", details),
        Measured(Gate.MEMORY_GROWTH, (loaded.rss / idle.rss,), f"{world.size.creates:,} creates; {each} MiB"),
    ]


def _sum(found: dict[str, Memory]) -> Memory:
    return Memory(sum(one.rss for one in found.values()), sum(one.pss for one in found.values()))


async def _create(world: World, port: int, asked: str, count: int) -> None:
    outcome = await world.generator.run(Job(port, [asked], connections=min(count, 32), count=count))
    if outcome.bad or outcome.count != count:
        raise BenchFailed(f"creates: {outcome}")
