"""What routes ask for: the transaction, the caller with one permission, and the idempotency of a write.

Three ways to a transaction, each stamped from the key before anything is read:

    DB + can(...)            a SQLModel session for the whole request: the usual case
    Bare + can_bare(...)     an asyncpg connection for the whole request: posts and publications, whose statements are bare
    can_apart(...)           authenticates in a short transaction of its own: for routes that wait for a network or an upload
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes
from sqlmodel.ext.asyncio.session import AsyncSession

from api.idempotency import Apart, Idempotency
from api.rate_limits import RateLimits
from core.db import Tenant, raw, restamp
from core.errors import Unauthenticated
from tenants.agencies.keys import PresentedKey, authenticate, read_key
from tenants.permissions import Actor, Permission

scheme = HTTPBearer(scheme_name="ApiKey", auto_error=False)


async def presented_key(request: Request) -> PresentedKey:
    """Read the key from the Authorization header, and count the request. Raises Unauthenticated, TooManyRequests."""
    limits: RateLimits = request.app.state.rate_limits
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    try:
        if kind.lower() != "bearer":
            raise Unauthenticated
        key = read_key(value.strip())
    except Unauthenticated:
        await limits.refuse(request.scope)
        raise
    await limits.enter(request.scope, key)
    return key


Key = Annotated[PresentedKey, Depends(presented_key)]


async def session(request: Request, key: Key) -> AsyncIterator[AsyncSession]:
    """One stamped transaction for the request; it commits before the answer is sent."""
    async with request.app.state.database.session(Tenant(key.agency_id)) as opened:
        yield opened


async def bare(request: Request, key: Key) -> AsyncIterator[asyncpg.Connection]:
    """The same on the bare pool."""
    async with request.app.state.database.connection(Tenant(key.agency_id)) as opened:
        yield opened


DB = Annotated[AsyncSession, Depends(session, scope="function")]
Bare = Annotated[asyncpg.Connection, Depends(bare, scope="function")]
_Documented = Annotated[Any, Depends(scheme)]


async def _admit(request: Request, db: asyncpg.Connection, key: PresentedKey, scopes: SecurityScopes) -> Actor:
    limits: RateLimits = request.app.state.rate_limits
    try:
        actor = await authenticate(db, key)
    except Unauthenticated:
        await limits.refuse(request.scope, key)
        raise
    await limits.admit(request.scope, key)
    if actor.workspace_ids is not None:
        await restamp(db, actor.tenant)
    for scope in scopes.scopes:
        actor.require(Permission(scope))
    request.state.actor = actor
    return actor


async def _actor(scopes: SecurityScopes, request: Request, key: Key, db: DB, _: _Documented) -> Actor:
    return await _admit(request, raw(db), key, scopes)


async def _actor_bare(scopes: SecurityScopes, request: Request, key: Key, db: Bare, _: _Documented) -> Actor:
    return await _admit(request, db, key, scopes)


async def _actor_apart(scopes: SecurityScopes, request: Request, key: Key, _: _Documented) -> Actor:
    async with request.app.state.database.connection(Tenant(key.agency_id)) as db:
        return await _admit(request, db, key, scopes)


def can(permission: Permission) -> Any:
    """The caller, who holds `permission`, on the request's session."""
    return Security(_actor, scopes=[permission.value])


def can_bare(permission: Permission) -> Any:
    """The caller, who holds `permission`, on the request's bare connection."""
    return Security(_actor_bare, scopes=[permission.value])


def can_apart(permission: Permission) -> Any:
    """The caller, who holds `permission`; no transaction stays open."""
    return Security(_actor_apart, scopes=[permission.value])


_DeclaredKey = Annotated[str | None, Header(alias="Idempotency-Key")]
"""For the document; `Idempotency` reads the header itself."""


async def _idempotency(request: Request, key: Key, db: DB, _: _DeclaredKey = None) -> Idempotency:
    idempotency = Idempotency(request, key.agency_id, raw(db))
    await idempotency.begin()
    return idempotency


async def _idempotency_bare(request: Request, key: Key, db: Bare, _: _DeclaredKey = None) -> Idempotency:
    idempotency = Idempotency(request, key.agency_id, db)
    await idempotency.begin()
    return idempotency


async def _idempotency_apart(request: Request, key: Key, _: _DeclaredKey = None) -> Apart:
    return Apart(request, key.agency_id)


Idem = Annotated[Idempotency, Depends(_idempotency)]
IdemBare = Annotated[Idempotency, Depends(_idempotency_bare)]
IdemApart = Annotated[Apart, Depends(_idempotency_apart)]
