"""Media bytes: one interface over a folder (development) and S3 (production), chosen by the URL of the settings.

Keys are content-addressed and unique to one version (`tenants.media.service`), so an object is written once and never
overwritten; a put that finds its key taken finds its own bytes.
"""

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from core.errors import TemporarilyUnavailable
from core.settings import Settings

if TYPE_CHECKING:
    from obstore.store import S3Config  # there for type checkers only

log = logging.getLogger("octavo.store")

DEADLINE_S = 30.0
"""Longest wait for one whole put, get or delete; a publishing worker waits no longer for a file either."""
CONNECT_S = 3
RETRIES_MAX = 2
"""Tries after the first, within `RETRY_S`. obstore's own default, 10 in 3 minutes, is longer than any caller waits."""
RETRY_S = 10
PART_BYTES = 8 * 1024 * 1024
"""Of a large file: S3 takes parts of 5 MiB or more (docs.aws.amazon.com, "Multipart upload limits", 2026-11)."""
SWEEP_PAGE = 200
CHUNK_BYTES = 256 * 1024
"""Least size of a streamed piece: few enough turns of the loop, little enough memory per reader."""


class NotStoredError(KeyError):
    """There are no bytes under this key."""


class MediaStore:
    """Put, get and delete bytes by key. Every call raises TemporarilyUnavailable when the store is away."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, key: str, data: bytes) -> None:
        """Write `data` once. What lies under the key already stays: keys name their content."""
        with _translated(key):
            async with asyncio.timeout(DEADLINE_S):
                try:
                    await obstore.put_async(self._store, key, data, mode="create", use_multipart=False)
                except AlreadyExistsError:
                    log.info("already stored", extra={"key": key})

    async def get(self, key: str) -> bytes:
        """Read everything under `key`. Raises NotStoredError."""
        with _translated(key):
            async with asyncio.timeout(DEADLINE_S):
                result = await obstore.get_async(self._store, key)
                return bytes(await result.bytes_async())

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Open `key` and give its bytes in pieces. Raises NotStoredError before the first piece, not while they flow."""
        with _translated(key):
            async with asyncio.timeout(DEADLINE_S):
                result = await obstore.get_async(self._store, key)
        return self._pieces(key, result.stream(min_chunk_size=CHUNK_BYTES))

    async def _pieces(self, key: str, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        with _translated(key):
            async for piece in stream:
                yield bytes(piece)

    async def delete(self, key: str) -> None:
        """Remove `key`. What is not there counts as removed."""
        try:
            with _translated(key):
                async with asyncio.timeout(DEADLINE_S):
                    await obstore.delete_async(self._store, key)
        except NotStoredError:
            return

    async def put_file(self, key: str, file: BinaryIO) -> None:
        """Write a large file in parts of `PART_BYTES`, so that no more than a few of them are in memory. Has no deadline."""
        with _translated(key):
            await obstore.put_async(self._store, key, file, use_multipart=True, chunk_size=PART_BYTES, max_concurrency=2)

    async def pieces(self, key: str, size_bytes: int) -> AsyncIterator[bytes]:
        """Read a large file in parts, each within the deadline: one answer of the store could not last as long as a reader does.

        Raises NotStoredError before the first piece.
        """
        first = await self._part(key, 0, min(PART_BYTES, size_bytes))
        return self._parts(key, first, size_bytes)

    async def _parts(self, key: str, first: bytes, size_bytes: int) -> AsyncIterator[bytes]:
        yield first
        for start in range(len(first), size_bytes, PART_BYTES):
            yield await self._part(key, start, min(start + PART_BYTES, size_bytes))

    async def _part(self, key: str, start: int, end: int) -> bytes:
        with _translated(key):
            async with asyncio.timeout(DEADLINE_S):
                return bytes(await obstore.get_range_async(self._store, key, start=start, end=end))

    async def sweep(self, prefix: str) -> int:
        """Remove everything whose key begins with the folder `prefix`. Returns how much there was."""
        count = 0
        with _translated(prefix):
            async for page in obstore.list(self._store, prefix, chunk_size=SWEEP_PAGE):
                for one in page:
                    await self.delete(one["path"])
                count += len(page)
        return count

    async def discard(self, key: str) -> None:
        """Remove `key` when its rows are gone already. Never fails: what stays behind costs space only."""
        try:
            await self.delete(key)
        except TemporarilyUnavailable:
            log.warning("left behind", extra={"key": key})


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotStoredError(key) from error
    except (BaseError, OSError, TimeoutError) as error:
        # Refused credentials land here too: for the caller the store is away, for the operator the log says why.
        log.warning("store away", extra={"key": key, "error": type(error).__name__})
        raise TemporarilyUnavailable("The media store cannot be reached.") from error


def open_store(settings: Settings) -> MediaStore:
    """Open the store that the settings name. Raises ValueError for a URL that is neither file:// nor s3://."""
    url = settings.effective_media_url
    if url.startswith("file://"):
        # OCTAVO_HOME may be relative, so what follows the scheme is a path and not an authority with a path.
        return MediaStore(_folder(Path(url.removeprefix("file://")).absolute()))
    if url.startswith("s3://"):
        return MediaStore(_s3(url, settings))
    raise ValueError("OCTAVO_MEDIA_URL begins with file:// or s3://")


def _folder(path: Path) -> LocalStore:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return LocalStore(path, automatic_cleanup=True)


def _s3(url: str, settings: Settings) -> S3Store:
    endpoint = settings.media_endpoint
    parts = urlsplit(url)
    secret = settings.media_secret_key
    config: S3Config = {"region": settings.media_region}
    # Keys that are not given are left out: then the role of the machine is asked, as Amazon's own tools do.
    if settings.media_access_key and secret is not None:
        config["access_key_id"] = settings.media_access_key
        config["secret_access_key"] = secret.get_secret_value()
    if endpoint is not None:
        config["endpoint"] = endpoint
        config["virtual_hosted_style_request"] = False
    return S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        client_options={
            # Without TLS only to this machine: the keys' signatures do not hide the bytes.
            "allow_http": endpoint is not None and _is_loopback(endpoint),
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "timeout": timedelta(seconds=DEADLINE_S),
        },
        retry_config={"max_retries": RETRIES_MAX, "retry_timeout": timedelta(seconds=RETRY_S)},
        config=config,
    )


def _is_loopback(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
