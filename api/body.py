"""Reading of JSON bodies, strictly: what `json.loads` forgives and PostgreSQL or another parser would not is refused here."""

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from core.errors import Fault, InvalidInput, Malformed, UnsupportedMedia

DEPTH_MAX = 32
"""Nesting of arrays and objects; our deepest schema needs 6."""
BODY_BYTES_MAX = 256 * 1024
"""Longest JSON body: a post with 50 variants of the longest text that any network takes (63,206) would still be refused."""
INTEGER_MAX = 2**63 - 1


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
        raise Malformed("A number is out of range.")
    return int(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float, parse_int=_int)


def _walk(value: Any, depth: int, pointer: str, *, strings: bool) -> None:
    if isinstance(value, str):
        if strings:
            _string(value, pointer)
        return
    if not isinstance(value, dict | list):
        return
    if depth >= DEPTH_MAX:
        raise Malformed(f"More than {DEPTH_MAX} levels.", code="too_deep")
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, item in items:
        if strings and isinstance(name, str):
            _string(name, pointer)
        _walk(item, depth + 1, f"{pointer}/{name}" if strings else "", strings=strings)


def _string(value: str, pointer: str) -> None:
    if "\0" in value:
        raise InvalidInput(code="invalid_character", faults=[Fault(pointer, "invalid_character", "NUL is not allowed.")])
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
    _walk(value, 0, "", strings="\\u" in text)
    return value


class StrictRequest(Request):
    """A request whose JSON is read strictly."""

    async def json(self) -> Any:
        """Parse the body strictly, once."""
        if not hasattr(self, "_strict"):
            self._strict = parse(await self.body())
        return self._strict


class StrictRoute(APIRoute):
    """A route that reads its body strictly and takes JSON only (multipart routes read their stream themselves)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler of FastAPI."""
        handler = super().get_route_handler()
        wants_body = self.body_field is not None

        async def handle(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            _refuse_repeated_parameters(strict)
            if wants_body:
                await _check_body(strict)
            return await handler(strict)

        return handle


def _refuse_repeated_parameters(request: Request) -> None:
    if not request.url.query:
        return
    names = [name for name, _ in request.query_params.multi_items()]
    if len(names) != len(set(names)):
        repeated = next(name for name in names if names.count(name) > 1)
        raise Malformed(code="repeated_parameter", faults=[Fault(f"?{repeated}", "repeated_parameter", "It is given twice.")])


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
