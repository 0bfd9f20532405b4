"""`make run`: the whole of Octavo on one machine, out of one command.

Starts the embedded PostgreSQL (or takes OCTAVO_DATABASE_URL), migrates, starts the API and a worker with its scheduler
as processes of their own, makes a demo agency with an owner at the first start, prints how to publish a first post, and
stays up with one log. Everything it starts it stops, in order and by process id; when one part dies, all of it ends with an error.
"""

import asyncio
import ctypes
import json
import os
import secrets
import shlex
import signal
import socket
import stat
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from core.embedded import EmbeddedError, free_port, postgres
from core.settings import Settings

STARTED_IN_ORDER = {
    "api": ("-m", "api"),
    "worker": ("-m", "workers", "all"),
}
"""Stopped in this order too: no new work, then no new claims while the calls in flight may finish."""
READY_DEADLINE_S = 90.0  # a cold start on a slow, busy machine, with room
POLL_S = 0.1
DATABASE_LOOK_S = 2.0
HERE = frozenset({"0.0.0.0", "127.0.0.1"})  # noqa: S104  # compared with, never bound to
REQUEST_DEADLINE_S = 5.0
KILL_AFTER_S = 5.0  # beyond the grace that the processes give themselves
LINE_BYTES_MAX = 1 << 20
QUOTA = "100000"  # a minute: who tries how fast it is on his own machine is in nobody's way
PR_SET_PDEATHSIG = 1  # linux/prctl.h
COLOURS = {"api": 36, "worker": 32, "migrate": 33, "octavo": 1}

Environment = dict[str, str]
_libc = ctypes.CDLL(None)


class DevelopmentError(RuntimeError):
    """The development system cannot start or go on; the text says what to do."""


def main() -> int:
    """Run until Ctrl-C, SIGTERM or the death of a part; return the exit status."""
    try:
        return asyncio.run(_run(Settings()))
    except (DevelopmentError, EmbeddedError) as error:
        say("octavo", str(error))
        return 1


def say(who: str, text: str) -> None:
    """Write to the one log, each line under the name of who said it."""
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    name = f"{who:<9}"
    mark = f"\033[{COLOURS[who]}m{name}\033[0m" if colour else name
    for line in text.splitlines():
        sys.stdout.write(f"{mark} | {line}\n")
    sys.stdout.flush()


async def _run(settings: Settings) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    home = _home(settings)
    url = address_of(settings.host, _port(settings))
    given = os.environ.get("OCTAVO_DATABASE_URL")
    with nullcontext(given) if given else postgres(home) as database_url, _url_file(home, database_url):
        where = "the one of OCTAVO_DATABASE_URL" if given else f"embedded PostgreSQL, data in {_data_folder(home)}"
        say("octavo", f"database: {where}")
        say("octavo", "mail: " + ("goes to OCTAVO_SMTP_URL" if settings.smtp_url else f"lies in {home}/outbox"))
        environment = _environment(home, url, database_url)
        await _output_of("migrate", ("-m", "migrations"), environment)
        parts = Parts(environment, settings.shutdown_s + KILL_AFTER_S)
        try:
            for name, arguments in STARTED_IN_ORDER.items():
                await parts.start(name, arguments)
            await _until_stopped(stop, parts.first_death(), _database_death(database_url), _welcome(home, url, environment))
        finally:
            say("octavo", "stopping")
            await parts.stop()
    return 0


async def _until_stopped(stop: asyncio.Event, *endless: Coroutine[None, None, None]) -> None:
    """Wait for the signal to stop; an error of the other tasks comes first. The welcome alone may end well."""
    tasks = {asyncio.create_task(stop.wait()), *(asyncio.create_task(one) for one in endless)}
    try:
        while not stop.is_set():
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# --- surroundings --------------------------------------------------------------------------------------------------


def _home(settings: Settings) -> Path:
    home = Path(settings.home).absolute()
    home.mkdir(parents=True, exist_ok=True)
    return home


def _data_folder(home: Path) -> str:
    """Name the folder of the running embedded database: elsewhere when its user cannot walk down to `home` (core/embedded.py)."""
    own = home / "postgres-dev"
    return str(own) if (own / "data").exists() else (home / "postgres-dev.location").read_text().strip()


def _port(settings: Settings) -> int:
    if settings.port == 0:
        return free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise DevelopmentError(
                f"Port {settings.port} of {settings.host} is not to be had ({error.strerror}). "
                f"Choose another: OCTAVO_PORT={settings.port + 1} make run (OCTAVO_PORT=0 takes any free one)."
            ) from None
    return settings.port


def address_of(host: str, port: int) -> str:
    """Write where people find a service that listens here: under a name, for browsers bind no passkey to an address."""
    return f"http://{'localhost' if host in HERE else host}:{port}"


