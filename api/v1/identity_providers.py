"""Identity providers of the agency, by which its members sign in; and signing in by one."""

from typing import Annotated, Any

from fastapi import Request, Response

from api import signing_on
from api.dependencies import DB, Idem, can
from api.pages.people.errands import set_errand
from api.pages.people.frame import own_path
from api.routing import v1
from api.signed_in import refuse_other_sites
from core.clock import now
from core.ids import encode
from core.wire import IdentityProviderId
from tenants.audit.entries import Entry, pick
from tenants.permissions import Actor, Permission
from tenants.sign_on import providers
from tenants.sign_on.schemas import (
    IdentityProviderCreate,
    IdentityProviderList,
    IdentityProviderRead,
    IdentityProviderUpdate,
    SignOnCreate,
    SignOnCreated,
)

router = v1("People")
ONE = "/identity-providers/{identity_provider_id}"
UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "The agency has no such provider"}}


@router.post("/identity-providers", status_code=201, response_model=IdentityProviderRead, summary="Set an identity provider")
async def create_identity_provider(
    db: DB, actor: Annotated[Actor, can(Permission.SIGN_ON_MANAGE)], idem: Idem, body: IdentityProviderCreate, request: Request
) -> Response:  # fmt: skip
    """Let members sign in by an OpenID provider. Only a person can: no key, whatever it holds.

    It signs in members whose roles hold no more than those of whoever set it, and opens this agency alone.
    """
    state = request.app.state
    loopback = state.settings.egress_allow_loopback
    row = await providers.create_provider(db, state.ring, actor, body, now(), loopback=loopback)
    read = providers.read_provider(row, state.settings.public_url)
    entry = Entry("identity_provider", row.id, None, after=pick("identity_provider", row))
    return await idem.respond(read, entry, status=201, location=f"/v1/identity-providers/{encode('idp', row.id)}")


@router.get("/identity-providers", response_model=IdentityProviderList, summary="List identity providers")
async def list_identity_providers(
    db: DB, actor: Annotated[Actor, can(Permission.SIGN_ON_MANAGE)], request: Request
) -> IdentityProviderList:  # fmt: skip
    """The providers by which members sign in, newest first, without their secrets."""
    url = request.app.state.settings.public_url
    rows = await providers.list_providers(db, actor)
    return IdentityProviderList(data=[providers.read_provider(row, url) for row in rows], next_cursor=None)


@router.get(ONE, response_model=IdentityProviderRead, summary="Get an identity provider")
async def get_identity_provider(
    identity_provider_id: IdentityProviderId, db: DB, actor: Annotated[Actor, can(Permission.SIGN_ON_MANAGE)], request: Request
) -> IdentityProviderRead:  # fmt: skip
    """One provider, without its secret."""
    row = await providers.find_provider(db, actor, identity_provider_id)
    return providers.read_provider(row, request.app.state.settings.public_url)


@router.patch(ONE, response_model=IdentityProviderRead, summary="Change an identity provider")
async def update_identity_provider(
    identity_provider_id: IdentityProviderId, db: DB, actor: Annotated[Actor, can(Permission.SIGN_ON_MANAGE)], idem: Idem,
    body: IdentityProviderUpdate, request: Request,
) -> Response:  # fmt: skip
    """Change name, domains, client id or secret. In person, and for who holds no less than whoever set it.

    The issuer stays, so everybody is known by it as before, and sessions that it began go on. What changes holds for whoever signs
    in from this answer on.
    """
    row = await providers.lock_provider(db, actor, identity_provider_id)
    before = pick("identity_provider", row)
    await providers.update_provider(db, request.app.state.ring, actor, row, body)
    after = pick("identity_provider", row) | ({"client_secret_replaced": True} if body.client_secret is not None else {})
    read = providers.read_provider(row, request.app.state.settings.public_url)
    return await idem.respond(read, Entry("identity_provider", row.id, None, before, after))


@router.delete(ONE, status_code=204, summary="Take an identity provider away")
async def delete_identity_provider(
    identity_provider_id: IdentityProviderId, db: DB, actor: Annotated[Actor, can(Permission.SIGN_ON_MANAGE)], idem: Idem
) -> Response:  # fmt: skip
    """Take a provider away. Every session that it began opens nothing from this answer on."""
    row = await providers.delete_provider(db, actor, identity_provider_id)
    entry = Entry("identity_provider", row.id, None, pick("identity_provider", row))
    return await idem.respond(None, entry, status=204)


@router.post(
    "/sign-ons", status_code=201, response_model=SignOnCreated, responses=UNKNOWN, summary="Sign in by an identity provider"
)
async def begin_sign_on(request: Request, response: Response, body: SignOnCreate) -> SignOnCreated:
    """Begin: send the person to `authorize_url` within ten minutes, in the browser that got this answer's cookie.

    It comes back with a session in its cookie that opens this agency and nothing else.
    """
    refuse_other_sites(request, proof=False)
    away = await signing_on.begin(request, body.agency_id, body.identity_provider_id, own_path(body.onward))
    set_errand(request, response, signing_on.ERRAND, away.browser)
    return SignOnCreated(authorize_url=away.url, expires_at=away.expires_at)
