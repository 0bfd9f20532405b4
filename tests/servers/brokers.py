"""Real brokers on loopback, on free ports and in folders of their own, stopped by pid."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


@dataclass
class Broker:
    """A running broker: its URL, and its process to be stopped in the middle of things."""

    url: str
    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """Stop it for good, without warning."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_DEADLINE_S)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the broker ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the broker did not start in time")


@contextmanager
def _running(command: list[str], port: int, url: str, environment: dict[str, str]) -> Iterator[Broker]:
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _wait(port, process)
        yield Broker(url, process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def redis_is_here() -> bool:
    """Say whether Debian's redis-server is installed."""
    return shutil.which("redis-server") is not None


def rabbitmq_is_here() -> bool:
    """Say whether Debian's rabbitmq-server is installed."""
    return RABBITMQ.exists()


@contextmanager
def redis_server() -> Iterator[Broker]:
    """A Redis that keeps nothing."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="octavo-redis-") as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with _running(command, port, f"redis://127.0.0.1:{port}/0", dict(os.environ)) as broker:
            yield broker


@contextmanager
def rabbitmq_server() -> Iterator[Broker]:
    """A RabbitMQ with its own Erlang port mapper, all of it on loopback."""
    port, distribution, mapper = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="octavo-rabbitmq-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        (home / "rabbitmq.conf").write_text(f"listeners.tcp.default = 127.0.0.1:{port}\nloopback_users.guest = true\n")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "RABBITMQ_NODENAME": f"octavo{port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_DIST_PORT": str(distribution),
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        url = f"amqp://guest:guest@127.0.0.1:{port}/"
        try:
            with _running([str(RABBITMQ)], port, url, environment) as broker:
                yield broker
        finally:
            subprocess.run(["epmd", "-port", str(mapper), "-kill"], check=False, stdout=subprocess.DEVNULL, env=environment)
