"""Start the real servers: on free loopback ports, each with a data folder of its own, ended by process id."""

import json
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
FOLDER_VARIABLE = "OCTAVO_REAL_SERVERS"
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 10.0
REASON = f"{FOLDER_VARIABLE} names no folder of real servers (tests/servers/install.sh makes one)"


@dataclass(frozen=True, slots=True)
class BlueskyServer:
    """A running PDS; handles end in `.test`."""

    url: str
    pid: int


@dataclass(frozen=True, slots=True)
class OidcServer:
    """A running OpenID provider and the client that it knows."""

    issuer: str
    client_id: str
    client_secret: str
    pid: int


def packages() -> Path | None:
    """Find the folder that install.sh filled; None where there is none."""
    folder = os.environ.get(FOLDER_VARIABLE)
    path = Path(folder).resolve() if folder else None
    return path if path is not None and (path / ".installed").exists() else None


def free_port() -> int:
    """Find a port on loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def bluesky_server(*, rate_limits: bool = False) -> Iterator[BlueskyServer]:
    """Run a PLC directory and a PDS. Raises RuntimeError when they do not start."""
    with tempfile.TemporaryDirectory(prefix="octavo-pds-") as data:
        environment = {
            "DATA": data,
            "PLC_PORT": str(free_port()),
            "PDS_PORT": str(free_port()),
            "RATE_LIMITS": "1" if rate_limits else "0",
            "LOG_ENABLED": "false",
        }
        with _running("pds.mjs", environment, data) as (about, pid):
            yield BlueskyServer(about["url"], pid)


@contextmanager
def oidc_server(*redirect_uris: str) -> Iterator[OidcServer]:
    """Run an OpenID provider that sends people back to `redirect_uris`. Raises RuntimeError when it does not start."""
    with tempfile.TemporaryDirectory(prefix="octavo-oidc-") as data:
        environment = {"PORT": str(free_port())}
        if redirect_uris:
            environment["REDIRECT_URIS"] = ",".join(redirect_uris)
        with _running("oidc.mjs", environment, data) as (about, pid):
            yield OidcServer(about["issuer"], about["client_id"], about["client_secret"], pid)


@contextmanager
def _running(script: str, environment: dict[str, str], data: str) -> Iterator[tuple[dict[str, str], int]]:
    """Run a script of this folder until the block ends; gives what it said when it was ready, and its process id."""
    folder = packages()
    if folder is None:
        raise RuntimeError(REASON)
    log = Path(data) / "server.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [folder / "node", HERE / script],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={"PATH": "/usr/bin:/bin", "HOME": data, "PACKAGES": str(folder), **environment},
        )
    try:
        yield _wait_until_ready(process, log), process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_DEADLINE_S)
        assert process.stdout is not None
        process.stdout.close()


def _wait_until_ready(process: "subprocess.Popen[bytes]", log: Path) -> dict[str, str]:
    assert process.stdout is not None
    said, ends = b"", time.monotonic() + START_DEADLINE_S
    while (left_s := ends - time.monotonic()) > 0:
        if select.select([process.stdout], [], [], left_s)[0]:
            chunk = os.read(process.stdout.fileno(), 65_536)
            said += chunk
            for line in said.split(b"\n")[:-1]:
                if line.startswith(b"READY "):
                    about: dict[str, str] = json.loads(line[6:])
                    return about
            if not chunk:
                break
    tail = log.read_text(errors="replace")[-2_000:]
    raise RuntimeError(f"{log.parent.name} did not start: {said[-500:]!r} {tail}")
