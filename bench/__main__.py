"""`python -m bench [--quick] [--only PART ...] [--write-docs]`. Exit code 1: a floor was missed, or the numbers are void."""

import argparse
import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from typing import Any

from bench import footprint, growth, http_rounds, publishing, report
from bench.gates import Measured, read_floors
from bench.processes import ROOT, BenchFailed
from bench.world import FULL, QUICK, Size, open_world

PARTS = {"http": http_rounds, "memory": footprint, "publishing": publishing, "growth": growth}
"""In this order: growth makes the database larger than the others want it."""


async def run(size: Size, parts: list[str], measured: list[Measured], facts: dict[str, Any]) -> None:
    """Measure; `measured` and `facts` keep what came of it also when a later part fails."""
    async with open_world(size) as world:
        async with world.root() as db:
            facts["postgres"] = f"PostgreSQL {await db.fetchval('show server_version')}"
            if await db.fetchval("show fsync") != "on":
                raise BenchFailed("fsync is off")
        for name in parts:
            measured += await PARTS[name].measure(world)
        world.say("done")


def main() -> int:
    """Read the command line, measure, and judge."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="The project against bare baselines, in one run.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, 10^5 rows at most; under three minutes")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="measure these parts alone")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    floors, measured, failure = read_floors(), list[Measured](), ""
    facts: dict[str, Any] = report.machine() | {"at": datetime.now(UTC).isoformat(), "load_before": os.getloadavg()}
    facts["size"] = "quick" if arguments.quick else "full"
    try:
        asyncio.run(run(QUICK if arguments.quick else FULL, arguments.only or list(PARTS), measured, facts))
    except BenchFailed as failed:
        failure = str(failed)
    facts |= {"load_after": os.getloadavg(), "failure": failure}
    text = f"{report.table(measured, floors)}\n\n{report.surroundings(facts)}"
    print(text)
    print(f"\n{report.write_json(facts, measured, floors).relative_to(ROOT)}")
    if arguments.write_docs and not failure:
        report.write_docs(text)
    missed = [floors[one.gate].title for one in measured if one.verdict(floors[one.gate]) == "MISSED"]
    for title in missed:
        print(f"Below the floor: {title}", file=sys.stderr)
    if failure:
        print(f"The numbers are void: {failure}", file=sys.stderr)
    return 1 if missed or failure else 0


if __name__ == "__main__":
    sys.exit(main())
