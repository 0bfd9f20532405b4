"""Idempotency-Key: the key is locked before the work, and the answer stored in the transaction of its effect.

The lock is PostgreSQL's, for the transaction, so of fifty requests at once one works and the others hear 409; a crash before
the commit leaves neither effect nor record, and one after it leaves both.

draft-ietf-httpapi-idempotency-key-header-07 (read 2026-11): quoted form; the bare form that everybody sends is taken too.
A route with an effect asks for `Idem`, `IdemBare` or `IdemApart` and ends in `respond`. Declare the actor before it, so
that a caller is authenticated and permitted before an answer is replayed.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson
from fastapi import Request, Response
from pydantic import BaseModel
from sqlmodel.ext.asyncio.session import AsyncSession

from api.audited import action_of, origin_of
from api.body import WITHOUT_BODY
from core.db import Row, raw, undo
from core.errors import Conflict, Malformed, Problem, Unprocessable
from tenants.audit.entries import Entry, insertion, record, values, wake
from tenants.idempotency.records import LIVING, LOCKED, LOOKED, UNLESS_KEPT, Record, check_written
from tenants.permissions import Actor, Permission

KEY_FORM = re.compile(r'^(?:"([\x21\x23-\x5b\x5d-\x7e]{1,255})"|([\x21\x23-\x5b\x5d-\x7e]{1,255}))$')
"""1 to 255 printable ASCII characters without quote and backslash, quoted or not."""
KEEP = timedelta(hours=24)
KEEP_POSTS = timedelta(days=30)
READ = f"""
select l.locked, {LOOKED} from (select {LOCKED} locked) l left join idempotency_records r on {LIVING}
"""
"""For those whose key was not looked up with their API key (`authenticate_and_lock`)."""
STORE = f"""
insert into idempotency_records as r (agency_id, key, fingerprint, expires_at, status, headers, body)
values ($1, $2, $3, now() + $4::interval, $5, $6, $7)
{UNLESS_KEPT}
"""


STORE_RECORDED = f"with {insertion(8)}{STORE}"
"""The same with the entry of the audit log, in one round trip."""
READ_ITEMS = """
select k.key, pg_try_advisory_xact_lock(hashtextextended($3 || k.key, 7)) locked, r.fingerprint, r.status,
  r.headers::text headers, r.body
