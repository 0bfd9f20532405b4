"""Processes of the bench: started on free ports, measured, and ended by their ids."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

READY_DEADLINE_S = 60.0
STOP_DEADLINE_S = 30.0
POLL_S = 0.02
ROOT = Path(__file__).resolve().parent.parent


class BenchFailed(RuntimeError):
    """The bench cannot vouch for its numbers; the text says why."""


@dataclass(frozen=True, slots=True)
class Started:
    """A process that we started."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def tree(self) -> list[psutil.Process]:
        """The process and its children."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def stop(self) -> None:
        """End it by its id, and be sure."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def tail(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-2_000:]


class Household:
    """Everything that was started, so that nothing stays behind."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.running: list[Started] = []

    def start(self, name: str, arguments: Iterable[str], environment: Mapping[str, str]) -> Started:
        """Start Python with `arguments`; output goes to a log."""
        log = self.logs / f"{name}.log"
        with log.open("a") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment}, stdout=output, stderr=output, text=True
            )
        started = Started(name, process, log)
        self.running.append(started)
        return started

    def stop(self, *parts: Started) -> None:
        """Stop these, or all."""
        for part in parts or tuple(reversed(self.running)):
            part.stop()
            self.running.remove(part)


async def answering(part: Started, port: int, path: str, *, any_status: bool = False) -> None:
    """Wait until it answers."""
    deadline = time.monotonic() + READY_DEADLINE_S
    async with aiohttp.ClientSession() as client:
        while time.monotonic() < deadline:
            if part.process.poll() is not None:
                raise BenchFailed(f"{part.name} ended at its start:\n{part.tail()}")
            try:
                async with client.get(f"http://127.0.0.1:{port}{path}") as answer:
                    if any_status or answer.status < 300:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(POLL_S)
    raise BenchFailed(f"{part.name} did not answer {path} in time:\n{part.tail()}")


async def announced_port(part: Started) -> int:
    """Wait for the line `READY <port>`."""
    deadline = time.monotonic() + READY_DEADLINE_S
    while time.monotonic() < deadline and part.process.poll() is None:
        for line in part.log.read_text().splitlines():
            if line.startswith("READY "):
                return int(line.split()[1])
        await asyncio.sleep(POLL_S)
    raise BenchFailed(f"{part.name} did not start:\n{part.tail()}")


def cpu_of(pids: Iterable[int]) -> dict[int, float]:
    """User and system seconds of each process; one that has gone is left out."""
    used = {}
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue
        used[pid] = times.user + times.system
    return used


def spent(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """CPU seconds between two looks; a process that began meanwhile counts whole."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident and proportional memory of some processes, in MiB."""

    rss: float
    pss: float


def memory_of(parts: Iterable[Started]) -> dict[str, Memory]:
    """Memory of each part with its children."""
    found = {}
    for part in parts:
        full = [process.memory_full_info() for process in part.tree]
        found[part.name] = Memory(sum(one.rss for one in full) / 2**20, sum(getattr(one, "pss", one.rss) for one in full) / 2**20)
    return found
