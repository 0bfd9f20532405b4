"""The store, over a folder always and over a real S3 (SeaweedFS) where there is one: the same tests for both."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from core.errors import TemporarilyUnavailable
from core.settings import Settings
from core.store import MediaStore, NotStoredError, open_store

ACCESS_KEY, SECRET_KEY = "testkey", "testsecret"
S3_CONFIG = (
    '{"identities":[{"name":"app","credentials":[{"accessKey":"testkey","secretKey":"testsecret"}],'
    '"actions":["Admin","Read","Write","List","Tagging"]}]}'
)
START_S = 60.0


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, each with the one 10,000 above it, which SeaweedFS takes for gRPC."""
    found: list[int] = []
    for port in range(20_000, 40_000, 7):
        with socket.socket() as low, socket.socket() as high:
            try:
                low.bind(("127.0.0.1", port))
                high.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free ports")


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Endpoint of a SeaweedFS of our own."""
    program = Path(os.environ["OCTAVO_REAL_SERVERS"]) / "seaweed/bin/weed"
    if not program.exists():
        missing = pytest.fail if os.environ.get("OCTAVO_REQUIRE_ALL") else pytest.skip
        missing(f"there is no {program.name} in OCTAVO_REAL_SERVERS/seaweed/bin")
    home = tmp_path_factory.mktemp("weed")
    (home / "s3.json").write_text(S3_CONFIG)
    s3, filer, master, volume = free_ports(4)
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                program, "server", f"-dir={home}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.port={s3}",
                f"-s3.config={home / 's3.json'}", f"-filer.port={filer}", f"-master.port={master}",
                f"-volume.port={volume}", "-volume.max=5", "-master.volumeSizeLimitMB=64",
            ],
            stdout=log, stderr=log, cwd=home, start_new_session=True,
        )  # fmt: skip
    try:
        # A test's own loop runs already when it asks for us, so this one gets a thread.
        with ThreadPoolExecutor(1) as thread:
            ready = thread.submit(asyncio.run, _until_it_writes(f"http://127.0.0.1:{s3}", f"http://127.0.0.1:{filer}"))
            endpoint = ready.result()
        yield endpoint
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


async def _until_it_writes(endpoint: str, filer: str) -> str:
    """Make the bucket (a folder of the filer) and write, until that works."""
    settings = s3_settings(endpoint)
    async with asyncio.timeout(START_S):
        while True:
            try:
                urlopen(Request(f"{filer}/buckets/octavo/.keep", b"x", method="PUT"), timeout=2).close()
                await open_store(settings).put("ready", b"x")
            except (OSError, TemporarilyUnavailable):
                await asyncio.sleep(0.5)
            else:
                return endpoint


def s3_settings(endpoint: str, secret: str = SECRET_KEY) -> Settings:
    return Settings(
        media_url="s3://octavo/some/prefix",
        media_endpoint=endpoint,
        media_access_key=ACCESS_KEY,
        media_secret_key=secret,
    )


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.real)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MediaStore]:
    """A store to write to."""
    if request.param == "folder":
        yield open_store(Settings(media_url=f"file://{tmp_path}/media"))
    else:
        yield open_store(s3_settings(request.getfixturevalue("seaweed")))


async def test_bytes_come_back(store: MediaStore) -> None:
    data = os.urandom(7_000_000)
    await store.put("a/b/large", data)
    assert await store.get("a/b/large") == data
    pieces = [piece async for piece in await store.stream("a/b/large")]
    assert b"".join(pieces) == data
    assert len(pieces) > 3


async def test_nothing_is_overwritten(store: MediaStore) -> None:
    await store.put("a/once", b"first")
    await store.put("a/once", b"second")
    assert await store.get("a/once") == b"first"


async def test_what_is_not_there(store: MediaStore) -> None:
    with pytest.raises(NotStoredError):
        await store.get("a/none")
    with pytest.raises(KeyError):
        await store.stream("a/none")
    await store.delete("a/none")


async def test_delete_takes_one(store: MediaStore) -> None:
    await store.put("d/one", b"1")
    await store.put("d/two", b"2")
    await store.delete("d/one")
    with pytest.raises(NotStoredError):
        await store.get("d/one")
    assert await store.get("d/two") == b"2"


async def test_the_folder_is_for_us_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(Settings(home="relative home"))
    await store.put("a/b", b"x")
    folder = tmp_path / "relative home/media"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "a/b").read_bytes() == b"x"


@pytest.mark.parametrize("key", ["../out", "a/../../out", "/etc/octavo"])
async def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    store = open_store(Settings(media_url=f"file://{tmp_path}/media"))
    with contextlib.suppress(ValueError, TemporarilyUnavailable):
        await store.put(key, b"x")
    assert not (tmp_path / "out").exists()
    assert not Path("/etc/octavo").exists()


async def test_a_store_that_is_away() -> None:
    store = open_store(s3_settings("http://127.0.0.1:9"))
    for call in (store.put("a", b"x"), store.get("a"), store.stream("a"), store.delete("a")):
        with pytest.raises(TemporarilyUnavailable):
            await call


async def test_no_bytes_in_the_open() -> None:
    """An endpoint without TLS is refused unless it is this machine's."""
    store = open_store(s3_settings("http://198.51.100.1"))
    with pytest.raises(TemporarilyUnavailable):
        await store.get("a")


def test_other_urls_are_refused() -> None:
    with pytest.raises(ValueError, match="file:// or s3://"):
        open_store(Settings(media_url="http://example.org/x"))


@pytest.mark.real
async def test_a_wrong_secret_reads_nothing(seaweed: str) -> None:
    await open_store(s3_settings(seaweed)).put("secret", b"x")
    with pytest.raises(TemporarilyUnavailable):
        await open_store(s3_settings(seaweed, secret="wrong")).get("secret")
