"""The sandbox network's own server: a foreign API that Octavo plays for test mode and demos. Not part of the contract.

    POST   /sandbox/token        {grant_type: handle|refresh_token|subject, ...}  -> a pair of tokens, the targets
    POST   /sandbox/media        image bytes                                      -> 201 {id, sha256, size_bytes}
    POST   /sandbox/posts        {profile, marker, text, media: [{id, alt}]}      -> 201 the post
    GET    /sandbox/posts        ?profile=&limit=&from=                           -> {as_of, pinned, posts, next}
    GET    /sandbox/posts/{id}   public, JSON or HTML                             -> the post with its figures
    DELETE /sandbox/posts/{id}                                                    -> 204

Errors are `{error, message}`.
"""

import asyncio
import functools
import html
import json
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NoReturn, TypeVar
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from core import clock
from core.crypto import hash_key
from core.db import Database
from core.settings import Settings, get_settings
from core.wire import Input
from tenants.sandbox import behaviours, service
from tenants.sandbox.models import SandboxPost, SandboxProfile
from tenants.sandbox.service import NewPost, SandboxError, Tokens

JSON_BYTES_MAX = 64 * 1024
CUT_PROMISED_BYTES = 1_000
"""What a cut answer promises in Content-Length; it brings one byte."""
STATUS = {
    "invalid_request": 400,
    "invalid_grant": 400,
    "unknown_handle": 401,
    "invalid_token": 401,
    "token_expired": 401,
    "token_revoked": 401,
    "read_not_allowed": 403,
    "unknown_profile": 404,
    "not_found": 404,
    "duplicate_content": 409,
    "too_large": 413,
    "unsupported_media": 415,
    "content_rejected": 422,
    "rate_limited": 429,
    "maintenance": 503,
}

router = APIRouter(prefix="/sandbox", include_in_schema=False)

# --- what comes in -------------------------------------------------------------------------------------------------


def _storable(value: str) -> str:
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("NUL and lone surrogates cannot be stored")
    return value


Stored = Annotated[str, AfterValidator(_storable)]


class _Strict(Input):
    model_config = ConfigDict(strict=True)


class _HandleGrant(_Strict):
    grant_type: Literal["handle"]
    handle: Stored = Field(max_length=behaviours.HANDLE_LENGTH_MAX)


class _RefreshGrant(_Strict):
    grant_type: Literal["refresh_token"]
    refresh_token: Stored = Field(max_length=200)


class _SubjectGrant(_Strict):
    grant_type: Literal["subject"]
    subject: Stored = Field(min_length=1, max_length=behaviours.SUBJECT_LENGTH_MAX)


_Grant = Annotated[_HandleGrant | _RefreshGrant | _SubjectGrant, Field(discriminator="grant_type")]


class _Upload(_Strict):
    id: Stored = Field(max_length=64)
    alt: Stored = Field("", max_length=behaviours.ALT_LENGTH_MAX)


class _Post(_Strict):
    profile: Stored = Field(min_length=1, max_length=behaviours.SUBJECT_LENGTH_MAX + 20)
    marker: Stored = Field(min_length=1, max_length=behaviours.MARKER_LENGTH_MAX)
    text: Stored
    media: list[_Upload] = Field(default=[], max_length=behaviours.MEDIA_COUNT_MAX)


Wish = TypeVar("Wish")
_GRANT: TypeAdapter[_HandleGrant | _RefreshGrant | _SubjectGrant] = TypeAdapter(_Grant)
_POST = TypeAdapter(_Post)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice")
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


async def _body(request: Request, limit_bytes: int) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limit_bytes:
            raise SandboxError("too_large", f"A body has at most {limit_bytes} bytes here.")
    return bytes(data)


async def _read(request: Request, adapter: TypeAdapter[Wish]) -> Wish:
    raw = await _body(request, JSON_BYTES_MAX)
    try:
        return adapter.validate_python(json.loads(raw, object_pairs_hook=_once, parse_constant=_no_constant))
    except ValidationError as error:
        places = ", ".join(sorted({"/" + "/".join(map(str, one["loc"])) for one in error.errors(include_input=False)}))
        raise SandboxError("invalid_request", f"These fields are missing, unknown or wrong: {places}"[:300]) from None
    except (ValueError, RecursionError):
        raise SandboxError("invalid_request", "The body is not JSON as this server takes it.") from None


