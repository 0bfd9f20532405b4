"""What routes ask for: the transaction, the caller with one permission, and the idempotency of a write.

A caller shows an API key, or a token of an application, or is signed in by a cookie (api/signed_in.py); each names an agency,
and comes to be an `Actor`.
Three ways to a transaction, each stamped with that agency before anything is read:

    DB + can(...)            a SQLModel session for the whole request: the usual case
    Bare + can_bare(...)     an asyncpg connection for the whole request: posts and publications, whose statements are bare
    can_apart(...)           authenticates in a short transaction of its own: for routes that wait for a network or an upload,
                             and again in the one that writes (`Apart.begin`)

A dependency asks for others by calling them: what it needs stands in the request once it is there. FastAPI would walk the
whole tree of declared ones anew at each mention (sixteen walks for a post, a tenth of its time).
"""

from functools import partial
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, Header, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from sqlmodel.ext.asyncio.session import AsyncSession

from api import signed_in
from api.body import StrictRequest
from api.idempotency import Apart, Idempotency, lockable
from api.rate_limits import RateLimits
from core.clock import now
from core.db import Database, Tenant, raw, restamp
from core.errors import PermissionDenied, Unauthenticated
from tenants.agencies.keys import PresentedKey, authenticate, authenticate_and_lock, read_key
from tenants.applications.tokens import ACCESS, EMBED, PresentedToken, admit_token, read_token
from tenants.people.members import PresentedMember, admit_member, find_again, require_own_word
from tenants.people.sessions import require_recent
from tenants.permissions import Actor, Permission

LASTING = frozenset({
    Permission.KEY_MANAGE, Permission.APPLICATION_MANAGE, Permission.MEMBER_ASSIGN, Permission.MEMBER_MANAGE,
    Permission.ROLE_MANAGE, Permission.SIGN_ON_MANAGE, Permission.AGENCY_TRANSFER,
})  # fmt: skip
"""What is made or changed by these outlives the session, and opens more than a look."""
MAKING = frozenset({"POST", "PUT", "PATCH"})
"""What is taken away is not asked about: it opens nothing."""
FRESH = frozenset({Permission.SIGN_ON_MANAGE, Permission.AGENCY_TRANSFER})
"""Who does this decides who the members are, or who owns them all."""


async def presented_key(request: StrictRequest) -> PresentedKey | PresentedToken | PresentedMember:
    """Read the key or token from the Authorization header, and count the request; or find whose cookie it is.

    Raises Unauthenticated, TooManyRequests.
    """
    if request.key is None and signed_in.has_session(request):
        request.key = await signed_in.presented_member(request)
    if request.key is None:
        if "authorization" not in request.headers:  # any page of another site can make a browser send such a request
            raise Unauthenticated
        limits: RateLimits = request.app.state.rate_limits
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        try:
            if kind.lower() != "bearer":
                raise Unauthenticated
            value = value.strip()
            is_token = value.startswith((ACCESS, EMBED))
            key = read_token(request.app.state.house.secret, value) if is_token else read_key(value)
        except Unauthenticated:
            limits.refuse(request.scope)
            raise
        limits.enter(request.scope, key)
        request.key = key
    return request.key


async def session(request: StrictRequest) -> AsyncSession:
    """Begin the request's one stamped transaction, or give the one that it has; it commits before the answer is sent."""
    if request.opened_session is None:
        tenant = Tenant((await presented_key(request)).agency_id)
        database: Database = request.app.state.database
        request.opened_session = await request.ends.enter_async_context(database.session(tenant))
    return request.opened_session


async def bare(request: StrictRequest) -> asyncpg.Connection:
    """Do the same on the bare pool."""
    if request.opened_bare is None:
        tenant = Tenant((await presented_key(request)).agency_id)
        database: Database = request.app.state.database
        request.opened_bare = await request.ends.enter_async_context(database.connection(tenant))
    return request.opened_bare


DB = Annotated[AsyncSession, Depends(session)]
Bare = Annotated[asyncpg.Connection, Depends(bare)]


async def _admit(request: StrictRequest, db: asyncpg.Connection, scopes: SecurityScopes, lock: str | None = None) -> Actor:
    limits: RateLimits = request.app.state.rate_limits
    key = await presented_key(request)
    try:
        if not isinstance(key, PresentedKey):
            (wanted,) = scopes.scopes
            workspace_id = signed_in.named("workspace", request.path_params.get("workspace_id"))
            if isinstance(key, PresentedToken):
                actor = await admit_token(db, key, Permission(wanted), workspace_id)
                _require_scope(actor, Permission(wanted))
            else:
                actor = await admit_member(db, key, Permission(wanted), workspace_id)
                if request.method in MAKING:
                    await _require_in_person(db, key, actor, Permission(wanted))
        elif lock is None:
            actor = await authenticate(db, key)
        else:
            actor, request.looked = await authenticate_and_lock(db, key, lock)
    except Unauthenticated:
        limits.refuse(request.scope, key)
        raise
    limits.admit(request.scope, key)
    if actor.workspace_ids is not None:
        await restamp(db, actor.tenant)
    for scope in scopes.scopes:
        actor.require(Permission(scope))
    request.state.actor = actor
    return actor


