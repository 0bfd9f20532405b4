"""The load generator, a process of its own: `python -m bench.load` takes one job a line on stdin and answers in JSON.

Raw sockets on uvloop, HTTP/1.1 with keep-alive, one request in flight per connection. In a request `{n}` stands for
twelve digits that no other request has, so its length stays the same.
"""

import asyncio
import json
import re
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import uvloop

from bench.gates import quantile

LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: *(\d+)")
DEADLINE_S = 60.0
"""A job that is this much over its time has hung."""


@dataclass
class Job:
    """What to send: `requests` in turn, over `connections`, for `seconds` or `count` in all."""

    port: int
    requests: list[str]
    connections: int = 32
    seconds: float | None = None
    count: int | None = None
    first: int = 0


@dataclass
class Outcome:
    """What came back."""

    count: int = 0
    seconds: float = 0.0
    bad: dict[str, int] = field(default_factory=dict)
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    sample: str = ""

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.count / self.seconds


class Round:
    """One job under way."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.requests = [request.encode() for request in job.requests]
        self.sent = 0
        self.ends_at = time.perf_counter() + job.seconds if job.seconds else float("inf")
        self.took: list[float] = []
        self.bad: Counter[str] = Counter()
        self.sample = b""

    def next(self) -> bytes | None:
        """The next request, or None when the job is done."""
        if (self.job.count is not None and self.sent >= self.job.count) or time.perf_counter() >= self.ends_at:
            return None
        request = self.requests[self.sent % len(self.requests)].replace(b"{n}", b"%012d" % (self.job.first + self.sent))
        self.sent += 1
        return request

    def answered(self, status: int, took_s: float, body: bytes) -> None:
        """Count an answer."""
        self.took.append(took_s)
        if not 200 <= status < 300:
            self.bad[str(status)] += 1
            self.sample = self.sample or body[:500]


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, work: Round) -> None:
        self.work, self.data, self.total, self.began = work, bytearray(), 0, 0.0
        self.closed = asyncio.get_running_loop().create_future()
        self.waiting = False
        self.transport = cast(asyncio.Transport, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        request = self.work.next()
        if request is None:
            self.transport.close()
            return
        self.waiting, self.began = True, time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect an answer; send the next request when it is whole."""
        self.data += data
        if not self.total:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return
            length = LENGTH.search(self.data, 0, end + 2)
            self.total = end + 4 + (int(length[1]) if length else 0)
        if len(self.data) >= self.total:
            self.work.answered(int(self.data[9:12]), time.perf_counter() - self.began, bytes(self.data[-500:]))
            self.data.clear()
            self.total, self.waiting = 0, False
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a request that was cut."""
        if self.waiting:
            self.work.bad["cut"] += 1
        self.closed.set_result(None)


async def run(job: Job) -> Outcome:
    """Do one job."""
    work, loop, began = Round(job), asyncio.get_running_loop(), time.perf_counter()
    made = [await loop.create_connection(lambda: Connection(work), "127.0.0.1", job.port) for _ in range(job.connections)]
    async with asyncio.timeout((job.seconds or 0) + DEADLINE_S):
        await asyncio.gather(*(connection.closed for _, connection in made))
    took_ms = [1_000 * each for each in work.took] or [0.0]
    seconds = time.perf_counter() - began
    return Outcome(
        len(work.took), seconds, dict(work.bad), quantile(took_ms, 0.5), quantile(took_ms, 0.99), work.sample.decode("latin-1")
    )


def request(method: str, path: str, headers: dict[str, str] | None = None, body: Any = None) -> str:
    """Write a request."""
    text = "" if body is None else json.dumps(body)
    lines = {"Host": "127.0.0.1", **(headers or {})}
    if body is not None:
        length = len(text) + text.count("{n}") * (12 - len("{n}"))
        lines |= {"Content-Type": "application/json", "Content-Length": str(length)}
    return f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n" + text


class Generator:
    """The other end of the pipe. `sent` numbers requests over all jobs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.sent = 0

    @classmethod
    async def start(cls) -> "Generator":
        """Start the process."""
        arguments = (sys.executable, "-m", "bench.load")
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*arguments, stdin=pipe, stdout=pipe))

    async def run(self, job: Job) -> Outcome:
        """Have a job done."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        job.first = self.sent
        self.process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
        await self.process.stdin.drain()
        line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError("the load generator ended")
        outcome = Outcome(**json.loads(line))
        self.sent += outcome.count + job.connections
        return outcome

    async def stop(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()


def main() -> None:
    """Do jobs until stdin ends."""
    for line in sys.stdin:
        print(json.dumps(asdict(uvloop.run(run(Job(**json.loads(line)))))), flush=True)


if __name__ == "__main__":
    main()
