"""Every answer that is not a success is RFC 9457 problem+json, made here and nowhere else."""

import difflib
import logging
import re
from collections.abc import Iterable
from typing import Any

import asyncpg
import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from api.routing import allowed
from core.errors import (
    CODES,
    Fault,
    InvalidInput,
    Malformed,
    Missing,
    Problem,
    TemporarilyUnavailable,
    UnsupportedMedia,
    deepest,
    token,
)

log = logging.getLogger("octavo.api")
OAUTH = "/oauth/"
"""Where errors have OAuth's own form."""
RETRY_AFTER_S = 1
FAULTS_MAX = 50
"""More faults than this help nobody, and a body can hold thousands."""
UNION_PART = re.compile(r"^(?:[A-Z]\w*|literal\[.*)$")
"""Parts of pydantic's place that name a member of a union and no field: ours are in snake_case."""
AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.DiskFullError,
    OperationalError,
    InterfaceError,
    PoolTimeoutError,
    ConnectionError,
    TimeoutError,
)
"""The database is away, full or over its time: asking again is right."""


class FaultRead(BaseModel):
    """One thing wrong with the request."""

    pointer: str = Field(description="JSON pointer into the body, or `?name` for a query parameter.", examples=["/text"])
    code: str = Field(examples=["validation_failed"])
    detail: str = Field(examples=["a name of at least one visible character is wanted"])


class ProblemRead(BaseModel):
    """An error, as RFC 9457 has it. `code` is for programs, `detail` for people; some codes bring members of their own."""

    type: str = Field(description="The address of the code's page.", examples=["https://octavo.example/errors/not_found"])
    title: str = Field(description="What the code says, for people.", examples=["There is no such resource"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no such resource"])
    code: str = Field(examples=["not_found"], description="The stable name of what is wrong, from the registry of codes.")
    request_id: str = Field(examples=["req_01kazm3v9sfa4t2tq9gk1x7c5e"])
    errors: list[FaultRead] = Field(default_factory=list)


def challenge(public_url: str, *, given: bool) -> str:
    """Say how to authenticate, and where it is told how to get a token (RFC 6750 section 3, RFC 9728 section 5.1)."""
    error = ', error="invalid_token"' if given else ""
    where = f"{public_url.rstrip('/')}/.well-known/oauth-protected-resource"
    return f'Bearer realm="octavo"{error}, resource_metadata="{where}"'


def _oauth_response(problem: Problem) -> Response:
    """Write a problem as OAuth has its errors (RFC 6749 section 5.2)."""
    status = problem.status
    code = "temporarily_unavailable" if status in {429, 503} else "server_error" if status >= 500 else "invalid_request"
    if status == 401:
        code = "invalid_token"
    elif status == 403:
        code = "access_denied"
    headers = dict(problem.headers)
    if status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="octavo"')
    if status == 503:
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    body = {"error": code, "error_description": problem.title}
    return Response(orjson.dumps(body), status_code=status, media_type="application/json", headers=headers)


def problem_response(request: Request, problem: Problem) -> Response:
    """Write `problem` as problem+json."""
    public_url: str = request.app.state.settings.public_url
    if request.scope["path"].startswith(OAUTH):
        return _oauth_response(problem)
    body = problem.describe(public_url)
    body = body | {"request_id": request.scope.get("request_id", "")}
    headers = dict(problem.headers)
    if problem.status == 401:
        headers.setdefault("WWW-Authenticate", challenge(public_url, given="authorization" in request.headers))
    if problem.status == 503:
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return Response(orjson.dumps(body), status_code=problem.status, media_type="application/problem+json", headers=headers)


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""


def _fault(error: dict[str, Any], known: dict[str, list[str]]) -> Fault:
    place, *parts = error["loc"]
    path = [token(part) for part in parts if not UNION_PART.match(str(part))]
    name = str(path[-1]) if path else ""
    pointer = f"?{name}" if place == "query" else "".join(f"/{part}" for part in path)
    if error["type"] == "extra_forbidden":
        code = "unknown_parameter" if place == "query" else "unknown_field"
        return Fault(pointer, code, "It does not exist." + _nearest(name, known.get(str(place), [])))
    detail = error["msg"].removeprefix("Value error, ")
    return Fault(pointer, "invalid_parameter" if place == "query" else "validation_failed", detail[:1].upper() + detail[1:] + ".")


def _known_names(request: Request) -> dict[str, list[str]]:
    route = request.scope.get("route")
    dependant = getattr(route, "dependant", None)
    if dependant is None:
        return {}
    names: dict[str, list[str]] = {"query": [], "body": []}
    for place, parameters in (("query", dependant.query_params), ("body", dependant.body_params)):
        for parameter in parameters:
            fields = getattr(parameter.field_info.annotation, "model_fields", None)
            names[place] += [field.alias or name for name, field in fields.items()] if fields else [parameter.alias]
    return names


def _from_validation(request: Request, error: RequestValidationError) -> Problem:
    errors = error.errors()
    places = {entry["loc"][0] for entry in errors}
    if "path" in places:
        return Missing("There is no such resource; an id begins with the prefix of its kind.")
    known = _known_names(request)
    faults = deepest([_fault(entry, known) for entry in errors[:FAULTS_MAX]])
    if places == {"query"}:
        return Malformed(code=faults[0].code, faults=faults)
    code = faults[0].code if len({fault.code for fault in faults}) == 1 else "validation_failed"
    return InvalidInput(f"{len(faults)} field(s) are invalid.", code=code, faults=faults)


_STATUS_CODES = {404: "not_found", 405: "method_not_allowed", 400: "invalid_json", 415: "unsupported_content_type"}


def _from_http(error: HTTPException) -> Problem:
    kinds: dict[int, type[Problem]] = {404: Missing, 400: Malformed, 415: UnsupportedMedia}
    kind = kinds.get(error.status_code)
    if kind is not None:
        return kind()
    problem = Problem(code=_STATUS_CODES.get(error.status_code, "internal_error"))
    problem.status = error.status_code
    problem.headers = dict(error.headers or {})
    return problem


def _cause(error: BaseException) -> BaseException:
    return error.orig.__cause__ or error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def install(app: FastAPI) -> None:
    """Register the handlers: our tree, FastAPI's validation, Starlette's own, the database's absence, and the last resort."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return problem_response(request, error)

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(request, _from_validation(request, error))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code != 405:
            return problem_response(request, _from_http(error))
        headers = {"Allow": allowed(request)}  # the router knows only the methods of the first route that fits the path
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
        return problem_response(request, _from_http(HTTPException(405, headers=headers)))

    app.add_exception_handler(Problem, ours)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, http)
    for kind in (*AWAY, DBAPIError):
        app.add_exception_handler(kind, database)


async def database(request: Request, error: Exception) -> Response:
    """Answer 503 when the database is away, 500 for what is our fault."""
    return problem_response(request, database_problem(error))


def database_problem(error: Exception) -> Problem:
    """Say what an error of the database comes to, and log it."""
    cause = _cause(error)
    if isinstance(cause, AWAY) or getattr(error, "connection_invalidated", False):
        log.warning("database away", extra={"error": type(cause).__name__})
        return TemporarilyUnavailable()
    log.error("database error", exc_info=error, extra={"error": type(cause).__name__})
    return Problem()


__all__ = ["CODES", "ProblemRead", "install", "problem_response"]
