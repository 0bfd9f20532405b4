"""Multipart bodies, good and hostile: refused early, with the code of their fault (reliability B53)."""

import io
from collections.abc import AsyncIterator, Iterable

import pytest
from starlette.requests import Request

from api.multipart import PARTS_MAX, Upload, read_upload
from core.errors import Problem

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
END = b"\r\n--b--\r\n"
TAKEN_BYTES_MAX = 4_000_000
"""What is read of a body before it is refused; the endless ones here are of a gigabyte."""


def request_of(pieces: Iterable[bytes], content_type: str = "multipart/form-data; boundary=b") -> Request:
    """A request whose body comes in these pieces."""
    source = iter(pieces)

    async def receive() -> dict[str, object]:
        piece = next(source, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type.encode())]}
    return Request(scope, receive)


async def read(*pieces: bytes, file_bytes_max: int = 1_000_000, **about: str) -> tuple[Upload, bytes]:
    into = io.BytesIO()
    upload = await read_upload(request_of(pieces, **about), into, file_bytes_max=file_bytes_max)
    return upload, into.getvalue()


async def test_a_file_with_its_description() -> None:
    field = b'\r\n--b\r\ncontent-disposition: form-data; name="alt_text"\r\n\r\nBr\xc3\xb6tchen'
    body = HEAD + b"12\r\n--345" + field + END
    for size in (1, 2, 7, 1_000):
        upload, data = await read(*(body[at : at + size] for at in range(0, len(body), size)))
        assert data == b"12\r\n--345"
        assert (upload.filename, upload.content_type) == ("a.jpg", "image/jpeg")
        assert upload.fields == {"alt_text": "Brötchen"}
        assert len(upload.digest) == 32


async def test_a_quoted_boundary_and_a_little_preamble() -> None:
    _, data = await read(b"\r\n" + HEAD + b"x" + END, content_type='multipart/form-data; boundary="b"')
    assert data == b"x"


def part(name: bytes, value: bytes = b"x") -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="' + name + b'"\r\n\r\n' + value + b"\r\n"


def forever(piece: bytes) -> Iterable[bytes]:
    """More than a gigabyte, in pieces."""
    for _ in range(20_000):
        yield piece


@pytest.mark.parametrize(
    ("pieces", "status", "code"),
    [
        ([b"".join(part(b"f%d" % number) for number in range(10_000)) + END], 400, "invalid_multipart"),
        ([*(part(b"f%d" % number) for number in range(PARTS_MAX + 1)), END], 400, "invalid_multipart"),
        ([b'--b\r\nContent-Disposition: form-data; name="' + b"x" * 1_000_000], 400, "invalid_multipart"),
        ([b"--b\r\n" + b"X" * 1_000_000 + b": y\r\n"], 400, "invalid_multipart"),
        ([b"--b\r\n" + b"X-A: y\r\n" * 100_000], 400, "invalid_multipart"),
        ([HEAD + b"12345"], 400, "invalid_multipart"),
        ([HEAD + b"12345\r\n--b"], 400, "invalid_multipart"),
        ([], 400, "invalid_multipart"),
        (forever(b"\r\n" * 30_000), 400, "invalid_multipart"),
        (forever(b"\r\n" + b"preamble " * 6_000), 400, "invalid_multipart"),
        (forever(b"no dash at all" * 4_000), 400, "invalid_multipart"),
        ([HEAD + b"1" + END, *[b"epilogue " * 6_000] * 20_000], 400, "invalid_multipart"),
        ([b"--b\r\nContent-Type: image/jpeg\r\n\r\nx" + END], 400, "invalid_multipart"),
        ([b"--b\r\nContent-Disposition: attachment; name=file\r\n\r\nx" + END], 400, "invalid_multipart"),
        ([part(b"file") + HEAD + b"2" + END], 400, "duplicate_key"),
        ([HEAD, *[b"\r\n--" * 16_000] * 20_000], 413, "body_too_large"),
        ([part(b"alt_text", b"x" * 20_000) + HEAD + b"1" + END], 413, "body_too_large"),
        ([part(b"alt_text", b"\xff") + HEAD + b"1" + END], 422, "invalid_unicode"),
        ([part(b"alt_text")[:-2] + END], 422, "validation_failed"),
        ([b"--b--\r\n"], 422, "validation_failed"),
    ],
)
async def test_hostile_bodies_end_early(pieces: Iterable[bytes], status: int, code: str) -> None:
    taken = 0

    def counted() -> Iterable[bytes]:
        nonlocal taken
        for piece in pieces:
            taken += len(piece)
            yield piece

    with pytest.raises(Problem) as caught:
        await read_upload(request_of(counted()), io.BytesIO(), file_bytes_max=1_000_000)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert taken < TAKEN_BYTES_MAX


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "b" * 300],
)
async def test_a_boundary_that_is_none(content_type: str) -> None:
    with pytest.raises(Problem) as caught:
        await read(HEAD + b"1" + END, content_type=content_type)
    assert caught.value.code == "invalid_multipart"


async def test_a_body_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.multipart.UPLOAD_S", 0.05)

    class Slow(Request):
        async def stream(self) -> AsyncIterator[bytes]:  # type: ignore[override]  # a generator is one
            import asyncio

            while True:
                yield b""
                await asyncio.sleep(0.01)

    slow = Slow(request_of([]).scope)
    with pytest.raises(Problem) as caught:
        await read_upload(slow, io.BytesIO(), file_bytes_max=10)
    assert caught.value.code == "invalid_multipart"