def _query(request: Request, known: set[str]) -> dict[str, str]:
    items = request.query_params.multi_items()
    names = [name for name, _value in items]
    if len(set(names)) != len(names) or not set(names) <= known:
        raise SandboxError("invalid_request", "A query parameter is unknown or stands twice.")
    return dict(items)


def _post_id(text: str) -> UUID:
    try:
        return UUID(hex=text)
    except ValueError:
        raise SandboxError("not_found", "There is no such post.") from None


# --- what goes out -------------------------------------------------------------------------------------------------


def _refused(error: SandboxError) -> Response:
    body: dict[str, Any] = {"error": error.error, "message": error.message}
    if error.error == "maintenance":
        body["accepted"] = False
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    return JSONResponse(body, STATUS[error.error], headers)


Endpoint = Callable[[Request], Awaitable[Response]]


def _answering(endpoint: Endpoint) -> Endpoint:
    """Answer the sandbox's own errors in the sandbox's own form, whatever handlers the application has."""

    @functools.wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except SandboxError as error:
            return _refused(error)
        except ClientDisconnect:
            return Response(status_code=400)

    return answer


_cutting: ContextVar[bool] = ContextVar("sandbox_cutting", default=False)


class _QuietCut(logging.Filter):
    """Drops the server's complaint about an answer without an end when we cut it on purpose."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass but what is said in the context of a cut answer."""
        return not _cutting.get()


class _Cut(Response):
    """An answer that promises more than it brings: the server then closes the connection under the client."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        complaints = logging.getLogger("uvicorn.error")
        if not any(isinstance(one, _QuietCut) for one in complaints.filters):
            complaints.addFilter(_QuietCut())
        _cutting.set(True)
        length = str(CUT_PROMISED_BYTES).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


def _instant(value: datetime) -> str:
    return value.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _tokens(made: Tokens) -> dict[str, Any]:
    return {
        "access_token": made.access_token,
        "refresh_token": made.refresh_token,
        "expires_in": int(behaviours.ACCESS_LIFE.total_seconds()),
        "scopes": ["read", "write"] if service.may_read(made.profile) else ["write"],
        "targets": made.profile.targets,
    }


def _listed(post: SandboxPost, base: str) -> dict[str, Any]:
    return {
        "id": post.id.hex,
        "url": f"{base}/{post.id.hex}",
        "marker": post.marker,
        "text": post.text,
        "created_at": _instant(post.created_at),
    }


def _base(request: Request) -> str:
    """Where the posts' public pages lie; never built from the Host header."""
    settings: Settings = getattr(request.app.state, "settings", None) or get_settings()
    return f"{settings.public_url.rstrip('/')}/sandbox/posts"


# --- routes --------------------------------------------------------------------------------------------------------


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _access_hash(request: Request) -> bytes:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise SandboxError("invalid_token", "The request carries no bearer token.")
    return hash_key(token)


async def _whose(request: Request) -> SandboxProfile:
    """Authenticate in a transaction of its own, so that none is open while a body or a slow profile takes time."""
    async with _database(request).session() as session:
        return await service.authenticate(session, _access_hash(request), clock.now())


@router.post("/token")
@_answering
async def token(request: Request) -> Response:
    """Open a handle or an OAuth subject, or exchange a refresh token."""
    wish = await _read(request, _GRANT)
    async with _database(request).session() as session:
        now = clock.now()
        made: Tokens | SandboxError
        if isinstance(wish, _HandleGrant):
            made = await service.open_profile(session, wish.handle, now)
        elif isinstance(wish, _SubjectGrant):
            made = await service.open_subject(session, wish.subject, now)
        else:
            made = await service.refresh(session, hash_key(wish.refresh_token), now)
    return _refused(made) if isinstance(made, SandboxError) else JSONResponse(_tokens(made))


@router.post("/media")
@_answering
async def upload(request: Request) -> Response:
    """Take an image and note what it was."""
    await _whose(request)
    data = await _body(request, behaviours.MEDIA_BYTES_MAX)
    async with _database(request).session() as session:
        profile = await service.authenticate(session, _access_hash(request), clock.now())
        note = await service.add_media(session, profile, request.headers.get("content-type", ""), data)
    return JSONResponse(note, 201)


