"""Octavo's own processes for campaigns: started with settings of their own, killed without warning, started again."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.settings import Settings

ROOT = Path(__file__).parents[2]
START_DEADLINE_S = 30.0


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The environment of a process that runs with `settings`."""
    own = {
        "OCTAVO_DATABASE_URL": settings.database_url,
        "OCTAVO_HOME": settings.home,
        "OCTAVO_EGRESS_ALLOW_LOOPBACK": "true",
        "OCTAVO_LOG_FORMAT": "console",
        "OCTAVO_LOG_LEVEL": "WARNING",
        "OCTAVO_DATABASE_POOL_SIZE": "5",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OCTAVO_")}
    return kept | own | {f"OCTAVO_{name.upper()}": value for name, value in more.items()}


class Process:
    """One process that can be killed and started again."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self.command, self.env, self.log = command, env, log
        self.start()

    def start(self) -> None:
        """Start it (again)."""
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", *self.command], env=self.env, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        """SIGKILL."""
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that is not heard."""
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def fake_network(ledger: Path, *, seed: int, faults: float, list_faults: float) -> Iterator[str]:
    """The fake network as a process of its own; yields its URL."""
    command = [
        sys.executable, "-m", "tests.fakes.network", "--port", "0", "--ledger", str(ledger), "--seed", str(seed),
        "--faults", str(faults), "--list-faults", str(list_faults), "--late-s", "1.0", "--hang-s", "4",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("READY "), line
    try:
        yield f"http://127.0.0.1:{line.split()[1]}"
    finally:
        process.terminate()
        process.wait(10)


class Killer(threading.Thread):
    """Kills one of `victims` at random times, `times` times, and starts it again."""

    def __init__(self, victims: list[Process], *, seed: int, times: int, mean_s: float) -> None:
        super().__init__(daemon=True)
        self.victims, self.random, self.times, self.mean_s = victims, random.Random(seed), times, mean_s
        self.kills = 0

    def run(self) -> None:
        """Kill and start again."""
        for _ in range(self.times):
            time.sleep(min(self.random.expovariate(1 / self.mean_s), 3 * self.mean_s))
            victim = self.random.choice(self.victims)
            victim.kill()
            self.kills += 1
            victim.start()
