"""What clients read before they call: metadata of the authorization server and of this API, and the public keys."""

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from core.clock import now
from core.signing import ALGORITHM, public_keys
from tenants.applications.authority import METHODS, WITH_SECRET
from tenants.permissions import DELEGABLE

router = APIRouter(include_in_schema=False)
KEPT = "public, max-age=300"
"""A new key is published a month before it signs; a changed setting shows in minutes."""


def metadata(issuer: str, *, registration: bool) -> dict[str, Any]:
    """Describe the authorization server (RFC 8414 section 2)."""
    told = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "pushed_authorization_request_endpoint": f"{issuer}/oauth/par",
        "require_pushed_authorization_requests": False,
        "jwks_uri": f"{issuer}/oauth/jwks",
        "scopes_supported": sorted(DELEGABLE),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": METHODS,
        "revocation_endpoint_auth_methods_supported": METHODS,
        "introspection_endpoint_auth_methods_supported": WITH_SECRET,
        "introspection_signing_alg_values_supported": [ALGORITHM],
        "authorization_response_iss_parameter_supported": True,
        "authorization_details_types_supported": ["workspace"],
        "service_documentation": f"{issuer}/docs/guides/third-party-apps",
    }
    return told | ({"registration_endpoint": f"{issuer}/oauth/register"} if registration else {})


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json", headers={"Cache-Control": KEPT})


@router.get("/.well-known/oauth-authorization-server")
async def authorization_server(request: Request) -> Response:
    """Tell where everything is."""
    return _json(metadata(request.app.state.house.public_url, registration=request.app.state.settings.oauth_registration))


@router.get("/.well-known/oauth-protected-resource")
async def protected_resource(request: Request) -> Response:
    """Tell which authorization server this API listens to (RFC 9728)."""
    issuer = request.app.state.house.public_url
    return _json(
        {
            "resource": issuer,
            "authorization_servers": [issuer],
            "scopes_supported": sorted(DELEGABLE),
            "bearer_methods_supported": ["header"],
            "resource_name": "Octavo API",
            "resource_documentation": f"{issuer}/docs",
        }
    )


@router.get("/oauth/jwks")
async def jwks(request: Request) -> Response:
    """Publish the keys by which introspections are signed. Tokens are opaque, and signed by none."""
    return _json(dict(public_keys(request.app.state.house.secret, now())))