async def _require_in_person(db: asyncpg.Connection, key: PresentedMember, actor: Actor, wanted: Permission) -> None:
    """Ask more of a session that makes what outlives it. Raises SessionBound, ReauthenticationRequired."""
    if wanted in LASTING and actor.may(wanted):
        await require_own_word(db, key.signed_in, actor.member_id)
    if wanted in FRESH and actor.may(wanted):
        require_recent(key.signed_in, now())


def require_fresh(request: StrictRequest) -> None:
    """Refuse a session that has not shown for a while who it is; a key shows it each time. Raises ReauthenticationRequired."""
    if isinstance(request.key, PresentedMember):
        require_recent(request.key.signed_in, now())


def _require_scope(actor: Actor, wanted: Permission) -> None:
    """Refuse as RFC 6750 section 3.1 has it, so that an application knows what to ask for."""
    try:
        actor.require(wanted)
    except PermissionDenied as problem:
        problem.headers["WWW-Authenticate"] = f'Bearer realm="octavo", error="insufficient_scope", scope="{wanted.value}"'
        raise


class ApiKey(SecurityBase):
    """The scheme as the document has it (which adds the cookie). What is called is the caller of one kind of transaction."""

    def __init__(self) -> None:
        self.model = HTTPBearer()
        self.scheme_name = "ApiKey"


class _OnSession(ApiKey):
    async def __call__(self, scopes: SecurityScopes, request: StrictRequest) -> Actor:
        return await _admit(request, raw(await session(request)), scopes, lockable(request))


class _OnBare(ApiKey):
    async def __call__(self, scopes: SecurityScopes, request: StrictRequest) -> Actor:
        return await _admit(request, await bare(request), scopes, lockable(request))


class _Apart(ApiKey):
    async def __call__(self, scopes: SecurityScopes, request: StrictRequest) -> Actor:
        request.asked = scopes
        tenant = Tenant((await presented_key(request)).agency_id)
        async with request.app.state.database.connection(tenant) as db:
            return await _admit(request, db, scopes)


async def _admit_again(request: StrictRequest, db: asyncpg.Connection) -> Actor:
    """Ask anew, in the transaction that writes, who calls: whoever has been removed meanwhile writes nothing.

    Raises what a new request would meet.
    """
    assert request.asked is not None
    key = await presented_key(request)
    await restamp(db, Tenant(key.agency_id))
    if isinstance(key, PresentedMember):
        try:
            request.key = await find_again(db, key, now())
        except Unauthenticated:
            request.app.state.rate_limits.refuse(request.scope, key)
            raise
    actor = await _admit(request, db, request.asked)
    workspace_id = signed_in.named("workspace", request.path_params.get("workspace_id"))
    if workspace_id is not None:
        actor.see(workspace_id)
    return actor


_on_session, _on_bare, _apart = _OnSession(), _OnBare(), _Apart()


def can(permission: Permission) -> Any:
    """The caller, who holds `permission`, on the request's session."""
    return Security(_on_session, scopes=[permission.value])


def can_bare(permission: Permission) -> Any:
    """The caller, who holds `permission`, on the request's bare connection."""
    return Security(_on_bare, scopes=[permission.value])


def can_apart(permission: Permission) -> Any:
    """The caller, who holds `permission`; no transaction stays open."""
    return Security(_apart, scopes=[permission.value])


_DeclaredKey = Annotated[str | None, Header(alias="Idempotency-Key")]
"""For the document; `Idempotency` reads the header itself."""


async def _idempotency(request: StrictRequest, _: _DeclaredKey = None) -> Idempotency:
    return await _begun(request, raw(await session(request)))


async def _idempotency_bare(request: StrictRequest, _: _DeclaredKey = None) -> Idempotency:
    return await _begun(request, await bare(request))


async def _begun(request: StrictRequest, db: asyncpg.Connection) -> Idempotency:
    idempotency = Idempotency(request, (await presented_key(request)).agency_id, db)
    await idempotency.begin(looked=request.looked)
    return idempotency


async def _idempotency_apart(request: StrictRequest, _: _DeclaredKey = None) -> Apart:
    return Apart(request, (await presented_key(request)).agency_id, partial(_admit_again, request))


Idem = Annotated[Idempotency, Depends(_idempotency)]
IdemBare = Annotated[Idempotency, Depends(_idempotency_bare)]
IdemApart = Annotated[Apart, Depends(_idempotency_apart)]
