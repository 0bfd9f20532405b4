"""The programs that read the published document: where they are, and how they are run."""

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER_VARIABLE = "OCTAVO_OPENAPI_TOOLS"
DEADLINE_S = 110.0


def folder() -> Path:
    """The folder that openapi/install-tools.sh filled. Raises LookupError where there is none."""
    path = Path(os.environ.get(FOLDER_VARIABLE, "")).resolve()
    if not (path / ".installed").exists():
        raise LookupError(f"{FOLDER_VARIABLE} names no folder of tools (openapi/install-tools.sh makes one)")
    return path


def script(name: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run a script of openapi/ with the folder of tools and `arguments`."""
    command = ["bash", str(ROOT / "openapi" / name), str(folder()), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


async def talk(command: list[str], environment: dict[str, str], work: Callable[[], Awaitable[object]]) -> str:
    """Run a program that says WORK when it wants the workers to work, and wait for its end. Returns what else it said."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said = []
    async with asyncio.timeout(DEADLINE_S):
        async for line in process.stdout:
            if line.strip() == b"WORK":
                await work()
                process.stdin.write(b"\n")
                await process.stdin.drain()
            else:
                said.append(line.decode())
        await process.wait()
    text = "".join(said)
    assert process.returncode == 0, text
    return text
