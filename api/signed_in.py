"""People who are signed in by a cookie: the cookie itself, requests that other sites make a browser send, and who it is.

The cookie is `__Host-sid`: Secure, HttpOnly, SameSite=Lax, for this host alone. In development over plain http, which browsers
give no `__Host-` cookie, it is `sid` without Secure; production has no such way.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Depends, Request, Response
from fastapi.security import APIKeyCookie

from api.rate_limits import RateLimits
from core.clock import now
from core.db import Bare, Person, Row
from core.errors import Missing, PermissionDenied, Unauthenticated
from core.ids import decode
from core.settings import Settings
from core.wire import PREFIXES
from tenants.people.members import PresentedMember, agencies_of, choose_agency
from tenants.people.service import Place
from tenants.people.sessions import (
    ABSOLUTE,
    ACTIVE,
    HALF,
    PresentedSession,
    SecondFactorNeeded,
    SessionBound,
    SignedIn,
    find_session,
    read_session,
    revoke_session,
)
from tenants.people.tries import DEVICE_FOR, Devices

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
AGENCY_HEADER = "octavo-agency"
ADDRESS_LENGTH_MAX = 45
"""Of an IPv6 address that embeds an IPv4 one (INET6_ADDRSTRLEN of POSIX, without its NUL)."""
SESSION, DEVICE = "sid", "device"
scheme = APIKeyCookie(name="__Host-sid", scheme_name="Session", auto_error=False)


class CrossSite(PermissionDenied):
    """Another site made the browser send this, or nothing proves that none did."""

    code = "cross_site_request"


@dataclass(frozen=True, slots=True)
class Own:
    """A person's own request: who it is, and a transaction that sees this person's rows alone."""

    signed_in: SignedIn
    db: Bare


def is_plain(settings: Settings) -> bool:
    """Say whether the cookie goes over plain http: in development, where the API says that it is reached so."""
    return settings.environment == "development" and settings.public_url.startswith("http://")


def own_name(settings: Settings, name: str) -> str:
    """Name a cookie that is of this host alone."""
    return name if is_plain(settings) else f"__Host-{name}"


def give_cookie(response: Response, settings: Settings, name: str, text: str, age: timedelta) -> None:
    """Give the browser a cookie of this host alone, which no script reads. An empty text takes it away."""
    response.set_cookie(
        own_name(settings, name),
        text,
        max_age=int(age.total_seconds()) if text else 0,
        path="/",
        secure=not is_plain(settings),
        httponly=True,
        samesite="lax",
    )


def cookie_name(settings: Settings) -> str:
    """Name the cookie of the session."""
    return own_name(settings, SESSION)


def set_cookie(response: Response, settings: Settings, text: str) -> None:
    """Give the browser its session. An empty text takes it away."""
    give_cookie(response, settings, SESSION, text, ABSOLUTE)


def place_of(request: Request) -> Place:
    """From where a request comes, for who signs in by it."""
    address = request.client.host[:ADDRESS_LENGTH_MAX] if request.client else None
    device = request.cookies.get(own_name(request.app.state.settings, DEVICE), "")
    return Place(address, request.headers.get("user-agent", ""), device)


def remember_device(request: Request, response: Response, user_id: UUID, since: datetime | None) -> None:
    """Let the browser show that this person has signed in with it. It opens nothing (tenants/people/tries.py)."""
    state = request.app.state
    give_cookie(response, state.settings, DEVICE, Devices(state.house.secret).write(user_id, since), DEVICE_FOR)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def refuse_other_sites(request: Request, *, proof: bool) -> None:
    """Refuse what a page of another site made the browser send. With `proof`, silence is refused too.

    Sec-Fetch-Site tells it where a browser sends it (Fetch Metadata, W3C), and Origin otherwise (OWASP's CSRF Prevention Cheat
    Sheet; both read 2026-11). `same-site` is refused as well: what stands on a neighbouring host is not ours.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        right = site == "same-origin"
    elif origin is not None:
        right = origin.lower() == _origin(request.app.state.settings.public_url)
    else:
        right = not proof
    if not right:
        raise CrossSite


def _present(request: Request) -> PresentedSession:
    if request.method not in SAFE:
        refuse_other_sites(request, proof=True)
    return read_session(request.cookies.get(cookie_name(request.app.state.settings), ""))


def _entered(request: Request) -> PresentedSession:
    """Read the cookie, and count one that is none by its address; a request without any shows nothing that one could guess by.

    Raises Unauthenticated, CrossSite, TooManyRequests.
    """
    limits: RateLimits = request.app.state.rate_limits
    try:
        presented = _present(request)
    except Unauthenticated:
        limits.let_strangers(request.scope)
        limits.refuse(request.scope)
        raise
    limits.enter_person(request.scope, presented)
    return presented


def has_session(request: Request) -> bool:
    """Say whether a request comes by cookie. A key in the Authorization header always wins."""
    return "authorization" not in request.headers and cookie_name(request.app.state.settings) in request.cookies