@router.post("/posts")
@_answering
async def publish(request: Request) -> Response:
    """Publish as the profile's behaviour says."""
    profile = await _whose(request)
    wish = await _read(request, _POST)
    if profile.behaviour == "slow":
        await asyncio.sleep(behaviours.SLOW_S)
    now = clock.now()
    new = NewPost(wish.profile, wish.marker, wish.text, tuple((one.id, one.alt) for one in wish.media))
    async with _database(request).session() as session:
        profile = await service.authenticate(session, _access_hash(request), now)
        outcome = await service.publish(session, profile, new, now)
    if outcome.cut:
        return _Cut()
    if outcome.refusal is not None:
        return _refused(outcome.refusal)
    assert outcome.post is not None
    return JSONResponse(_listed(outcome.post, _base(request)), 201)


@router.get("/posts")
@_answering
async def list_posts(request: Request) -> Response:
    """List a profile's posts, newest first, with the pinned one; a further page begins with the last post of this."""
    query = _query(request, {"profile", "limit", "from"})
    limit = query.get("limit", str(behaviours.PAGE_SIZE_MAX))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 3 and 2 <= int(limit) <= behaviours.PAGE_SIZE_MAX):
        raise SandboxError("invalid_request", f"limit is 2 to {behaviours.PAGE_SIZE_MAX}.")
    start = _position(query["from"]) if "from" in query else None
    as_of = clock.now()
    async with _database(request).session() as session:
        profile = await service.authenticate(session, _access_hash(request), as_of)
        page = await service.list_posts(session, profile, query.get("profile", ""), as_of, limit=int(limit), start=start)
    last = page.posts[-1] if page.has_more else None
    base = _base(request)
    return JSONResponse(
        {
            "as_of": _instant(as_of),
            "pinned": _listed(page.pinned, base) if page.pinned else None,
            "posts": [_listed(post, base) for post in page.posts],
            "next": f"{_instant(last.created_at)}~{last.id.hex}" if last else None,
        }
    )


def _position(text: str) -> tuple[datetime, UUID]:
    at, _, post_id = text.partition("~")
    try:
        instant = datetime.fromisoformat(at)
        if instant.tzinfo is None:
            raise ValueError
        return instant.astimezone(UTC), UUID(hex=post_id)
    except (ValueError, OverflowError):
        raise SandboxError("invalid_request", "`from` is not a position of this list.") from None


@router.get("/posts/{post_id}")
@_answering
async def show_post(request: Request) -> Response:
    """Show one post to everybody who has its id: JSON, or a small page where a browser asks."""
    post_id = _post_id(request.path_params["post_id"])
    now = clock.now()
    async with _database(request).session() as session:
        post = await service.read_post(session, post_id, now)
    earned = asdict(behaviours.figures(post.id, now - post.created_at))
    if "text/html" in request.headers.get("accept", ""):
        return _page(post, earned)
    body = _listed(post, _base(request)) | {
        "profile": post.target,
        "media": post.media,
        "figures": earned,
        "as_of": _instant(now),
    }
    body.pop("marker")  # the client's own business, not the public's
    return JSONResponse(body)


def _page(post: SandboxPost, earned: dict[str, int]) -> Response:
    text = html.escape(post.text).replace("\n", "<br>")
    images = "".join(f"<li>Image: {html.escape(one['alt'] or 'without description')}</li>" for one in post.media)
    counts = ", ".join(f"{name} {value}" for name, value in earned.items())
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(post.target)}</title>'
        f"<h1>{html.escape(post.target)}</h1><p>{text}</p><ul>{images}</ul><p>{_instant(post.created_at)}: {counts}</p>"
        "<p>A post of the Octavo sandbox network.</p></html>"
    )
    return HTMLResponse(
        page, headers={"Content-Security-Policy": "default-src 'none'; sandbox", "X-Content-Type-Options": "nosniff"}
    )


@router.delete("/posts/{post_id}")
@_answering
async def delete_post(request: Request) -> Response:
    """Take a post away."""
    post_id = _post_id(request.path_params["post_id"])
    async with _database(request).session() as session:
        profile = await service.authenticate(session, _access_hash(request), clock.now())
        await service.delete_post(session, profile, post_id)
    return Response(status_code=204)
