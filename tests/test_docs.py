"""The docs keep up with the code: settings, commands, decisions, states, words; and the tree names no registry and no machine."""

import re
import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

from core.settings import Settings
from core.wire import PREFIXES
from tenants.accounts.schemas import AccountState
from tenants.posts import moves, states
from tenants.posts.rollup import rollup
from tenants.posts.states import Delivery, NotAllowed, decide, problem

ROOT = Path(__file__).resolve().parent.parent
TEXT_BYTES_MAX = 2_000_000
ADDRESSES = re.compile(
    "|".join(
        (
            r"pypi\." + r"org/(simple|packages)",
            "files.python" + "hosted",
            "registry" + r"\.npmjs",
            "registry" + r"\.yarnpkg",
            r"index-" + r"url\s*[=:]",
        )
    )
)
MACHINE_PATHS = re.compile(r"(?<![\w./~-])/(" + "|".join(("wo" + "rk", "fa" + "rm", "ro" + "ot", "home/" + r"\w+")) + r")/\w")


def _setting_rows() -> dict[str, str]:
    text = (ROOT / "docs/operations.md").read_text()
    section = text.split("## Settings\n", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^\| `(OCTAVO_\w+)` \| (.*?) \| ", section, re.MULTILINE))


def test_every_setting_stands_in_operations() -> None:
    assert set(_setting_rows()) == {f"OCTAVO_{name.upper()}" for name in Settings.model_fields}


def _as_text(default: object) -> str:
    if hasattr(default, "get_secret_value"):
        return str(default.get_secret_value())
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_the_defaults_in_operations_are_the_real_ones() -> None:
    shown = {name: value.strip("` ") for name, value in _setting_rows().items()}
    assert shown == {f"OCTAVO_{name.upper()}": _as_text(about.default) for name, about in Settings.model_fields.items()}


def test_every_command_of_the_makefile_is_described() -> None:
    commands = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    described = (ROOT / "README.md").read_text() + (ROOT / "AGENTS.md").read_text()
    assert commands
    assert [name for name in commands if name != "help" and f"make {name}" not in described] == []


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs/decisions/README.md").read_text()
    records = sorted(path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert records
    assert [name for name in records if f"({name})" not in listed] == []
    assert [name[:4] for name in records] == [f"{number:04}" for number in range(1, len(records) + 1)]


def test_every_link_between_docs_leads_somewhere() -> None:
    pages = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())]
    broken = [f"{page.relative_to(ROOT)} -> {link}" for page, link in links if not (page.parent / link).exists()]
    assert broken == []


def _tree() -> list[Path]:
    """The files that are ours: what git tracks or would track, or all of it where there is no git."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        ignored = {line.strip("/\n") for line in (ROOT / ".gitignore").open() if line.endswith("/\n")} | {".git"}
        return [path for path in ROOT.rglob("*") if path.is_file() and not ignored & set(path.relative_to(ROOT).parts)]
    names = [name for name in done.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def test_the_tree_names_no_registry_and_no_machine() -> None:
    found = []
    for path in _tree():
        if path.stat().st_size > TEXT_BYTES_MAX:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if ADDRESSES.search(line) or MACHINE_PATHS.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert found == []


def _arrows(title: str) -> set[tuple[str, str]]:
    section = (ROOT / "docs/states.md").read_text().split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^ +(\w+) --> (\w+)", section, re.MULTILINE))


def _moves() -> set[tuple[str, str]]:
    """Every change of state that `decide` makes; the two bounds that the page only tells are left out."""
    at, error = datetime(2026, 11, 24, tzinfo=UTC), problem("x", "x", "network", retryable=True)
    window, poison = timedelta(hours=1), states.STARTS_MAX
    refusals = [moves.Refused(kind, error) for kind in ("rejected", "unauthorized", "expired", "forbidden", "rate_limited")]
    claims = [
        moves.Claimed("ask", window), moves.Claimed("ask", window, hindrance="paused"),
        moves.Claimed("ask", window, starts=poison), moves.Claimed("ask", -window),
    ]  # fmt: skip
    others = [
        moves.Scheduled(at), moves.Cancelled(), moves.StepDone(), moves.Armed(), moves.Accepted("1", None), moves.NotSent(error),
        moves.Ambiguous(error), moves.SeenThere("1", None, "x"), moves.SeenAbsent("x", at, timedelta(0)), moves.SeenNothing("x"),
        moves.Resolved(True), moves.Resolved(False), moves.Held("auth"), moves.RetryAsked(), moves.Released(frozenset({"auth"})),
        moves.DeletionAsked(), moves.Deleted(),
    ]  # fmt: skip
    found = {("publishing", "needs_human"), ("outcome_unknown", "needs_human")}  # Conflicting fits every state, and comes in these
    for state in states.PUBLICATION_STATES:
        before = Delivery(state, due_at=at, looks=len(states.LOOKS), unknown_since=at, block_reason="auth", external_id="1")
        for event in (*refusals, *claims, *others):
            with suppress(NotAllowed):
                found.add((state, decide(before, event, at).delivery.state))
    return {(before, after) for before, after in found if before != after}


def test_the_arrows_of_a_publication_are_those_of_the_code() -> None:
    assert _arrows("Publication (") == _moves()


def test_every_state_stands_on_the_page_of_states() -> None:
    text = (ROOT / "docs/states.md").read_text()
    words = {*states.POST_STATES, *states.PUBLICATION_STATES, *get_args(AccountState)}
    assert [word for word in sorted(words) if not re.search(rf"\b{word}\b", text)] == []
    for line in re.findall(r"^ +\S+ --> \S+: (.*)$", text, re.MULTILINE):
        assert not set(line) & set(":;"), f"Mermaid ends a label there: {line}"


def _deliveries() -> dict[str, tuple[list[str], str]]:
    """The table of `delivery`: name -> the states it names, and its words."""
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", (ROOT / "docs/states.md").read_text(), re.MULTILINE)
    return {name: (re.findall(r"`(\w+)`", words), words) for name, words in rows}


def test_the_table_of_delivery_is_what_is_derived() -> None:
    shown = _deliveries()
    both = [rollup([one, other]) for one in states.PUBLICATION_STATES for other in states.PUBLICATION_STATES]
    assert set(shown) == {"null" if one is None else one for one in both}
    for name in ("needs_attention", "publishing"):
        assert {rollup([state, other]) for state in shown[name][0] for other in ("published", "scheduled", "failed")} == {name}
    assert rollup(["scheduled", "published"]) == "partially_published"
    assert rollup(["planned", "cancelled"]) is None
    assert rollup(["planned", "published"]) == rollup(["cancelled", "published"]) == "published"


def test_the_glossary_has_every_prefix_and_says_which_are_to_come() -> None:
    rows = [line.split("|")[1:4] for line in (ROOT / "docs/glossary.md").read_text().splitlines() if line.startswith("| ")]
    named = {prefix: "(later)" in what for _, what, ids in rows for prefix in re.findall(r"`([a-z]{3})`", ids)}
    assert {prefix for prefix, later in named.items() if not later} == {*PREFIXES.values(), "req"}