def _environment(home: Path, url: str, database_url: str) -> Environment:
    defaults = {
        "OCTAVO_LOG_FORMAT": "console",
        "OCTAVO_PUBLIC_URL": url,
        "OCTAVO_EGRESS_ALLOW_LOOPBACK": "true",
        "OCTAVO_RATE_LIMIT_KEY": QUOTA,
        "OCTAVO_RATE_LIMIT_AGENCY": QUOTA,
        "PYTHONUNBUFFERED": "1",
    }
    fixed = {
        "OCTAVO_DATABASE_URL": database_url,
        "OCTAVO_HOME": str(home),
        "OCTAVO_PORT": url.rpartition(":")[2],
    }
    return {**defaults, **os.environ, **fixed}


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    path.write_text(text)


@contextmanager
def _url_file(home: Path, database_url: str) -> Iterator[None]:
    """Leave the database's URL where psql and scripts find it while the system runs."""
    path = home / "database.url"
    _write_private(path, f"{database_url}\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


# --- processes -----------------------------------------------------------------------------------------------------


def _die_with_parent() -> None:
    """In the child, before it becomes the program: SIGTERM when we are killed, so that no part outlives the whole."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


async def _spawn(arguments: Sequence[str], environment: Mapping[str, str], stderr: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env=environment,
        limit=LINE_BYTES_MAX,
        start_new_session=True,  # Ctrl-C in a terminal reaches only us, and we stop the parts in order
        preexec_fn=_die_with_parent,
    )


async def _relay(name: str, stream: asyncio.StreamReader | None) -> None:
    assert stream is not None
    while line := await stream.readline():
        say(name, line.decode(errors="replace").rstrip("\n"))


async def _output_of(name: str, arguments: Sequence[str], environment: Environment) -> str:
    """Run one command to its end, show what it says on stderr, and return what it says on stdout."""
    process = await _spawn(arguments, environment, asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        output, _ = await asyncio.gather(process.stdout.read(), _relay(name, process.stderr))
        status = await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if status != 0:
        raise DevelopmentError(f"python {' '.join(arguments)} failed with status {status}")
    return output.decode()


class Parts:
    """The long-running processes, by name."""

    def __init__(self, environment: Environment, grace_s: float) -> None:
        self._environment = environment
        self._grace_s = grace_s
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._relays: list[asyncio.Task[None]] = []

    async def start(self, name: str, arguments: Sequence[str]) -> None:
        """Start one, and pass on what it writes."""
        process = await _spawn(arguments, self._environment, asyncio.subprocess.STDOUT)
        self._processes[name] = process
        self._relays.append(asyncio.create_task(_relay(name, process.stdout)))

    async def first_death(self) -> None:
        """Wait until one of them ends, and raise: none of them may."""
        waits = {asyncio.create_task(process.wait()): name for name, process in self._processes.items()}
        done, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        for task in done:
            raise DevelopmentError(f"{waits[task]} ended by itself with status {task.result()}")

    async def stop(self) -> None:
        """End them one after the other, each by its process id; kill what outstays its grace."""
        for name, process in self._processes.items():
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), self._grace_s)
            except TimeoutError:
                say("octavo", f"{name} did not stop within {self._grace_s:.0f} s and is killed")
                process.kill()
                await process.wait()
        await asyncio.gather(*self._relays)


# --- the database and the welcome ----------------------------------------------------------------------------------


async def _database_death(database_url: str) -> None:
    """Wait until nothing answers at the database's address, and raise."""
    parts = urlsplit(database_url)
    while True:
        await asyncio.sleep(DATABASE_LOOK_S)
        try:
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or 5432)
        except OSError as error:
            raise DevelopmentError(f"the database is gone ({error.strerror})") from None
        writer.close()


async def _welcome(home: Path, url: str, environment: Environment) -> None:
    """Wait until a worker has proved itself, see that there is a demo agency, and say how to begin."""
    env_file = home / "dev.env"
    known = _read_env(env_file)
    if not known:
        known = await _create_agency(environment)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_DEADLINE_S)) as http:
        await _until_ready(http, url)
        if not await _key_works(http, url, known):
            say("octavo", f"the key in {env_file} is not of this database; making another demo agency")
            known = await _create_agency(environment)
    known["OCTAVO_URL"] = url
    _write_private(env_file, "".join(f"{key}={value}\n" for key, value in sorted(known.items())))
    if "OCTAVO_EMAIL" in known:  # a file of before there were people has none
        say("octavo", f"the owner signs in at {url}/sign-in by OCTAVO_EMAIL and OCTAVO_PASSWORD of {_shortest(env_file)}")
    sys.stdout.write(greeting(shlex.quote(_shortest(env_file)), url, _elsewhere(home)))
    sys.stdout.flush()


