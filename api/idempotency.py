"""Idempotency-Key: the record is inserted before the work and the answer stored in the transaction of its effect.

draft-ietf-httpapi-idempotency-key-header-07 (read 2026-11): quoted form; the bare form that everybody sends is taken too.
A route with an effect asks for `Idem`, `IdemBare` or `IdemApart` and ends in `respond`. Declare the actor before it, so
that a caller is authenticated and permitted before an answer is replayed.
"""

import hashlib
import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from fastapi import Request, Response
from pydantic import BaseModel
from sqlmodel.ext.asyncio.session import AsyncSession

from core.db import raw
from core.errors import Conflict, Malformed, Unprocessable

KEY_FORM = re.compile(r'^"?([\x21\x23-\x5b\x5d-\x7e]{1,255})"?$')
"""1 to 255 printable ASCII characters without quote and backslash, quoted or not."""
KEEP = timedelta(hours=24)
KEEP_POSTS = timedelta(days=30)
LOCK = "select pg_try_advisory_xact_lock(hashtextextended($1, 7))"
READ = """
select fingerprint, status, headers::text headers, body from idempotency_records
where agency_id = $1 and key = $2 and expires_at > now()
"""
INSERT = """
insert into idempotency_records as r (agency_id, key, fingerprint, expires_at) values ($1, $2, $3, now() + $4::interval)
on conflict (agency_id, key) do update set fingerprint = excluded.fingerprint, expires_at = excluded.expires_at,
  status = null, headers = null, body = null, created_at = now()
"""
STORE = "update idempotency_records set status = $3, headers = $4, body = $5 where agency_id = $1 and key = $2"


class Replay(Exception):
    """This request was answered before; `response` is that answer."""

    def __init__(self, response: Response) -> None:
        self.response = response


def read_header(request: Request) -> str | None:
    """Read the key, quoted or bare. Raises Malformed for one that is not usable."""
    value = request.headers.get("idempotency-key")
    if value is None:
        return None
    match = KEY_FORM.match(value)
    if match is None:
        raise Malformed("1 to 255 printable ASCII characters are wanted.", code="invalid_idempotency_key")
    return match[1]


async def fingerprint(request: Request, extra: bytes = b"") -> bytes:
    """Digest what makes two requests the same: method, path, and the body in canonical form (or `extra` in its place)."""
    digest = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
    if extra:
        digest.update(extra)
    else:
        body = await request.body()
        digest.update(orjson.dumps(await request.json(), option=orjson.OPT_SORT_KEYS) if body else b"")
    return digest.digest()


class Idempotency:
    """The idempotency of one write, inside its transaction."""

    def __init__(self, request: Request, agency_id: UUID, db: asyncpg.Connection) -> None:
        self.request = request
        self.agency_id = agency_id
        self.db = db
        self.key = read_header(request)

    async def begin(self, extra: bytes = b"") -> None:
        """Insert the record, or raise Replay, Conflict (in flight) or Unprocessable (another request's key)."""
        if self.key is None:
            return
        if not await self.db.fetchval(LOCK, f"{self.agency_id}/{self.key}"):
            raise Conflict(code="idempotency_in_flight", headers={"Retry-After": "1"})
        print_ = await fingerprint(self.request, extra)
        row = await self.db.fetchrow(READ, self.agency_id, self.key)
        if row is not None:
            if row["fingerprint"] != print_:
                raise Unprocessable(code="idempotency_mismatch")
            headers = orjson.loads(row["headers"]) | {"Idempotent-Replayed": "true"}
            raise Replay(Response(row["body"], status_code=row["status"], headers=headers))
        keep = KEEP_POSTS if "/posts" in self.request.url.path else KEEP
        await self.db.execute(INSERT, self.agency_id, self.key, print_, keep)

    async def respond(
        self,
        model: BaseModel | bytes | None,
        *,
        status: int = 200,
        location: str | None = None,
        etag: int | None = None,
    ) -> Response:
        """Store the answer with the effect and give it back. `model` None is an empty answer; bytes are JSON already."""
        body = b"" if model is None else model if isinstance(model, bytes) else model.model_dump_json().encode()
        headers: dict[str, Any] = {"Content-Type": "application/json"} if model is not None else {}
        if location is not None:
            headers["Location"] = location
        if etag is not None:
            headers["ETag"] = f'"{etag}"'
        if self.key is not None:
            await self.db.execute(STORE, self.agency_id, self.key, status, orjson.dumps(headers).decode(), body)
        return Response(body, status_code=status, headers=headers)

    async def respond_secret(self, model: BaseModel, *, status: int, location: str) -> Response:
        """Answer with something that is shown once: the record remembers that it happened, and not the secret."""
        response = await self.respond(model, status=status, location=location)
        if self.key is not None:
            hidden = model.model_dump(mode="json") | {"key": None}
            headers = orjson.dumps(dict(response.headers)).decode()
            await self.db.execute(STORE, self.agency_id, self.key, status, headers, orjson.dumps(hidden))
        return response


class Apart:
    """The same for a route whose transactions are its own."""

    def __init__(self, request: Request, agency_id: UUID) -> None:
        self.request = request
        self.agency_id = agency_id
        self.key = read_header(request)
        self._begun: Idempotency | None = None

    async def begin(self, session: AsyncSession, extra: bytes = b"") -> None:
        """Begin inside `session`, the transaction of the effect."""
        self._begun = Idempotency(self.request, self.agency_id, await raw(session))
        await self._begun.begin(extra)

    async def respond_in(
        self, session: AsyncSession, model: BaseModel | None, *, status: int = 200, location: str | None = None,
        etag: int | None = None,
    ) -> Response:  # fmt: skip
        """Store the answer in `session`, beginning there if the route did not."""
        if self._begun is None:
            await self.begin(session)
        assert self._begun is not None
        return await self._begun.respond(model, status=status, location=location, etag=etag)