from unnest($2::text[]) with ordinality k(key, place)
left join idempotency_records r on r.agency_id = $1 and r.key = k.key and r.expires_at > now() order by k.place
"""
STORE_ITEMS = f"""
insert into idempotency_records as r (agency_id, key, fingerprint, expires_at, status, headers, body)
select $1, x.key, x.print, now() + $2::interval, x.status, x.headers::jsonb, x.body
from unnest($3::text[], $4::bytea[], $5::int[], $6::text[], $7::bytea[]) x(key, print, status, headers, body)
{UNLESS_KEPT}
"""


def _count(tag: str) -> int:
    """How many rows an INSERT wrote."""
    return int(tag.rpartition(" ")[2])


@dataclass(slots=True)
class Item:
    """One item of a batch: its key and fingerprint are those of a request of its own. `answer` is status, headers, body."""

    key: str
    fingerprint: bytes
    answer: tuple[int, dict[str, str], bytes] | None = None
    problem: Problem | None = None
    stored: bool = False


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
    return match[1] or match[2]


def lockable(request: Request) -> str | None:
    """The key of a write, if it has a usable one. What is not usable is for `read_header` to refuse, once it is wanted."""
    if request.method in WITHOUT_BODY:
        return None
    try:
        return read_header(request)
    except Malformed:
        return None


async def fingerprint(request: Request, extra: bytes = b"") -> bytes:
    """Digest what makes two requests the same: method, path, and the body in canonical form (or `extra` in its place)."""
    digest = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
    if extra:
        digest.update(extra)
    else:
        read = getattr(request, "strict_json", None)  # what StrictRoute has parsed; routes without a body have none
        digest.update(orjson.dumps(read, option=orjson.OPT_SORT_KEYS) if read is not None else b"")
    return digest.digest()


def _within_reach(request: Request, key: str) -> str:
    """Keep the keys of callers apart that see different workspaces: an answer must not be replayed past a wall."""
    actor: Actor = request.state.actor
    if actor.workspace_ids is None:
        return key
    reach = hashlib.sha256(b"".join(sorted(workspace.bytes for workspace in actor.workspace_ids))).hexdigest()[:32]
    return f"{reach} {key}"


def _require_for_replay(request: Request, body: Any) -> None:
    """Ask for what the route asks for besides its permission: a replay must not tell a caller what it could not have done.

    A post with a time wants `post:schedule`, by itself and in a batch.
    """
    posts = [one.get("post") for one in body["items"]] if isinstance(body, dict) and "items" in body else [body]
    if any(isinstance(post, dict) and post.get("schedule") is not None for post in posts):
        actor: Actor = request.state.actor
        actor.require(Permission.POST_SCHEDULE)


class Answer(NamedTuple):
    """What a write answers, ready to be stored and to be sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, body: bytes | None, *, status: int = 200, location: str | None = None, etag: int | None = None) -> "Answer":
        """Put it together. `body` is JSON already; None is an empty answer."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        if location is not None:
            headers["Location"] = location
        if etag is not None:
            headers["ETag"] = f'"{etag}"'
        return cls(status, headers, body or b"")

    @property
    def response(self) -> Response:
        """The answer as it is sent."""
        return Response(self.body, status_code=self.status, headers=self.headers)


class Idempotency:
    """The idempotency of one write, inside its transaction."""

    def __init__(self, request: Request, agency_id: UUID, db: asyncpg.Connection) -> None:
        self.request = request
        self.agency_id = agency_id
        self.db = db
        self.key = read_header(request)
        self._print = b""

    async def begin(self, extra: bytes = b"", *, looked: Row | None = None) -> None:
        """Take the key for this transaction, or raise Replay, Conflict (in flight) or Unprocessable (another request's key).

        `looked` is what was found when it was locked in this transaction already.
        """
        if self.key is None:
            return
        self._print = await fingerprint(self.request, extra)
        self.key = _within_reach(self.request, self.key)
        row = looked
        if row is None:
            row = await self.db.fetchrow(READ, self.agency_id, self.key, f"{self.agency_id}/{self.key}")
        if not row["locked"]:
            raise Conflict(code="idempotency_in_flight", headers={"Retry-After": "1"})
        if row["status"] is None:
            return
        if row["fingerprint"] != self._print:
            raise Unprocessable(code="idempotency_mismatch")
        _require_for_replay(self.request, getattr(self.request, "strict_json", None))
        headers = orjson.loads(row["headers"]) | {"Idempotent-Replayed": "true"}
        raise Replay(Response(row["body"], status_code=row["status"], headers=headers))

    def record(self, answer: Answer) -> Record | None:
        """What is stored of `answer`; None where the request has no key."""
        if self.key is None:
            return None
        keep = KEEP_POSTS if "/posts" in self.request.url.path else KEEP
        return Record(self.key, self._print, keep, answer.status, orjson.dumps(answer.headers).decode(), answer.body)

    def told(self, entry: Entry) -> tuple[Any, ...]:
        """What is stored of `entry` by a statement that has `entries.insertion` in it."""
        return values(action_of(self.request), origin_of(self.request), entry)

    async def _store(self, entry: Entry | None, answer: Answer) -> None:
        """Write the audit entry, and the answer under its key, if there is one."""
        told = None if entry is None or entry.changes_nothing else (action_of(self.request), origin_of(self.request), entry)
        kept = self.record(answer)
        if kept is None:
            if told is not None:
                await record(self.db, self.agency_id, *told)
            return
        if told is None:
            written = await self.db.execute(STORE, self.agency_id, *kept)
        else:
            written = await self.db.execute(STORE_RECORDED, self.agency_id, *kept, *values(*told))
            await wake(self.db, self.agency_id)
        check_written(_count(written))

    async def items(self, path: str, bodies: Sequence[Any]) -> list[Item]:
        """Take the keys of a batch's items (`key:0`, `key:1`, ...), each as if it had come alone to `POST path`.

        One that was answered before has its answer. Raises Conflict while one of them is in flight.
        """
        if self.key is None:
            return [Item("", b"") for _ in bodies]
        print_ = hashlib.sha256(f"POST {path}?\n".encode())
        items = []
        for position, body in enumerate(bodies):
            one = print_.copy()
            one.update(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
            items.append(Item(f"{self.key}:{position}", one.digest()))
        rows = await self.db.fetch(READ_ITEMS, self.agency_id, [item.key for item in items], f"{self.agency_id}/")
        if not all(row["locked"] for row in rows):
            raise Conflict(code="idempotency_in_flight", headers={"Retry-After": "1"})
        for item, row, body in zip(items, rows, bodies, strict=True):
            if row["status"] is None:
                continue
            try:
                _require_for_replay(self.request, body)
            except Problem as problem:
                item.problem = problem
                continue
            if row["fingerprint"] != item.fingerprint:
                item.problem = Unprocessable(code="idempotency_mismatch")
            else:
                item.answer, item.stored = (row["status"], orjson.loads(row["headers"]), row["body"]), True
        return items

    async def store_items(self, items: Sequence[Item]) -> None:
        """Store the answers of the items that have one now."""
        fresh = [(item.key, item.fingerprint, *item.answer) for item in items if item.answer is not None and not item.stored]
        if self.key is None or not fresh:
            return
        keys, prints, statuses, headers, bodies = (list(column) for column in zip(*fresh, strict=True))
        texts = [orjson.dumps(one).decode() for one in headers]
        written = await self.db.execute(STORE_ITEMS, self.agency_id, KEEP_POSTS, keys, prints, statuses, texts, bodies)
        check_written(_count(written), len(fresh))

    async def respond(
        self,
        model: BaseModel | bytes | None,
        entry: Entry | None,
        *,
        status: int = 200,
        location: str | None = None,
        etag: int | None = None,
    ) -> Response:
        """Store answer and audit entry with the effect, and give the answer back.

        `model` None is an empty answer; bytes are JSON already. `entry` None: nothing was changed.
        """
        body = model.model_dump_json().encode() if isinstance(model, BaseModel) else model
        answer = Answer.of(body, status=status, location=location, etag=etag)
        await self._store(entry, answer)
        return answer.response

    async def respond_secret(
        self, model: BaseModel, entry: Entry, *, status: int, location: str | None = None,
        shown_once: str | tuple[str, ...] = "key",
    ) -> Response:  # fmt: skip
        """Answer with what is shown once: the record remembers that it happened, and never held the secret."""
        hidden = model.model_dump(mode="json") | dict.fromkeys((shown_once,) if isinstance(shown_once, str) else shown_once)
        await self._store(entry, Answer.of(orjson.dumps(hidden), status=status, location=location))
        return Answer.of(model.model_dump_json().encode(), status=status, location=location).response


class Apart:
    """The same for a route whose transactions are its own. `admit` asks in one of them who calls."""

    def __init__(self, request: Request, agency_id: UUID, admit: Callable[[asyncpg.Connection], Awaitable[Actor]]) -> None:
        self.request = request
        self.agency_id = agency_id
        self._admit = admit
        self.key = read_header(request)
        self._begun: Idempotency | None = None

    async def look(self, session: AsyncSession) -> None:
        """Look for an answer that was given before, and end `session`: the record belongs into the transaction of the effect."""
        await Idempotency(self.request, self.agency_id, raw(session)).begin()
        await undo(session)

    async def begin(self, session: AsyncSession, extra: bytes = b"") -> Actor:
        """Begin inside `session`, the transaction of the effect. Returns the caller as it is by now.

        It was authenticated before the upload came in or the network answered, minutes ago perhaps. Raises what authenticating
        raises.
        """
        actor = await self._admit(raw(session))
        self._begun = Idempotency(self.request, self.agency_id, raw(session))
        await self._begun.begin(extra)
        return actor

    async def respond_in(
        self, session: AsyncSession, model: BaseModel | None, entry: Entry | None, *, status: int = 200,
        location: str | None = None, etag: int | None = None,
    ) -> Response:  # fmt: skip
        """Store the answer in `session`, beginning there if the route did not."""
        return await (await self._begun_in(session)).respond(model, entry, status=status, location=location, etag=etag)

    async def respond_secret_in(
        self, session: AsyncSession, model: BaseModel, entry: Entry, *, status: int, location: str, shown_once: str
    ) -> Response:  # fmt: skip
        """Answer with a field that is shown once, as `Idempotency.respond_secret` does."""
        begun = await self._begun_in(session)
        return await begun.respond_secret(model, entry, status=status, location=location, shown_once=shown_once)

    async def _begun_in(self, session: AsyncSession) -> Idempotency:
        if self._begun is None:
            await self.begin(session)
        assert self._begun is not None
        return self._begun
