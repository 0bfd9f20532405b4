"""All HTTP to the outside. One pool of connections per process; every call bounded in time and bytes; nothing repeated.

What a failure means is decided here, once: `Unavailable` when surely nothing was sent, `Uncertain` when something may
have been. A request is "maybe sent" from the moment it has a connection, fresh or kept alive.
"""

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from networks.base import Rejected, Unavailable, Uncertain
from networks.egress import GuardedResolver, UrlNotAllowed, check_url

MAX_ANSWER_BYTES = 1024 * 1024
CONNECTIONS_MAX = 512
"""Twice the calls that one worker keeps in the air by default."""
KEEP_ALIVE_S = 4.0
"""Shorter than the 5 s after which Node's HTTP server closes an idle connection (nodejs.org, `keepAliveTimeout`, read
2026-11): a call on a connection that the other side is just closing ends as Uncertain."""
RETRY_AFTER_LONGEST = timedelta(hours=24)
USER_AGENT = "Octavo/0.1"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: the status, the headers (names in any case), the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the body as JSON. Raises Uncertain when it is not."""
        try:
            return orjson.loads(self.body)
        except ValueError as error:
            raise Uncertain("The answer is not JSON.", http_status=self.status) from error


class _Fate:
    """How far one request came."""

    __slots__ = ("connected",)

    def __init__(self) -> None:
        self.connected = False


_FATE: ContextVar[_Fate] = ContextVar("fate")


class _Connector(aiohttp.TCPConnector):
    """A pool that tells the request of this task when it has its connection, fresh or kept: a tenth of what tracing costs."""

    async def connect(self, *args: Any, **named: Any) -> Any:
        """Connect, and note it."""
        connection = await super().connect(*args, **named)
        _FATE.get().connected = True
        return connection


class Client:
    """The process's way out. Made anywhere, used in one event loop, closed once."""

    def __init__(self, *, allow_loopback: bool = False) -> None:
        self._allow_loopback = allow_loopback
        self._plain: aiohttp.ClientSession | None = None
        self._guarded: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections. Calls after it open new ones."""
        sessions = [one for one in (self._plain, self._guarded) if one is not None]
        self._plain = self._guarded = None
        for session in sessions:
            await session.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        data: bytes | None = None,
        deadline_s: float,
        max_bytes: int = MAX_ANSWER_BYTES,
        guarded: bool = False,
    ) -> Answer:
        """Make one call and read the whole answer. A redirect is an answer like any other.

        At most one of `json`, `form` and `data` is the body. `deadline_s` is total: name, connection, sending, reading.
        `guarded` is for an address that came from outside. Raises Unavailable, Uncertain, and for an address that the
        guard refuses Rejected (`url_not_allowed`, with the guard's reason as raw code).
        """
        sent = dict(headers) if headers else {}
        if json is not None:
            data = orjson.dumps(json)
            sent.setdefault("Content-Type", "application/json")
        elif form is not None:
            data = urlencode(form).encode()
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        fate = _Fate()
        _FATE.set(fate)
        try:
            target: str | URL = check_url(url, allow_loopback=self._allow_loopback) if guarded else url
            session = self._session(guarded)
            async with (
                asyncio.timeout(deadline_s),
                session.request(
                    method,
                    target,
                    params=params,
                    headers=sent,
                    data=data,
                    allow_redirects=False,
                ) as response,
            ):
                body = await _read(response, max_bytes)
                return Answer(response.status, response.headers, body)
        except Uncertain:
            raise
        except UrlNotAllowed as error:
            raise Rejected(str(error), code="url_not_allowed", raw_code=error.reason) from error
        except Exception as error:  # whatever it is, the callers' contract knows two kinds: surely not sent, or maybe
            what = f"{type(error).__name__} at {_host(url)}"
            if fate.connected:
                raise Uncertain(f"The call may have arrived: {what}.") from error
            raise Unavailable(f"No connection: {what}.") from error

    def _session(self, guarded: bool) -> aiohttp.ClientSession:
        session = self._guarded if guarded else self._plain
        if session is None:
            session = _new_session(GuardedResolver(allow_loopback=self._allow_loopback) if guarded else None)
            if guarded:
                self._guarded = session
            else:
                self._plain = session
        return session


def _new_session(resolver: GuardedResolver | None) -> aiohttp.ClientSession:
    # the guard looks each name up when it connects, so what it let through is never older than the connection
    connector = _Connector(limit=CONNECTIONS_MAX, keepalive_timeout=KEEP_ALIVE_S, resolver=resolver, use_dns_cache=resolver is None)
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        # bodies are small; without compression no answer can grow on its way
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
    )
    # aiohttp repeats GET, PUT and DELETE by itself when a kept connection turns out closed, and offers no public switch
    # (client.py of 3.14, read 2026-11); tests/networks/test_client.py watches that this one still works
    session._retry_connection = False
    return session


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Read the body chunk by chunk, at most `max_bytes`. Raises Uncertain for more."""
    chunks: list[bytes] = []
    length = 0
    while chunk := await response.content.readany():
        length += len(chunk)
        if length > max_bytes:
            response.close()
            raise Uncertain(f"The answer is longer than {max_bytes} bytes.", http_status=response.status)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _host(url: str) -> str:
    try:
        return URL(url).host or "?"
    except ValueError:
        return "?"


def retry_after(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """Read `Retry-After`, in seconds or as an HTTP date (RFC 9110, section 10.2.3), as an instant from `now` on.

    None when it is missing or unreadable. Nobody is believed to want more than a day.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return now + min(timedelta(seconds=int(value)), RETRY_AFTER_LONGEST)
    try:
        instant = parsedate_to_datetime(value)
    except ValueError:
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return min(max(instant, now), now + RETRY_AFTER_LONGEST)
