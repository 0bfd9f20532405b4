"""What an application asks a person for: read, proven, and pushed before (RFC 9126).

A request that is not right ends at a page; its redirect URI is known there only when application and URI are proven.
"""

import secrets
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID

import orjson
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import UnsupportedResponseTypeError
from sqlmodel.ext.asyncio.session import AsyncSession

from core.credentials import hash_credential
from core.db import raw
from core.ids import new_id
from tenants.applications.authority import Asked, Authority, Pairs, served
from tenants.applications.clients import Found, find_client

URN = "urn:ietf:params:oauth:request_uri:"
PUSHED_LIVES = timedelta(seconds=600)
"""As long as a person may take to sign in, read and decide: it is looked at again then (RFC 9126 section 2.2: 5 to 600 seconds)."""
KEPT = ("response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method", "resource",
        "response_mode")  # fmt: skip
"""What is looked at of a request, and so what is stored of one that is pushed: no secret of the application's is among it."""
PUSH = """
insert into pushed_requests (agency_id, id, application_id, hash, parameters, expires_at) values ($1, $2, $3, $4, $5::jsonb, $6)
"""
PULL = """
select parameters::text from pushed_requests where agency_id = $1 and application_id = $2 and hash = $3 and expires_at > $4
"""
SPEND = "delete from pushed_requests where agency_id = $1 and application_id = $2 and hash = $3 and expires_at > $4 returning id"


@dataclass(frozen=True, slots=True)
class Wish:
    """A request that is right: who asks, for what, and where the answer goes."""

    client: Found
    scopes: tuple[str, ...]
    redirect_uri: str
    state: str | None
    pairs: Pairs
    """As it is shown to the protocol again, when the person has said yes."""
    pushed: bytes | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is not right: the code and the words for who made it, and where it came from; None: that is not proven."""

    error: str
    reason: str
    redirect_uri: str | None = None
    state: str | None = None


def answered(redirect_uri: str, issuer: str, state: str | None, **more: str) -> str:
    """Write the address of an answer, with the issuer in it: so that an application takes it for nobody else's (RFC 9207)."""
    parts = urlsplit(redirect_uri)
    query = parse_qsl(parts.query, keep_blank_values=True) + list(more.items())
    query += ([] if state is None else [("state", state)]) + [("iss", issuer)]
    return urlunsplit(parts._replace(query=urlencode(query)))


async def look_at(session: AsyncSession, pepper: str, issuer: str, pairs: Pairs, now: datetime) -> Wish | Refusal:
    """Read a request, also one that was pushed."""
    names = Counter(name for name, _ in pairs)
    values = dict(pairs)
    if any(count > 1 for name, count in names.items() if name in KEPT or name == "request_uri"):
        return Refusal("invalid_request", "A parameter stands in it more than once.")
    if "request" in values:
        return Refusal("request_not_supported", "Requests are not taken as a JWT: push them (RFC 9126).")
    pushed = None
    if "request_uri" in values:
        found = await _pull(session, pepper, values, now)
        if found is None:
            return Refusal("invalid_request_uri", "There is no such pushed request any more: it was answered, or it is too old.")
        values, pushed = found
    kept = [(name, values[name]) for name in KEPT if name in values]
    seen = await served(session, pepper, issuer, now, lambda server: _validate(server, kept))
    if isinstance(seen, Refusal):
        return seen
    if values.get("response_mode", "query") != "query":
        return Refusal("invalid_request", "The response_mode is query.", seen.redirect_uri, seen.state)
    if values.get("resource", issuer).rstrip("/") not in {issuer, f"{issuer}/v1"}:
        return Refusal("invalid_target", f"The resource is {issuer}/v1.", seen.redirect_uri, seen.state)
    return Wish(seen.client, seen.scopes, seen.redirect_uri, seen.state, kept, pushed)


def _validate(server: Authority, pairs: Pairs) -> Wish | Refusal:
    asked = Asked("GET", pairs)
    try:
        grant = server.get_consent_grant(asked)
    except OAuth2Error as error:
        if not error.redirect_uri:  # nor is what was given repeated, as Authlib would
            return Refusal(error.error, "The client_id, or the redirect_uri, is no known one: both are compared letter by letter.")
        said = error.get_error_description() or ""
        reason = "The response_type is code." if isinstance(error, UnsupportedResponseTypeError) else said
        return Refusal(error.error, reason, error.redirect_uri, asked.payload.state)
    except ValueError:  # Authlib would repeat the input in its answer, and input of this kind cannot stand there
        return Refusal("invalid_request", "A parameter has characters that none of its values has.")
    return Wish(grant.request.client.found, tuple(asked.scope.split()), grant.redirect_uri, asked.payload.state, pairs)


async def push(session: AsyncSession, pepper: str, client: Found, pairs: Pairs, now: datetime) -> str:
    """Keep a request, under the application's own stamp. Returns its `request_uri`."""
    text = secrets.token_urlsafe(32)
    values = orjson.dumps({name: value for name, value in pairs if name in KEPT}).decode()
    ends = now + PUSHED_LIVES
    await raw(session).execute(PUSH, client.agency_id, new_id(), client.id, hash_credential(pepper, text), values, ends)
    return URN + text


async def _pull(
    session: AsyncSession, pepper: str, values: dict[str, str], now: datetime
) -> tuple[dict[str, str], bytes] | None:  # fmt: skip
    db, uri = raw(session), values["request_uri"]
    client = await find_client(db, values.get("client_id", ""))
    if client is None or not uri.startswith(URN):
        return None
    hash = hash_credential(pepper, uri.removeprefix(URN))
    stored = await db.fetchval(PULL, client.agency_id, client.id, hash, now)
    return None if stored is None else (orjson.loads(stored), hash)


async def spend(session: AsyncSession, client: Found, pushed: bytes, now: datetime) -> bool:
    """Take a pushed request away when it is answered. False where somebody has answered it before."""
    id: UUID | None = await raw(session).fetchval(SPEND, client.agency_id, client.id, pushed, now)
    return id is not None
