"""Dynamic registration of applications (RFC 7591): off unless the operator switches it on, and for who holds a key of an agency.

An application belongs to an agency, whose walls its rows stand in. So there is none of nobody: the initial access token of
section 3 is a key (or a session) with `application:manage`.
"""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from api.audited import REGISTRATION, origin_of
from api.body import StrictRoute
from api.dependencies import DB, can
from core.clock import now
from core.db import raw
from core.errors import InvalidInput, Missing
from tenants.applications.clients import client_id
from tenants.applications.schemas import ApplicationCreate, is_redirect_uri
from tenants.applications.service import create_application
from tenants.audit.entries import Entry, pick, record
from tenants.permissions import DELEGABLE, Actor, Permission

router = APIRouter(include_in_schema=False, route_class=StrictRoute)
PUBLIC = "none"
GRANT_TYPES = ("authorization_code", "refresh_token")


def _wish(metadata: Any) -> ApplicationCreate:
    """Read client metadata (section 2). Raises ValueError for what is not taken."""
    if not isinstance(metadata, dict):
        raise ValueError("metadata are an object")
    grants = metadata.get("grant_types", list(GRANT_TYPES))
    known = isinstance(grants, list) and all(one in GRANT_TYPES for one in grants)
    if not known or metadata.get("response_types", ["code"]) != ["code"]:
        raise ValueError("codes and refresh tokens alone")
    scope = metadata.get("scope")
    return ApplicationCreate.model_validate(
        {
            "name": metadata.get("client_name", "Unnamed application"),
            "confidential": metadata.get("token_endpoint_auth_method", "client_secret_basic") != PUBLIC,
            "redirect_uris": metadata.get("redirect_uris", []),
            "scopes": sorted(DELEGABLE) if scope is None else str(scope).split(),
        }
    )


def _refuse(code: str) -> Response:
    return Response(orjson.dumps({"error": code}), status_code=400, media_type="application/json")


@router.post("/oauth/register")
async def register(request: Request, db: DB, actor: Annotated[Actor, can(Permission.APPLICATION_MANAGE)]) -> Response:
    """Register an application in the agency of the key."""
    if not request.app.state.settings.oauth_registration:
        raise Missing
    metadata = await request.json()
    uris = metadata.get("redirect_uris") if isinstance(metadata, dict) else None
    if not isinstance(uris, list) or not uris or not all(isinstance(one, str) and is_redirect_uri(one) for one in uris):
        return _refuse("invalid_redirect_uri")
    try:
        wish = _wish(metadata)
        row, secret = await create_application(db, actor, wish, request.app.state.house.secret, now())
    except (ValidationError, ValueError, InvalidInput):
        return _refuse("invalid_client_metadata")
    entry = Entry("application", row.id, None, after=pick("application", row))
    await record(raw(db), actor.agency_id, REGISTRATION, origin_of(request), entry)
    told: dict[str, Any] = {
        "client_id": client_id(row.agency_id, row.id),
        "client_id_issued_at": int(row.created_at.timestamp()),
        "client_name": row.name,
        "redirect_uris": row.redirect_uris,
        "grant_types": list(GRANT_TYPES),
        "response_types": ["code"],
        "scope": " ".join(row.scopes),
        "token_endpoint_auth_method": "client_secret_basic" if row.confidential else PUBLIC,
    }
    if secret is not None:
        told |= {"client_secret": secret, "client_secret_expires_at": 0}
    return Response(orjson.dumps(told), status_code=201, media_type="application/json")
