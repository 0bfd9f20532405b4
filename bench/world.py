"""What everything else measures on: the database with fsync, the fake network, the seed, and the project's processes."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg

from bench.load import Generator
from bench.processes import Household, Started, announced_port, answering
from bench.seed import Agency, create_agencies, prepare
from core.embedded import SUPERUSER, free_port, postgres
from core.settings import Settings
from migrations.run import migrate

NAME = "bench"
QUOTA_AWAY = "1000000000"
"""The rate limits count every request of the bench, and refuse none."""
PROJECT = {
    "api": ("-m", "api"),
    "all": ("-m", "workers", "all"),
    "worker": ("-m", "workers", "worker"),
    "scheduler": ("-m", "workers", "scheduler"),
}
"""`make run` and the Procfile start `api` and `all`; compose.yaml, as larger installations, `api`, `worker` and `scheduler`."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    seconds: float
    warm_up_s: float
    creates: int
    repeats: int
    singles: int
    bursts: tuple[int, ...]
    waiting: int
    growth: int
    growth_rounds: int
    slow_burst: int


FULL = Size(7, 3.0, 2.0, 10_000, 3, 20, (100, 1_000, 10_000), 100_000, 1_000_000, 7, 1_000)
QUICK = Size(3, 1.0, 1.0, 1_000, 1, 10, (100, 1_000, 10_000), 100_000, 100_000, 3, 0)


@dataclass
class World:
    """The running surroundings."""

    size: Size
    settings: Settings
    root_url: str
    household: Household
    generator: Generator
    network: Started
    network_port: int
    agencies: list[Agency] = field(default_factory=list)
    written_per_s: float = 0.0

    @property
    def network_url(self) -> str:
        """Where the fake network answers."""
        return f"http://127.0.0.1:{self.network_port}"

    def say(self, text: str) -> None:
        """Tell whoever waits."""
        print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)

    def environment(self, port: int = 0) -> dict[str, str]:
        """The environment of the project's processes."""
        return {
            "OCTAVO_DATABASE_URL": self.settings.database_url,
            "OCTAVO_HOME": self.settings.home,
            "OCTAVO_PORT": str(port),
            "OCTAVO_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "OCTAVO_SANDBOX_URL": self.network_url,
            "OCTAVO_EGRESS_ALLOW_LOOPBACK": "true",
            "OCTAVO_RATE_LIMIT_KEY": QUOTA_AWAY,
            "OCTAVO_RATE_LIMIT_AGENCY": QUOTA_AWAY,
        }

    def bare_environment(self) -> dict[str, str]:
        """The environment of the baselines."""
        return {"BENCH_DSN": self.root_url, "BENCH_NETWORK_URL": self.network_url}

    def start(self, *names: str, port: int = 0) -> list[Started]:
        """Start processes of the project."""
        return [self.household.start(name, PROJECT[name], self.environment(port)) for name in names]

    async def start_api(self) -> tuple[Started, int]:
        """Start the API and wait for it."""
        port = free_port()
        (api,) = self.start("api", port=port)
        await answering(api, port, "/livez")
        return api, port

    def bare_app(self, name: str) -> tuple[Started, int]:
        """Start one of the bare HTTP baselines."""
        port = free_port()
        arguments = ["-m", "uvicorn", f"bench.baselines.{name}:app", "--port", str(port), "--loop", "uvloop"]
        arguments += ["--http", "httptools", "--no-access-log", "--log-level", "warning"]
        return self.household.start(f"bare-{name}", arguments, self.bare_environment()), port

    @asynccontextmanager
    async def root(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection as the cluster's superuser, whom row-level security does not bind."""
        connection = await asyncpg.connect(self.root_url)
        try:
            yield connection
        finally:
            await connection.close()

    async def ask_network(self, method: str, path: str) -> list[list[object]]:
        """Use one of the fake's own routes."""
        async with aiohttp.ClientSession() as client, client.request(method, self.network_url + path) as answer:
            answer.raise_for_status()
            body: list[list[object]] = await answer.json()
            return body


def on(url: str, *, user: str | None = None, database: str | None = None) -> str:
    """Point a URL at another login or database."""
    parts = urlsplit(url)
    netloc = parts.netloc if user is None else f"{user}@{parts.netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(netloc=netloc, path=parts.path if database is None else f"/{database}"))


def _root_url(home: Path, url: str) -> str:
    location = home / f"postgres-{NAME}.location"
    base = Path(location.read_text().strip()) if location.exists() else home / f"postgres-{NAME}"
    password = json.loads((base / "logins.json").read_text())[SUPERUSER]
    return on(url, user=f"{SUPERUSER}:{password}")


@contextmanager
def _home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="octavo-bench-"))
    home.chmod(0o711)  # PostgreSQL runs as nobody when we are root
    try:
        yield home
    finally:
        location = home / f"postgres-{NAME}.location"
        if location.exists():
            shutil.rmtree(location.read_text().strip(), ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


def settings_of(url: str, home: Path) -> Settings:
    """The settings that the bench itself uses: the project's defaults."""
    return Settings(database_url=url, home=str(home), log_format="json", egress_allow_loopback=True)


@asynccontextmanager
async def open_world(size: Size) -> AsyncIterator[World]:
    """Start and seed everything, and leave nothing behind."""
    for name in [name for name in os.environ if name.startswith("OCTAVO_")]:
        del os.environ[name]  # what is measured are the defaults, but for the quotas
    with _home() as home, postgres(home, name=NAME) as url:
        await migrate(settings_of(url, home))
        household = Household(home)
        try:
            network = household.start("network", ["-m", "bench.network"], {})
            world = World(
                size, settings_of(url, home), _root_url(home, url), household, await Generator.start(), network,
                await announced_port(network),
            )  # fmt: skip
            world.say("seeding")
            world.agencies = await create_agencies(world.settings)
            api, port = await world.start_api()
            async with world.root() as db:
                network_url = world.network_url
                world.written_per_s = await prepare(db, world.agencies, world.generator, port, network_url, size.waiting)
            await asyncio.to_thread(household.stop, api)
            yield world
            await world.generator.stop()
        finally:
            await asyncio.to_thread(household.stop)
