"""Reading of multipart uploads: one file and a few short fields, each bounded while it arrives.

Starlette's `request.form` leaves three doors open (1.10, read 2026-11): bytes before the first boundary and after the last
are read without end, a body without its last boundary counts as complete, and a file's size is known when it is on disk.
So python-multipart's streaming parser is used directly, under counters. The file goes to a temporary file as it arrives:
the memory of the process does not grow with what people send.
"""

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from core.errors import Fault, InvalidInput, Malformed, TooLarge, UnsupportedMedia

PARTS_MAX = 4
"""One file and its fields, with room for one that does not exist, so that it can be named."""
HEADERS_MAX = 8
"""Headers of one part; browsers send two."""
HEADER_BYTES_MAX = 8 * 1024
"""One header of a part: a file name of 4 kB (B52) stands in it."""
OUTSIDE_BYTES_MAX = 1024
"""Before the first boundary and after the last: RFC 2046 allows text there, and nobody sends any."""
FIELD_BYTES_MAX = 16 * 1024
"""A short field: 2,000 characters of description in UTF-8 have 8 kB."""
PIECE_BYTES = 64 * 1024
"""What the parser gets at a time, however much the server hands over."""
UPLOAD_S = 300.0
"""Longest time that one body may take to arrive: 20 MB at half a megabit a second."""
FILE_FIELD = "file"


@dataclass(slots=True)
class Upload:
    """What arrived. `digest` is the SHA-256 of the file."""

    filename: str = "file"
    content_type: str | None = None
    fields: dict[str, str] = field(default_factory=dict)
    digest: bytes = b""


class _Reader:
    """The parser's callbacks, and everything they count."""

    def __init__(self, boundary: bytes, into: BinaryIO, file_bytes_max: int) -> None:
        self.upload = Upload()
        self.ended = False
        self._into = into
        self._file_bytes_max = file_bytes_max
        self._file_bytes = 0
        self._sha256 = hashlib.sha256()
        self._names: list[str] = []
        self._outside_bytes = 0
        self._parts = 0
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        self._value = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_header_name,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_part_end": self._end,
                "on_end": self._on_end,
            },
            max_header_count=HEADERS_MAX,
            max_header_size=HEADER_BYTES_MAX,
        )

    def write(self, data: bytes) -> None:
        for at in range(0, len(data), PIECE_BYTES):
            piece = data[at : at + PIECE_BYTES]
            outside = self.ended
            self._parser.write(piece)
            if outside or not self._parts:
                self._outside_bytes += len(piece)
                if self._outside_bytes > OUTSIDE_BYTES_MAX:
                    raise malformed("Too much stands outside the parts.")

    def finish(self) -> Upload:
        if not self.ended:
            raise malformed("The last boundary is missing.")
        if FILE_FIELD not in self._names:
            raise InvalidInput("The file is missing.", faults=[Fault("/file", "validation_failed", "A file is wanted.")])
        self.upload.digest = self._sha256.digest()
        return self.upload

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise malformed(f"More than {PARTS_MAX} parts.")
        self._headers, self._value = {}, bytearray()

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _on_header_end(self) -> None:
        name, value = (bytes(part) for part in self._header)
        self._headers[name.lower()] = value
        self._header = (bytearray(), bytearray())

    def _on_headers(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name", b"").decode(errors="replace")
        if kind != b"form-data" or not name:
            raise malformed("A part has no name.")
        if name in self._names:
            raise Malformed("A field is given twice.", code="duplicate_key")
        self._names.append(name)
        if name == FILE_FIELD:
            self.upload.filename = options.get(b"filename", b"").decode(errors="replace") or self.upload.filename
            declared = self._headers.get(b"content-type")
            self.upload.content_type = None if declared is None else declared.decode("latin-1").strip()

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._names[-1] == FILE_FIELD:
            self._file_bytes += end - start
            if self._file_bytes > self._file_bytes_max:
                raise TooLarge(f"A file may have {self._file_bytes_max} bytes.", headers={"Connection": "close"})
            piece = data[start:end]
            self._into.write(piece)
            self._sha256.update(piece)
            return
        self._value += data[start:end]
        if len(self._value) > FIELD_BYTES_MAX:
            raise TooLarge("A field is too long.", headers={"Connection": "close"})

    def _end(self) -> None:
        name = self._names[-1]
        if name == FILE_FIELD:
            return
        try:
            self.upload.fields[name] = self._value.decode()
        except UnicodeDecodeError as error:
            fault = Fault("/" + name, "invalid_unicode", "UTF-8 is wanted.")
            raise InvalidInput(code="invalid_unicode", faults=[fault]) from error

    def _on_end(self) -> None:
        self.ended = True


def malformed(detail: str) -> Malformed:
    """Refuse the body; what is left of it is not read, so the connection ends."""
    return Malformed(detail, code="invalid_multipart", headers={"Connection": "close"})


async def read_upload(request: Request, into: BinaryIO, *, file_bytes_max: int) -> Upload:
    """Read a multipart body: the part `file` into a file, the others into `fields`.

    Raises Malformed (invalid_multipart, duplicate_key), TooLarge, InvalidInput (no file, no UTF-8), UnsupportedMedia.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia(code="unsupported_encoding")
    boundary = parse_options_header(request.headers.get("content-type", ""))[1].get(b"boundary")
    if not boundary:
        raise malformed("The boundary is missing.")
    try:
        reader = _Reader(boundary, into, file_bytes_max)
        async with asyncio.timeout(UPLOAD_S):
            async for piece in request.stream():
                reader.write(piece)
    except FormParserError as error:
        raise malformed("The parts cannot be told apart.") from error
    except TimeoutError as error:
        raise malformed("The body takes too long to arrive.") from error
    except ClientDisconnect as error:
        raise malformed("The body broke off.") from error
    return reader.finish()
