"""HTTP/1.1 for fakes: parses requests, hands them to a function, and commits the faults that HTTP has no words for."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import httptools
import orjson

BODY_MAX = 6 * 1024 * 1024
REASONS = {200: "OK", 201: "Created", 204: "No Content", 400: "Bad Request", 429: "Too Many Requests"}

Answer = tuple[int, bytes, str]
"""Status, body, further header lines."""


@dataclass(slots=True)
class Request:
    """One request, as far as the fakes care."""

    method: str = ""
    url: str = ""
    authorization: str = ""
    content_type: str = ""
    body: bytes = b""


class Refused(Exception):  # it is an answer
    """Ends a call with an error answer."""

    def __init__(self, status: int, error: str, message: str = "refused") -> None:
        super().__init__(error)
        self.answer: Answer = (status, orjson.dumps({"error": error, "message": message}), "")


class Fault(Exception):  # it is wanted
    """Ends a call in a way that HTTP does not know: reset, hang, truncated."""

    def __init__(self, kind: str, status: int = 0, body: bytes = b"") -> None:
        super().__init__(kind)
        self.kind, self.status, self.body = kind, status, body


class Wire(asyncio.Protocol):
    """One connection with keep-alive. `route` answers a request, or raises Refused, Fault or ValueError."""

    def __init__(self, route: Callable[[Request], Answer], hang_s: float) -> None:
        self.route, self.hang_s = route, hang_s
        self.request, self.url = Request(), b""
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection."""
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; what is no HTTP ends the connection."""
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.request, self.url = Request(), b""

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the two headers that matter."""
        match name.lower():
            case b"authorization":
                self.request.authorization = value.decode("latin-1")
            case b"content-type":
                self.request.content_type = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Collect the body, within bounds."""
        self.request.body += body
        if len(self.request.body) > BODY_MAX:
            self.transport.abort()

    def on_message_complete(self) -> None:
        """Answer, or commit the fault."""
        self.request.method, self.request.url = self.parser.get_method().decode(), self.url.decode("latin-1")
        try:
            status, body, more = self.route(self.request)
        except Refused as error:
            status, body, more = error.answer
        except Fault as fault:
            self._commit(fault)
            return
        except ValueError:
            status, body, more = Refused(400, "invalid_request").answer
        self.transport.write(_head(status, len(body), more) + body)
        if not self.parser.should_keep_alive():
            self.transport.close()

    def _commit(self, fault: Fault) -> None:
        match fault.kind:
            case "hang":
                asyncio.get_running_loop().call_later(self.hang_s, self.transport.abort)
            case "truncated":
                self.transport.write(_head(fault.status, len(fault.body)) + fault.body[: len(fault.body) // 2])
                self.transport.close()
            case _:
                self._reset()

    def _reset(self) -> None:
        # zero linger turns the close into a RST; a doubled descriptor reaches the socket under any event loop
        with contextlib.suppress(OSError):
            number = self.transport.get_extra_info("socket").fileno()
            with socket.socket(fileno=os.dup(number)) as raw:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def _head(status: int, length: int, more: str = "") -> bytes:
    kind = "" if status == 204 else f"Content-Type: application/json\r\nContent-Length: {length}\r\n"
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}\r\n{kind}{more}\r\n".encode()
