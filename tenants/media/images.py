"""What a file is, and whether we take it: magic bytes and size here, what needs a decoder in a jail (`decode`).

The jail is a process per picture. It costs about 150 ms, and nothing that a picture does to a decoder reaches the API:
its memory, its keys, the next upload. What comes back is checked like anything from outside.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from weakref import WeakKeyDictionary

import orjson

from core.errors import TemporarilyUnavailable, TooLarge, Unprocessable, UnsupportedMedia
from tenants.media import decode
from tenants.media.decode import BYTES_MAX, CPU_S_MAX, OUTPUT_BYTES_MAX, PIXELS_MAX

DECODER = Path(decode.__file__)
DEADLINE_S = CPU_S_MAX + 10.0
"""Longest life of a jail by the wall clock; the CPU limit ends it earlier unless the machine is crowded."""
JAILS_MAX = 2
"""Jails of one process at a time: two of the greatest pictures take 2 GB, and more would only share the same cores."""
WAIT_S = 30.0
"""Longest wait for a free jail; then the caller is told to come again."""
HEAD_BYTES_MAX = 200
"""Longest first line of the jail's answer; ours has 50 bytes."""
MAGIC_BYTES = 16
ZIP_END = b"PK\x05\x06"
ZIP_END_BYTES = 22
ZIP_COMMENT_BYTES_MAX = 65_535

_SUPPORTED = "JPEG, PNG, WebP and GIF are taken."
# One per event loop: a process has one, tests have many.
_jails: "WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]" = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as we wrote it."""

    content_type: str
    width: int
    height: int
    data: bytes = field(repr=False)


def sniff(head: bytes) -> str | None:
    """Name the type by its magic bytes; None for everything that is not on the list."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head[:6] in {b"GIF87a", b"GIF89a"}:
        return "image/gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return None


def _is_archive_too(tail: bytes) -> bool:
    """Say whether the file ends as a ZIP does: end record, and a comment that reaches to the last byte exactly."""
    place = tail.rfind(ZIP_END)
    while place >= 0:
        comment = int.from_bytes(tail[place + 20 : place + ZIP_END_BYTES], "little")
        if place + ZIP_END_BYTES + comment == len(tail):
            return True
        place = tail.rfind(ZIP_END, 0, place)
    return False


def _disagrees(declared: str | None) -> bool:
    """Say whether the declared type is no picture's. One kind of picture is taken for another all the time."""
    kind = (declared or "").partition(";")[0].strip().lower()
    return kind not in {"", "application/octet-stream", "binary/octet-stream"} and (not kind.startswith("image/") or "svg" in kind)


def recognise(file: BinaryIO, declared: str | None) -> str:
    """Say what the file is, by what it holds. Raises UnsupportedMedia, TooLarge, or Unprocessable for an empty one."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise Unprocessable("The file is empty.", code="media_invalid")
    if size > BYTES_MAX:
        raise TooLarge(f"A file may have {BYTES_MAX} bytes.")
    file.seek(0)
    content_type = sniff(file.read(MAGIC_BYTES))
    if content_type is None or _disagrees(declared):
        raise UnsupportedMedia(_SUPPORTED, code="unsupported_media")
    file.seek(max(0, size - ZIP_END_BYTES - ZIP_COMMENT_BYTES_MAX))
    if _is_archive_too(file.read()):
        raise UnsupportedMedia("The file is an archive as well as a picture.", code="unsupported_media")
    return content_type


@asynccontextmanager
async def jail_slot() -> AsyncIterator[None]:
    """Wait for one of the few places. Hold it until the bytes are away too: it bounds what uploads keep in memory."""
    places = _jails.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(JAILS_MAX))
    try:
        async with asyncio.timeout(WAIT_S):
            await places.acquire()
    except TimeoutError as error:
        raise TemporarilyUnavailable("Too many uploads at this moment.") from error
    try:
        yield
    finally:
        places.release()


async def take(file: BinaryIO, declared: str | None) -> Picture:
    """Read a file from outside into a picture of ours.

    `file` has a descriptor; `declared` is the content type it came with. Raises UnsupportedMedia (415 unsupported_media),
    TooLarge (413) and Unprocessable (422 media_invalid, image_too_large).
    """
    content_type = recognise(file, declared)
    file.flush()
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    answer = await _run_jail(file.fileno(), content_type)
    return _read_answer(answer, content_type)


async def _run_jail(descriptor: int, content_type: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",  # neither the working folder nor PYTHONPATH nor a person's site-packages can put code in
        str(DECODER),
        content_type,
        stdin=descriptor,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        # Nothing of our own environment, which holds secrets; the loader's path where Python needs one.
        env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
    )
    answer = bytearray()
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            while piece := await process.stdout.read(256 * 1024):
                answer += piece
                if len(answer) > OUTPUT_BYTES_MAX + HEAD_BYTES_MAX:
                    raise Unprocessable(code="media_invalid")
            if await process.wait() != 0:
                raise Unprocessable("The picture cannot be decoded within our limits.", code="media_invalid")
    except TimeoutError as error:
        raise Unprocessable("The picture takes too long to decode.", code="media_invalid") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return bytes(answer)


def _read_answer(answer: bytes, content_type: str) -> Picture:
    end = answer.find(b"\n", 0, HEAD_BYTES_MAX)
    try:
        head = orjson.loads(answer[: max(end, 0)])
    except orjson.JSONDecodeError:
        head = None
    if not isinstance(head, dict):
        raise Unprocessable(code="media_invalid")
    data = answer[end + 1 :]
    verdict = head.get("verdict")
    if verdict == decode.TOO_LARGE:
        raise Unprocessable(
            f"A picture may have {PIXELS_MAX} pixels and an animation {decode.FRAMES_MAX} frames.",
            code="image_too_large",
        )
    width, height = head.get("width"), head.get("height")
    if verdict != decode.OK or not isinstance(width, int) or not isinstance(height, int) or sniff(data) != content_type:
        raise Unprocessable(code="media_invalid")
    return Picture(content_type, width, height, data)