def _read_env(path: Path) -> Environment:
    if not path.exists():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
    found = {key: value for key, _, value in pairs}
    return found if {"OCTAVO_API_KEY", "OCTAVO_WORKSPACE"} <= found.keys() else {}


async def _create_agency(environment: Environment) -> Environment:
    email = f"owner-{secrets.token_hex(4)}@demo.example"  # new each time: whom the database has keeps a password that nobody knows
    arguments = ("-m", "tenants", "create-agency", "--name", "Demo agency", "--owner-email", email)
    client = ("--workspace", "First client", "--time-zone", "Europe/Berlin")
    made = json.loads((await _output_of("octavo", (*arguments, *client), environment)).strip().splitlines()[-1])
    return names_of(made, email)


def names_of(made: Mapping[str, str], email: str) -> Environment:
    """Name what `create-agency` made as the guides name it: its test side, and the owner, who is one in both modes."""
    return {
        "OCTAVO_API_KEY": made["test_key"],
        "OCTAVO_LIVE_API_KEY": made["live_key"],
        "OCTAVO_WORKSPACE": made["workspace"],
        "OCTAVO_AGENCY": made["test_agency"],
        "OCTAVO_EMAIL": email,
        "OCTAVO_PASSWORD": made["owner_password"],
    }


async def _until_ready(http: aiohttp.ClientSession, url: str) -> None:
    last = "no answer"
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_DEADLINE_S):
            while True:
                try:
                    async with http.get(f"{url}/readyz") as answer:
                        if answer.status == 200:
                            return
                        last = f"{answer.status}: {await answer.text()}"
                except (aiohttp.ClientError, TimeoutError) as error:
                    last = str(error) or type(error).__name__
                await asyncio.sleep(POLL_S)
    raise DevelopmentError(f"not ready after {READY_DEADLINE_S:.0f} s; /readyz says: {last}")


async def _key_works(http: aiohttp.ClientSession, url: str, known: Environment) -> bool:
    headers = {"Authorization": f"Bearer {known['OCTAVO_API_KEY']}"}
    async with http.get(f"{url}/v1/me", headers=headers) as answer:
        if answer.status not in {200, 401}:
            raise DevelopmentError(f"/v1/me answers {answer.status}: {await answer.text()}")
        return answer.status == 200


def _shortest(path: Path) -> str:
    try:
        return f"./{path.relative_to(Path.cwd())}"
    except ValueError:
        return str(path)


def _elsewhere(home: Path) -> str:
    """Write what other commands must be told, when this is not the home that they take by themselves."""
    usual = Path(Settings.model_fields["home"].default).absolute()
    return "" if home == usual else f"OCTAVO_HOME={shlex.quote(str(home))} "


def greeting(env_file: str, url: str, elsewhere: str = "") -> str:
    """Write the first three calls, ready to be pasted into another terminal. `elsewhere` stands before other commands."""
    pick: Callable[[str], str] = lambda what: f"python3 -c 'import json, sys; print(json.load(sys.stdin){what})'"  # noqa: E731  # it is said twice below
    return f"""
Octavo is up: {url}   Guides and reference: {url}/docs/guides
Publish a first post from another terminal, in this folder:

. {env_file}

# 1. Connect an account of the sandbox network; it always publishes.
ACCOUNT=$(curl -sS -X POST "$OCTAVO_URL/v1/workspaces/$OCTAVO_WORKSPACE/connect-sessions" \\
  -H "Authorization: Bearer $OCTAVO_API_KEY" -H 'Content-Type: application/json' \\
  -d '{{"network": "sandbox", "credentials": {{"handle": "always_ok"}}, "targets": "all"}}' \\
  | {pick('["accounts"][0]["id"]')}); echo "$ACCOUNT"

# 2. Write a post for it, due now.
POST=$(curl -sS -X POST "$OCTAVO_URL/v1/workspaces/$OCTAVO_WORKSPACE/posts" \\
  -H "Authorization: Bearer $OCTAVO_API_KEY" -H 'Content-Type: application/json' \\
  -d '{{"text": "Hello from Octavo", "account_ids": ["'"$ACCOUNT"'"], "schedule": "now"}}' \\
  | {pick('["id"]')}); echo "$POST"

# 3. A moment later, see it published, with the address people find it at.
sleep 1; curl -sS "$OCTAVO_URL/v1/workspaces/$OCTAVO_WORKSPACE/posts/$POST" \\
  -H "Authorization: Bearer $OCTAVO_API_KEY" | python3 -m json.tool

`{elsewhere}make demo` fills a lively agency. Ctrl-C stops everything; `{elsewhere}make run` finds its data again.

"""


if __name__ == "__main__":
    sys.exit(main())
