"""What is held against a floor, and the verdicts."""

import statistics
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

FLOORS = Path(__file__).with_name("floors.toml")
SPREAD_MAX = 1.5
"""A baseline whose own rounds lie further apart than this makes the wall ratios noise (performance.md, point 3)."""


class Gate(StrEnum):
    """Everything that the bench measures and gates; each has its entry in floors.toml."""

    READ_CPU = "read_cpu"
    WRITE_CPU = "write_cpu"
    CRUD_READ_CPU = "crud_read_cpu"
    CRUD_WRITE_CPU = "crud_write_cpu"
    LATENESS_1 = "lateness_1"
    LATENESS_1_MS = "lateness_1_ms"
    LATENESS_100 = "lateness_100"
    LATENESS_1000 = "lateness_1000"
    LATENESS_10000 = "lateness_10000"
    FAIRNESS = "fairness"
    THROUGHPUT = "throughput"
    MEMORY_MIB = "memory_mib"
    MEMORY_GROWTH = "memory_growth"
    COLD_START = "cold_start"
    CLAIM_GROWTH = "claim_growth"
    PAGE_GROWTH = "page_growth"


@dataclass(frozen=True, slots=True)
class Floor:
    """One entry of floors.toml."""

    title: str
    target: float
    floor: float
    unit: str = "x"
    better: str = "lower"

    def holds(self, value: float, limit: float) -> bool:
        """Say whether `value` is on the right side of `limit`."""
        return value >= limit if self.better == "higher" else value <= limit


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of one gate: the values of the rounds; the median is what counts."""

    gate: Gate
    values: tuple[float, ...]
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    def verdict(self, floor: Floor) -> str:
        """`ok`, `below target` or `MISSED`."""
        if not floor.holds(self.value, floor.floor):
            return "MISSED"
        return "ok" if floor.holds(self.value, floor.target) else "below target"


def read_floors() -> dict[Gate, Floor]:
    """Read floors.toml. Raises for an entry that nothing measures."""
    return {Gate(key): Floor(**entry) for key, entry in tomllib.loads(FLOORS.read_text()).items()}


def ratios(project: Sequence[float], baseline: Sequence[float]) -> tuple[float, ...]:
    """The ratio inside each round."""
    return tuple(mine / bare for mine, bare in zip(project, baseline, strict=True))


def spread(values: Sequence[float]) -> float:
    """How far the rounds of one side lie apart."""
    return max(values) / min(values)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the sorted values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
