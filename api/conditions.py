"""Optimistic concurrency: strong entity tags made of the row's version.

A route that honours If-Match asks for `IfMatch` or `IfMatchRequired`, after its idempotency; the document learns it from there.
"""

import re
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from core.errors import Malformed, PreconditionFailed, PreconditionRequired

TAG = re.compile(r'^"(\d{1,9})"$')


def set_etag(response: Response, version: int) -> None:
    """Tell the version as a strong entity tag."""
    response.headers["ETag"] = f'"{version}"'


def expected_version(request: Request, *, required: bool) -> int | None:
    """The version that the caller saw. Raises PreconditionRequired when it must be said and is not, Malformed for others."""
    value = request.headers.get("if-match")
    if value is None:
        if required:
            raise PreconditionRequired("Send If-Match with the ETag that you have read.")
        return None
    if value.strip() == "*":
        return None
    match = TAG.match(value.strip())
    if match is None:
        raise Malformed(code="invalid_if_match")
    return int(match[1])


def check_version(expected: int | None, actual: int) -> None:
    """Refuse a stale version with 412."""
    if expected is not None and expected != actual:
        raise PreconditionFailed


_Declared = Annotated[str | None, Header(alias="If-Match")]
_DeclaredRequired = Annotated[str | None, Header(alias="If-Match", json_schema_extra={"x-required": True})]


async def _if_match(request: Request, _: _Declared = None) -> int | None:
    return expected_version(request, required=False)


async def _if_match_required(request: Request, _: _DeclaredRequired = None) -> int | None:
    return expected_version(request, required=True)


IfMatch = Annotated[int | None, Depends(_if_match)]
IfMatchRequired = Annotated[int | None, Depends(_if_match_required)]
