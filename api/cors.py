"""Calls from pages of other origins (the CORS protocol of the Fetch standard, read 2026-11): closed, but for registered ones.

Who is not registered gets the answer of everybody, and his browser keeps it from his page. Cookies are never allowed: the
key travels in a header.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Scope

PATHS = ("/v1/", "/oauth/token", "/oauth/revoke", "/.well-known/oauth-")
"""The contract for programs, and what an application in a page needs for its token. Pages for people are no business of scripts."""
METHODS = "GET, HEAD, POST, PATCH, DELETE"
TAKEN = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Octavo-Version, Traceparent"
SHOWN = (
    "Request-Id, RateLimit, RateLimit-Policy, Retry-After, ETag, Location, Link, Idempotent-Replayed, Deprecation, Sunset, "
    "WWW-Authenticate"
)
MAX_AGE_S = 7_200
"""Chromium keeps a preflight no longer (services/network/public/cpp/cors/preflight_result.cc)."""


def origin_of(scope: Scope, origins: frozenset[str]) -> str | None:
    """The origin of the page that calls, if it is registered."""
    origin = Headers(scope=scope).get("origin") if origins and scope["path"].startswith(PATHS) else None
    return origin if origin in origins else None


def is_preflight(scope: Scope) -> bool:
    """Say whether a browser asks for leave before the request itself."""
    return scope["method"] == "OPTIONS" and "access-control-request-method" in Headers(scope=scope)


def preflight() -> dict[str, str]:
    """What a registered origin may send."""
    return {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": TAKEN,
        "Access-Control-Max-Age": str(MAX_AGE_S),
        "Vary": "Access-Control-Request-Method, Access-Control-Request-Headers",
    }


def admit(headers: MutableHeaders, origin: str | None) -> None:
    """Let the page of a registered origin read the answer; say to caches that the answer depends on who asks."""
    headers.add_vary_header("Origin")
    if origin is not None:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = SHOWN
