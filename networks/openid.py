"""OpenID providers that agencies name: discovery, leaving for one, and who came back (OpenID Connect Core 1.0, Discovery 1.0).

Every address that a provider names comes from outside, so each call goes through the guard. Nothing is kept between calls.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from networks.base import Authorization, Rejected, Unauthorized, Uncertain
from networks.client import Client
from networks.egress import UrlNotAllowed, check_url
from networks.oauth import DEADLINE_S, OAuthServer, authorize_url, exchange_code, read_object, read_userinfo

DISCOVERY = "/.well-known/openid-configuration"
SCOPE = "openid email"
ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "RS384", "RS512", "PS384", "PS512", "Ed25519", "EdDSA"]
"""Signatures by a key pair alone: a shared secret, or none, would let others than the provider sign."""
LEEWAY_S = 30
SUBJECT_LENGTH_MAX = 255
"""OpenID Connect Core, section 2."""
KEYS_MAX = 50
"""A provider has a few; reading thousands would hold up the event loop."""
UNREADABLE = "The provider's description of itself cannot be used."


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider as it describes itself, and our registration at it."""

    server: OAuthServer
    issuer: str
    jwks_url: str
    names_itself: bool
    """It says `iss` in each answer (RFC 9207), so one without is not its own."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a provider says about who came."""

    subject: str
    email: str
    email_verified: bool


async def discover(client: Client, issuer: str, client_id: str, client_secret: str, *, allow_loopback: bool = False) -> Provider:
    """Read how a provider is to be used. Raises Rejected for one that names another issuer, and what `Client.request` raises."""
    url = issuer.rstrip("/") + DISCOVERY
    answer = await client.request("GET", url, headers={"Accept": "application/json"}, deadline_s=DEADLINE_S, guarded=True)
    told = read_object(answer)
    if answer.status >= 500:
        raise Uncertain("The provider failed.", http_status=answer.status)
    if answer.status != 200 or told.get("issuer") != issuer:
        raise Rejected(UNREADABLE, http_status=answer.status)
    urls = {name: told.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
    urls["userinfo_endpoint"] = told.get("userinfo_endpoint", issuer)  # it may have none, if its id tokens say it all
    try:
        checked = {name: str(check_url(str(url), allow_loopback=allow_loopback)) for name, url in urls.items()}
    except UrlNotAllowed as error:
        raise Rejected(UNREADABLE) from error
    server = OAuthServer(
        checked["authorization_endpoint"], checked["token_endpoint"], checked["userinfo_endpoint"], client_id, client_secret,
        issuer, guarded=True,
    )  # fmt: skip
    return Provider(server, issuer, checked["jwks_uri"], told.get("authorization_response_iss_parameter_supported") is True)


def leave_for(provider: Provider, redirect_uri: str, state: str, nonce: str) -> Authorization:
    """Build the address that a person is sent to."""
    from authlib.common.urls import add_params_to_uri  # as in `authorize_url`

    begun = authorize_url(provider.server, redirect_uri, state, SCOPE)
    return Authorization(url=add_params_to_uri(begun.url, [("nonce", nonce)]), code_verifier=begun.code_verifier)


def check_answer(provider: Provider, issuer: str | None) -> None:
    """Check the `iss` of a callback (RFC 9207). Raises Unauthorized for another provider's, and a missing one that was promised."""
    if issuer != provider.issuer and (issuer is not None or provider.names_itself):
        raise Unauthorized("The answer comes from another provider.")


async def who_came(
    client: Client, provider: Provider, *, redirect_uri: str, code: str, code_verifier: str, nonce: str, now: datetime
) -> Claims:  # fmt: skip
    """Exchange the code, verify the id token, and read who it is about. Raises Unauthorized for what does not fit."""
    token = await exchange_code(client, provider.server, redirect_uri=redirect_uri, code=code, code_verifier=code_verifier)
    answer = await client.request("GET", provider.jwks_url, deadline_s=DEADLINE_S, guarded=True)
    claims: Mapping[str, Any] = verify(str(token.get("id_token", "")), read_object(answer), provider, nonce, now)
    if "email" not in claims:
        claims = {**await read_userinfo(client, provider.server, token), "sub": claims["sub"]}
    subject, email = claims["sub"], claims.get("email")
    if not isinstance(email, str) or not email.isprintable():
        raise Unauthorized("The provider names no e-mail.")
    if not email.isascii():  # lower() makes the k of another address of the Kelvin sign, and providers differ in what they fold
        raise Unauthorized("The provider names an e-mail with letters beyond ASCII, which are not compared.")
    return Claims(subject, email.strip().lower(), claims.get("email_verified") is True)


def verify(id_token: str, keys: Mapping[str, Any], provider: Provider, nonce: str, now: datetime) -> dict[str, Any]:
    """Check an id token as OpenID Connect Core, section 3.1.3.7, asks, its signature too. Raises Unauthorized."""
    # Here, because it is many milliseconds of every process's start, and few sign in this way.
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    own, held = provider.server.client_id, keys.get("keys")
    if not isinstance(held, list) or len(held) > KEYS_MAX:
        raise Unauthorized("The provider's keys cannot be used.")
    try:
        token = jwt.decode(id_token, KeySet.import_key_set(keys), algorithms=ALGORITHMS)  # type: ignore[arg-type]  # as JSON has it
        registry = jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": provider.issuer},
            aud={"essential": True, "value": own},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        registry.validate(token.claims)
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise Unauthorized("The provider's id token does not hold.") from error
    claims: dict[str, Any] = token.claims
    audience, party = claims["aud"], claims.get("azp")
    if (party is not None and party != own) or (isinstance(audience, list) and len(audience) > 1 and party is None):
        raise Unauthorized("The id token is for another application.")
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_LENGTH_MAX or not subject.isprintable():
        raise Unauthorized("The id token names nobody.")
    return claims