@asynccontextmanager
async def _opened(request: Request, state: str = ACTIVE, *, even_bound: bool = False) -> AsyncIterator[Own]:
    limits: RateLimits = request.app.state.rate_limits
    if not has_session(request):
        raise Unauthenticated
    presented = _entered(request)
    try:
        async with request.app.state.database.connection(Person(presented.user_id)) as db:
            signed_in = await find_session(db, presented, now(), state)
            limits.admit_person(request.scope, presented.hash)
            if signed_in.bound is not None and not even_bound:
                raise SessionBound
            yield Own(signed_in, db)
    except Unauthenticated as error:
        if type(error) is Unauthenticated:
            limits.refuse(request.scope, presented)
        raise


async def own(request: Request, _: Annotated[Any, Depends(scheme)]) -> AsyncIterator[Own]:
    """One transaction of a person's own; it commits before the answer is sent. Raises Unauthenticated, also for keys."""
    async with _opened(request) as opened:
        yield opened


async def own_even_bound(request: Request, _: Annotated[Any, Depends(scheme)]) -> AsyncIterator[Own]:
    """The same for who came by a provider of an agency too: for what such a session may know of itself."""
    async with _opened(request, even_bound=True) as opened:
        yield opened


async def own_apart(request: Request, _: Annotated[Any, Depends(scheme)]) -> SignedIn:
    """Who is signed in, for a route whose transactions are its own: that hashes, or counts what it refuses."""
    async with _opened(request) as opened:
        return opened.signed_in


async def whoever(request: Request) -> SignedIn | None:
    """Who is signed in, if anybody: for a page that is for those who are not as well."""
    if not has_session(request):
        return None
    try:
        async with _opened(request) as opened:
            return opened.signed_in
    except (Unauthenticated, SessionBound):
        return None


async def waiting(request: Request, _: Annotated[Any, Depends(scheme)]) -> SignedIn:
    """Whose session waits for the second factor. Raises Unauthenticated for a whole one too."""
    async with _opened(request, HALF, even_bound=True) as opened:
        return opened.signed_in


async def perhaps_signed_in(request: Request) -> SignedIn | None:
    """Who is signed in, or half; None: nobody. Counts nothing and refuses nothing."""
    if not has_session(request):
        return None
    for state in (ACTIVE, HALF):
        with suppress(Unauthenticated):
            presented = read_session(request.cookies.get(cookie_name(request.app.state.settings), ""))
            async with request.app.state.database.connection(Person(presented.user_id)) as db:
                found = await find_session(db, presented, now(), state)
                return None if found.bound is not None and state == ACTIVE else found
    return None


async def end_session(request: Request) -> None:
    """End the session that the request comes by, whole or half. Raises Unauthenticated, CrossSite."""
    presented = _present(request)
    async with request.app.state.database.connection(Person(presented.user_id)) as db:
        try:
            signed_in = await find_session(db, presented, now())
        except SecondFactorNeeded:
            signed_in = await find_session(db, presented, now(), HALF)
        await revoke_session(db, signed_in.user_id, signed_in.session_id, now())


async def presented_member(request: Request) -> PresentedMember:
    """Find who is signed in, and in the name of which agency. Raises Unauthenticated, CrossSite, Malformed, Missing."""
    limits: RateLimits = request.app.state.rate_limits
    presented = _entered(request)
    try:
        async with request.app.state.database.connection(Person(presented.user_id)) as db:
            signed_in = await find_session(db, presented, now())
            wanted = request.headers.get(AGENCY_HEADER)
            agency_id = await choose_agency(db, presented.user_id, named("agency", wanted and wanted.strip()), signed_in.bound)
    except (Unauthenticated, Missing):
        limits.refuse(request.scope, presented)
        raise
    return PresentedMember(agency_id, signed_in, presented.hash)


async def person_with_agencies(request: Request) -> tuple[SignedIn, bytes, list[Row]]:
    """Find who is signed in, the hash of the session, and the person's agencies, for a page that asks for which one it is meant.

    Raises Unauthenticated, CrossSite, TooManyRequests.
    """
    limits: RateLimits = request.app.state.rate_limits
    if not has_session(request):
        raise Unauthenticated
    presented = _entered(request)
    try:
        async with request.app.state.database.connection(Person(presented.user_id)) as db:
            signed_in = await find_session(db, presented, now())
            agencies = await agencies_of(db, presented.user_id, signed_in.bound)
    except Unauthenticated:
        limits.refuse(request.scope, presented)
        raise
    limits.admit_person(request.scope, presented.hash)
    return signed_in, presented.hash, agencies


def named(resource: str, text: str | None) -> UUID | None:
    """Read the id by which a request names its agency or workspace, if it does. Raises Missing for what is none."""
    return None if text is None else decoded(resource, text)


def decoded(resource: str, text: str) -> UUID:
    """Read an id that a request names. Raises Missing for what is none."""
    try:
        return decode(PREFIXES[resource], text)
    except ValueError as error:
        raise Missing from error


Signed = Annotated[Own, Depends(own, scope="function")]
SignedEvenBound = Annotated[Own, Depends(own_even_bound, scope="function")]
SignedApart = Annotated[SignedIn, Depends(own_apart)]
Waiting = Annotated[SignedIn, Depends(waiting)]
