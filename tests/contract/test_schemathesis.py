"""The whole document, driven by Schemathesis against the running service: examples, boundaries, random and chained requests.

As two agencies, none of which may read what the other has. The run is bounded by its number of examples and reproducible by its
seed; `make fuzz` is the long form.
"""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from core.db import Database
from core.ids import encode
from core.settings import Settings
from tests.campaign.processes import ROOT, START_DEADLINE_S, Process, environment
from tests.conftest import QUOTA_AWAY, MakeAgency, free_port
from tests.people.people import with_member
from tests.walls.slots import operations
from tests.walls.things import Things, furnish

HERE = Path(__file__).parent
DOCUMENT = ROOT / "openapi" / "openapi.json"
EXAMPLES = int(os.environ.get("OCTAVO_FUZZ_EXAMPLES", "25"))
"""Random requests to each operation; the examples and the boundaries come on top."""
SEED = os.environ.get("OCTAVO_FUZZ_SEED", "1")
DEADLINE_S = 170 + EXAMPLES * 4
REPLAYED = 0.5
"""Of the ids in random requests, this part is of what is there; the rest is made up, or of what earlier requests made."""

pytestmark = pytest.mark.timeout(DEADLINE_S + 60)


class Served:
    """The service as a process of its own, and what its two agencies have."""

    def __init__(self, url: str, log: Path) -> None:
        self.url, self.log = url, log
        self.keys: dict[str, str] = {}
        self.things: list[Things] = []


async def until_up(url: str) -> None:
    """Wait for the first answer."""
    deadline = time.monotonic() + START_DEADLINE_S
    async with httpx2.AsyncClient(base_url=url) as client:
        while True:
            try:
                await client.get("/livez")
            except httpx2.TransportError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            else:
                return


@pytest.fixture
async def served(settings: Settings, make_agency: MakeAgency, database: Database, tmp_path: Path) -> AsyncIterator[Served]:
    """The API as a process, with two furnished agencies."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    served = Served(url, tmp_path / "api.log")
    process = Process(
        ["api"],
        environment(settings, port=str(port), public_url=url, rate_limit_key=str(QUOTA_AWAY), rate_limit_agency=str(QUOTA_AWAY)),
        served.log,
    )
    await until_up(url)
    for name in ("first", "second"):
        agency = await make_agency(name)
        served.keys[name] = agency.key
        headers = {"Authorization": f"Bearer {agency.key}"}
        async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            things = await furnish(client, encode("wsp", agency.workspace.id))
        served.things.append(await with_member(database, agency, things))
    yield served
    process.stop()


def configuration(served: Served, folder: Path) -> dict[str, str]:
    """Write the configuration with the first agency's ids. Returns the environment that it wants."""
    keys = folder / "keys.json"
    entries = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {key}"}]} for name, key in served.keys.items()
    ]
    keys.write_text(json.dumps({"auth": entries}))
    own = served.things[0].ids
    slots = {slot for operation in operations(json.loads(DOCUMENT.read_text())) for slot in operation.of("path")}
    ids = {slot.name[0]: own[slot.prefix] for slot in slots}
    lines = [f'[dictionaries.{slot}]\nvalues = ["{id}"]' for slot, id in ids.items()]
    lines += ["[parameters]"]
    lines += [f'"path.{slot}" = {{ dictionary = "{slot}", probability = {REPLAYED} }}' for slot in ids]
    (folder / "schemathesis.toml").write_text("\n".join([(HERE / "schemathesis.toml").read_text(), *lines]))
    return {"OCTAVO_FUZZ_KEYS": str(keys), "PATH": os.environ["PATH"], "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}


async def test_schemathesis_finds_nothing_in_the_whole_document(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = configuration(served, tmp_path)
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(tmp_path / "schemathesis.toml"), "run",
        str(DOCUMENT), "--url", served.url, "--seed", SEED, "--max-examples", str(EXAMPLES),
        "--phases", "examples,coverage,fuzzing,stateful",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(DEADLINE_S):
        said = (await process.communicate())[0].decode(errors="replace")
    summary = said[said.rfind("= SUMMARY =") :]
    with capsys.disabled():
        counted = re.search(r"\d+ generated.*", summary)
        sys.stdout.write(f"\nschemathesis: {counted[0] if counted else summary}\n")
    assert process.returncode == 0, said[-100_000:]
    operations = re.search(r"Tested: (\d+)", summary)
    document = json.loads(DOCUMENT.read_text())
    assert operations is not None
    assert int(operations[1]) == sum(len(item) for item in document["paths"].values()), summary
    errors = [line for line in served.log.read_text().splitlines() if "[error" in line or "Traceback" in line]
    assert errors == []
