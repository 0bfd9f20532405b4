"""The edge, as one pure ASGI middleware: request id, host, registered origins, body cap, HEAD, and the last resort for errors."""

import asyncio
import logging
import re
from collections.abc import Iterable
from time import perf_counter
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import cors
from api.body import BODY_BYTES_MAX
from api.multipart import UPLOAD_S
from api.problems import problem_response
from api.rate_limits import FIELDS
from core import metrics
from core.errors import Malformed, Problem, TemporarilyUnavailable, TooLarge
from core.ids import encode, new_id

log = logging.getLogger("octavo.api")
FILE_BYTES_MAX = 21 * 1024 * 1024
"""One file of 20 MB and what multipart adds around it."""
VERSION = re.compile(r"\d{4}-\d\d-\d\d")
SECRETS = re.compile(rb"(?:oct|oat|oem|ort|ocs)_(?:live|test)_")
"""How keys, tokens and secrets begin."""
LARGE = ("/media", "/posts/import")
"""Ends of the paths that take files; their routes have limits of their own below this one."""
BULK = "/posts/bulk"
BULK_BYTES_MAX = 2 * 1024 * 1024
"""A hundred posts of twenty thousand bytes each: far beyond what anybody writes a hundred times."""
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class Misdirected(Problem):
    """The Host header names somebody else."""

    status = 421
    code = "misdirected_request"


class NotHead(Problem):
    """This path has an effect at GET, so it has no HEAD."""

    status = 405
    code = "method_not_allowed"


class DeadlineExceeded(TemporarilyUnavailable):
    """The request was broken off at its deadline, and its transaction rolled back."""

    code = "deadline_exceeded"

    def __init__(self) -> None:
        super().__init__("The request took too long and was broken off. Sent again with the same Idempotency-Key it is done once.")


class Edge:
    """Outermost layer of the application."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: Iterable[str], origins: Iterable[str] = (), deadline_s: float) -> None:
        self.app = app
        self.deadline_s = deadline_s
        self.hosts = frozenset(host.strip().lower() for host in allowed_hosts)
        self.origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event of ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = encode("req", new_id())
        scope = {**scope, "request_id": request_id}
        begun = perf_counter()
        head = scope["method"] == "HEAD"
        if head:
            scope["method"] = "GET"
        started = False
        origin = cors.origin_of(scope, self.origins)

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                metrics.answered(scope["method"], _template(scope), message["status"], perf_counter() - begun)
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                headers["Request-Id"] = request_id
                if FIELDS in scope:
                    policies, left = scope[FIELDS]
                    headers.append("RateLimit-Policy", policies)
                    headers.append("RateLimit", left)
                if self.origins:
                    cors.admit(headers, origin)
                raw = message["headers"]
                there = {name for name, _ in raw}
                raw.extend(one for one in SECURITY_HEADERS if one[0] not in there)
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            refusal = self._refusal(scope, head=head)
            if refusal is not None:
                raise refusal
            if origin is not None and cors.is_preflight(scope):
                await Response(status_code=204, headers=cors.preflight())(scope, receive, answer)
                return
            await self._serve(scope, receive, answer)
        except Problem as problem:
            if started:
                raise
            await problem_response(Request(scope), problem)(scope, receive, answer)
        except ClientDisconnect:
            return
        except Exception:
            log.exception("unhandled error", extra={"request_id": request_id})
            if started:
                raise
            await problem_response(Request(scope), Problem())(scope, receive, answer)

    async def _serve(self, scope: Scope, receive: Receive, answer: Send) -> None:
        """Run the application. Raises DeadlineExceeded when its answer has not begun in time."""
        seconds = self.deadline_s + (UPLOAD_S if _cap(scope) == FILE_BYTES_MAX else 0)  # an upload has its own time to arrive
        try:
            async with asyncio.timeout(seconds) as deadline:

                async def begin(message: Message) -> None:
                    if message["type"] == "http.response.start" and not deadline.expired():
                        deadline.reschedule(None)  # all is committed; how fast an answer is read is the proxy's to judge
                    await answer(message)

                await self.app(scope, _capped(scope, receive), begin)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            log.warning("request over its deadline", extra={"request_id": scope["request_id"], "route": _template(scope)})
            raise DeadlineExceeded from error

    def _refusal(self, scope: Scope, *, head: bool) -> Problem | None:
        headers = Headers(scope=scope)
        if "*" not in self.hosts and headers.get("host", "").partition(":")[0].lower() not in self.hosts:
            return Misdirected()
        query = unquote_to_bytes(scope.get("query_string", b""))
        if SECRETS.search(query):
            return Malformed(
                "Keys travel in the Authorization header. Revoke this one: it stands in logs now.", code="key_in_query"
            )
        if head and scope["path"].startswith("/connect/callback/"):
            return NotHead(headers={"Allow": "GET"})  # a look by a mail scanner must not spend the state
        version = headers.get("octavo-version")
        if version is not None and not VERSION.fullmatch(version):
            return Malformed("Octavo-Version is a date: YYYY-MM-DD.", code="invalid_version_header")
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > _cap(scope):
            return TooLarge(headers={"Connection": "close"})
        return None


def _template(scope: Scope) -> str:
    """The route's template: a label must not carry ids."""
    return getattr(scope.get("route"), "path_format", "unknown")


def _cap(scope: Scope) -> int:
    path: str = scope["path"]
    if scope["method"] != "POST":
        return BODY_BYTES_MAX
    if path.rstrip("/").endswith(LARGE):
        return FILE_BYTES_MAX
    return BULK_BYTES_MAX if path.endswith(BULK) else BODY_BYTES_MAX


def _capped(scope: Scope, receive: Receive) -> Receive:
    cap, seen = _cap(scope), 0

    async def read() -> Message:
        nonlocal seen
        message: dict[str, Any] = dict(await receive())
        seen += len(message.get("body", b""))
        if seen > cap:
            raise TooLarge(headers={"Connection": "close"})
        return message

    return read
