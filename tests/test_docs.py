"""The docs keep up with the code: settings, commands, decisions; and the tree names no registry and no machine."""

import re
import subprocess
from pathlib import Path

from core.settings import Settings

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
    commands = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
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
