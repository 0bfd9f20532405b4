"""The bench judges by its floors, and its baselines stand on their own. Nothing here measures time."""

import ast
from pathlib import Path

import pytest

from bench.gates import Floor, Gate, Measured, read_floors

BASELINES = sorted((Path(__file__).parent.parent / "bench" / "baselines").glob("*.py"))
LINES_MAX = 80
OURS = {"api", "workers", "tenants", "networks", "core", "migrations", "tests"}


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides where it leads"
            found.add(node.module or "")
    return found


def test_floors_has_an_entry_for_each_gate_and_no_other() -> None:
    assert set(read_floors()) == set(Gate)


def test_a_target_is_never_easier_than_its_floor() -> None:
    assert [gate for gate, floor in read_floors().items() if not floor.holds(floor.target, floor.floor)] == []


def test_baselines_are_there() -> None:
    assert {"a", "b", "p0"} <= {path.stem for path in BASELINES}


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_a_baseline_is_short_and_imports_nothing_of_the_project(path: Path) -> None:
    assert len(path.read_text().splitlines()) < LINES_MAX
    for name in imported(path):
        assert name.split(".")[0] not in OURS, name
        assert not name.startswith("bench") or name.startswith("bench.baselines"), name


@pytest.mark.parametrize(
    ("better", "values", "verdict"),
    [
        ("lower", (1.0, 2.0, 9.0), "ok"),
        ("lower", (1.0, 2.5, 2.6), "below target"),
        ("lower", (1.0, 3.5, 9.0), "MISSED"),
        ("higher", (1.0, 2.0, 3.0), "MISSED"),
    ],
)
def test_the_median_is_judged(better: str, values: tuple[float, ...], verdict: str) -> None:
    floor = Floor("title", target=2.0 if better == "lower" else 4.0, floor=3.0, better=better)
    assert Measured(Gate.READ_CPU, values).verdict(floor) == verdict
