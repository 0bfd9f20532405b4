"""The redirect kind of connecting, for every network that speaks OAuth 2.0: authorization code with PKCE S256.

Two steps without state of their own: `authorize_url` begins, `exchange_code` ends. What lies between them (the state,
the verifier, the person) is the caller's.
"""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

import orjson

from core import clock
from networks.base import Authorization, Forbidden, RateLimited, Rejected, Unauthorized, Uncertain
from networks.client import Answer, Client, retry_after

VERIFIER_BYTES = 48
"""64 characters of base64url; RFC 7636 asks for 43 to 128."""
DEADLINE_S = 10.0
CLIENT_ERRORS = frozenset({"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"})
"""Codes of RFC 6749, section 5.2, that our own registration causes, and no person can mend by trying again."""


@dataclass(frozen=True, slots=True)
class OAuthServer:
    """An authorization server and our registration at it. `issuer` is checked wherever the server names itself."""

    authorize_url: str
    token_url: str
    userinfo_url: str
    client_id: str
    client_secret: str = field(repr=False)
    issuer: str | None = None
    guarded: bool = False
    """Its addresses came from outside."""


def authorize_url(server: OAuthServer, redirect_uri: str, state: str, scope: str) -> Authorization:
    """Build the address that a person is sent to, with a fresh PKCE verifier. Pure but for the randomness."""
    # Here, because it is 25 ms of every process's start, and a person is sent to few networks.
    from authlib.common.urls import add_params_to_uri
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    verifier = secrets.token_urlsafe(VERIFIER_BYTES)
    parameters = [
        ("response_type", "code"),
        ("client_id", server.client_id),
        ("redirect_uri", redirect_uri),
        ("scope", scope),
        ("state", state),
        ("code_challenge", create_s256_code_challenge(verifier)),
        ("code_challenge_method", "S256"),
    ]
    url: str = add_params_to_uri(server.authorize_url, parameters)
    return Authorization(url=url, code_verifier=verifier)


async def exchange_code(client: Client, server: OAuthServer, *, redirect_uri: str, code: str, code_verifier: str) -> dict[str, Any]:
    """Exchange the code at the token endpoint (client_secret_basic). Returns the token answer, checked.

    Raises Unauthorized for a code that is not valid (any more), Forbidden when the server does not take our
    registration, and what `Client.request` raises.
    """
    answer = await client.request(
        "POST",
        server.token_url,
        headers={"Authorization": basic_authorization(server), "Accept": "application/json"},
        form={
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": code_verifier,
        },
        deadline_s=DEADLINE_S,
        guarded=server.guarded,
    )
    body = read_object(answer)
    if answer.status != 200:
        raise_token_error(answer, body)
    token = body.get("access_token")
    if not isinstance(token, str) or not token or str(body.get("token_type", "")).lower() != "bearer":
        raise Uncertain("The authorisation server gave an answer that cannot be read.", http_status=answer.status)
    if "id_token" in body:
        _check_claims(server, id_claims(body["id_token"]))
    return body


async def read_userinfo(client: Client, server: OAuthServer, token: Mapping[str, Any]) -> dict[str, Any]:
    """Ask who the person is. The subject must be the one that the id token names, if there is one."""
    answer = await client.request(
        "GET",
        server.userinfo_url,
        headers={"Authorization": f"Bearer {token['access_token']}", "Accept": "application/json"},
        deadline_s=DEADLINE_S,
        guarded=server.guarded,
    )
    body = read_object(answer)
    if answer.status != 200:
        raise_token_error(answer, body)
    subject = body.get("sub")
    if not isinstance(subject, str) or not subject:
        raise Uncertain("The authorisation server does not say who the person is.", http_status=answer.status)
    if "id_token" in token and id_claims(token["id_token"]).get("sub") != subject:
        raise Unauthorized("The authorisation server names two different persons.")
    return body


def basic_authorization(server: OAuthServer) -> str:
    """Write the client's credentials as RFC 6749, section 2.3.1, asks: both parts form-encoded first."""
    pair = f"{quote(server.client_id, safe='')}:{quote(server.client_secret, safe='')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def check_issuer(server: OAuthServer, issuer: str | None) -> None:
    """Check the `iss` of a callback (RFC 9207) or an id token. Raises Unauthorized for another server's."""
    if server.issuer is not None and issuer is not None and issuer != server.issuer:
        raise Unauthorized("The answer comes from another authorisation server.")


def id_claims(id_token: Any) -> dict[str, Any]:
    """Read the claims of an id token that came straight from the token endpoint.

    OpenID Connect Core 3.1.3.7 lets TLS to that endpoint stand for the signature; nothing else may be read this way.
    """
    try:
        payload = str(id_token).split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        claims = None
    if not isinstance(claims, dict):
        raise Uncertain("The authorisation server gave an id token that cannot be read.")
    return claims


def _check_claims(server: OAuthServer, claims: Mapping[str, Any]) -> None:
    audience = claims.get("aud")
    if server.client_id not in (audience if isinstance(audience, list) else [audience]):
        raise Unauthorized("The authorisation was given to another application.")
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not urlsplit(issuer).hostname:
        raise Unauthorized("The authorisation server does not name itself.")
    check_issuer(server, issuer)


def read_object(answer: Answer) -> dict[str, Any]:
    """Read a body as a JSON object; anything else is an empty one."""
    try:
        body = orjson.loads(answer.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def raise_token_error(answer: Answer, body: Mapping[str, Any]) -> NoReturn:
    """Raise what an error of a token or userinfo endpoint means (RFC 6749, section 5.2)."""
    status, code = answer.status, body.get("error")
    known = code if isinstance(code, str) and len(code) <= 64 and code.isascii() else None
    if status == 429:
        until = retry_after(answer.headers, clock.now())
        raise RateLimited("The authorisation server asks to wait.", until=until, raw_code=known, http_status=status)
    if known in CLIENT_ERRORS:
        raise Forbidden("The authorisation server does not take our registration.", raw_code=known, http_status=status)
    if status == 401 or known in {"invalid_grant", "access_denied", "invalid_token"}:
        raise Unauthorized("The authorisation is not valid.", raw_code=known, http_status=status)
    if 400 <= status < 500:
        raise Rejected("The authorisation server refused the request.", raw_code=known, http_status=status)
    raise Uncertain("The authorisation server failed.", raw_code=known, http_status=status)
