"""Reading of JSON bodies, strictly: what `json.loads` forgives and PostgreSQL or another parser would not is refused here."""

import asyncio
import difflib
import json
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from core.errors import Fault, InvalidInput, Malformed, Problem, UnsupportedMedia, token

if TYPE_CHECKING:
    import asyncpg
    from fastapi.security import SecurityScopes
    from sqlmodel.ext.asyncio.session import AsyncSession

    from tenants.agencies.keys import PresentedKey
    from tenants.applications.tokens import PresentedToken
    from tenants.people.members import PresentedMember

DEPTH_MAX = 32
"""Nesting of arrays and objects; our deepest schema needs 6."""
BODY_BYTES_MAX = 256 * 1024
"""Longest JSON body: a post with 50 variants of the longest text that any network takes (63,206) would still be refused."""
INTEGER_MAX = 2**63 - 1
BODY_DEADLINE_S = 10.0
"""A quarter of a megabyte over a slow phone line takes two."""
WITHOUT_BODY = frozenset({"GET", "HEAD"})
"""What a GET carries as a body is never read (RFC 9110 section 9.3.1)."""
STREAMING = frozenset({"upload_media", "import_posts"})
"""Operations that read their own stream, with limits of their own."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Malformed(code="duplicate_key")
    return result


def _constant(_text: str) -> Any:
    raise Malformed("NaN and Infinity are not JSON.")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Malformed("A number is out of range.")
    return value


def _int(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > INTEGER_MAX:
        raise InvalidInput("A number is out of range.")
    return int(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float, parse_int=_int)


_Path = tuple[Any, str | int] | None
"""Where a value stands: the path of what holds it, and its name there. Written out only for a fault."""


def _walk(value: Any, depth: int, path: _Path, *, strings: bool) -> None:
    if isinstance(value, str):
        if strings:
            _string(value, path)
        return
    if not isinstance(value, dict | list):
        return
    if depth >= DEPTH_MAX:
        raise Malformed(f"More than {DEPTH_MAX} levels.", code="too_deep")
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, item in items:
        if strings and isinstance(name, str):
            _string(name, path)
        if isinstance(item, str | dict | list):
            _walk(item, depth + 1, (path, name), strings=strings)


def _pointer(path: _Path) -> str:
    return "" if path is None else f"{_pointer(path[0])}/{token(path[1])}"


def _string(value: str, path: _Path) -> None:
    if "\0" in value:
        raise InvalidInput(code="invalid_character", faults=[Fault(_pointer(path), "invalid_character", "NUL is not allowed.")])
    try:
        value.encode()
    except UnicodeEncodeError as error:
        detail = "A lone surrogate is not a character."
        raise InvalidInput(code="invalid_unicode", faults=[Fault("", "invalid_unicode", detail)]) from error


def parse(body: bytes) -> Any:
    """Parse one JSON document. Raises Malformed or InvalidInput with a stable code for each way of being wrong."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Malformed("The body is not UTF-8.") from error
    if text.startswith("\ufeff"):
        raise Malformed("A byte order mark does not belong here.")
    try:
        value, end = _DECODER.raw_decode(text.lstrip(" \t\r\n"))
    except RecursionError as error:
        raise Malformed(f"More than {DEPTH_MAX} levels.", code="too_deep") from error
    except ValueError as error:
        raise Malformed from error
    if text.lstrip(" \t\r\n")[end:].strip(" \t\r\n"):
        raise Malformed("Something follows the JSON document.")
    _walk(value, 0, None, strings="\\u" in text)
    return value


class RequestTimeout(Problem):
    """The body did not arrive in time."""

    status = 408
    code = "request_timeout"


class StrictRequest(Request):
    """A request whose JSON is read strictly, and what was begun for it (api/dependencies.py)."""

    key: "PresentedKey | PresentedToken | PresentedMember | None" = None
    opened_session: "AsyncSession | None" = None
    opened_bare: "asyncpg.Connection | None" = None
    asked: "SecurityScopes | None" = None
    """What a route asks for that authenticates apart, for the transaction that writes to ask it again."""
    looked: "asyncpg.Record | None" = None
    """What was found when the Idempotency-Key was locked together with the look-up of the API key."""
    ends: AsyncExitStack
    """Ends what was begun: commits after an answer, and rolls back after an error."""

    async def json(self) -> Any:
        """Parse the body strictly, once."""
        if not hasattr(self, "strict_json"):
            self.strict_json = parse(await self.body())
        return self.strict_json


class StrictRoute(APIRoute):
    """A route that reads its body strictly and takes JSON only (multipart routes read their stream themselves)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler of FastAPI."""
        handler = super().get_route_handler()
        wants_body = self.body_field is not None

        known = _parameters(self) if self.include_in_schema else None
        streams = self.name in STREAMING

        async def handle(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            if request.scope["query_string"]:
                _check_query(strict, known)
            if not streams and request.method not in WITHOUT_BODY:
                await _read(strict, wants_body=wants_body)
            async with AsyncExitStack() as strict.ends:
                return await handler(strict)

        return handle


def _parameters(route: APIRoute) -> frozenset[str]:
    """The query parameters that a route declares, by themselves or as fields of one model."""
    names: set[str] = set()
    for parameter in _query_params(route.dependant):
        fields = getattr(parameter.field_info.annotation, "model_fields", None)
        names |= {field.alias or name for name, field in fields.items()} if fields else {parameter.alias}
    return frozenset(names)


def _query_params(dependant: Dependant) -> Iterator[Any]:
    yield from dependant.query_params
    for inner in dependant.dependencies:
        yield from _query_params(inner)


def _check_query(request: Request, known: frozenset[str] | None) -> None:
    """Refuse what is repeated, unknown, no Unicode, or cannot be stored. Raises Malformed, InvalidInput."""
    names = [name for name, _ in request.query_params.multi_items()]
    if len(names) != len(set(names)):
        repeated = token(Counter(names).most_common(1)[0][0])
        raise Malformed(code="repeated_parameter", faults=[Fault(f"?{repeated}", "repeated_parameter", "It is given twice.")])
    unknown = [name for name in names if known is not None and name not in known]
    if unknown and known is not None:
        name = token(unknown[0])
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise Malformed(code="unknown_parameter", faults=[Fault(f"?{name}", "unknown_parameter", "It does not exist." + hint)])
    raw = unquote_to_bytes(request.scope["query_string"].replace(b"+", b" "))
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("The query is not UTF-8.", code="invalid_unicode") from error
    if "\0" in text:
        raise InvalidInput("NUL is not allowed.", code="invalid_character")


async def _read(request: StrictRequest, *, wants_body: bool) -> None:
    """Read the body before anything else is begun: no transaction waits for a slow client. Parse it where one is wanted."""
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            await request.body()
    except TimeoutError as error:
        raise RequestTimeout from error
    if wants_body:
        await _check_body(request)
        await request.json()


async def _check_body(request: StrictRequest) -> None:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia(code="unsupported_encoding")
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if kind.strip().lower() not in {"application/json", "application/merge-patch+json"} or charset not in {
        "",
        "charset=utf-8",
    }:
        raise UnsupportedMedia("The body must be application/json in UTF-8.")
    if not await request.body():
        raise Malformed(code="body_required")
