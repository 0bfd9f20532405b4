"""The generated clients live with the contract: the main flow through each, against the running service."""

import shutil
import subprocess
from pathlib import Path

import pytest

from core.ids import encode
from tests.api.tools import FOLDER_VARIABLE, ROOT, folder, script, talk
from tests.conftest import Platform, TestAgency

pytestmark = pytest.mark.real(FOLDER_VARIABLE)
FLOWS = Path(__file__).parent / "clients"


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both clients, generated from the committed document; a warning of a generator is a failure."""
    where = tmp_path_factory.mktemp("clients")
    done = script("generate-clients.sh", where, ROOT / "openapi" / "openapi.json")
    assert done.returncode == 0, done.stdout + done.stderr
    return where


@pytest.fixture
def environment(platform: Platform, agency: TestAgency) -> dict[str, str]:
    """What a client has to know: where, who, and which workspace."""
    workspace = encode("wsp", agency.workspace.id)
    return {"OCTAVO_URL": platform.url, "OCTAVO_API_KEY": agency.key, "OCTAVO_WORKSPACE": workspace}


async def test_the_main_flow_through_the_python_client(clients: Path, platform: Platform, environment: dict[str, str]) -> None:
    command = [str(folder() / "python/bin/python"), "-W", "error", str(FLOWS / "flow.py")]
    said = await talk(command, environment | {"PYTHONPATH": str(clients / "python")}, platform.work)
    assert said == "DONE\n"


async def test_the_main_flow_through_the_typescript_client(
    clients: Path, platform: Platform, environment: dict[str, str], tmp_path: Path
) -> None:
    # Given a project that depends on the client, compiled strictly
    for name in ("flow.ts", "tsconfig.json"):
        shutil.copy(FLOWS / name, tmp_path)
    modules = tmp_path / "node_modules"
    modules.mkdir()
    (modules / "octavo-client").symlink_to(clients / "typescript" / "dist")
    tools = folder()
    compiler = [
        tools / "node",
        tools / "node_modules/.bin/tsc",
        "--project",
        tmp_path,
        "--typeRoots",
        tools / "node_modules/@types",
    ]
    done = subprocess.run(list(map(str, compiler)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # When it runs
    said = await talk([str(tools / "node"), str(tmp_path / "flow.js")], environment, platform.work)
    # Then it got to its end
    assert said == "DONE\n"
