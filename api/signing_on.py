"""Single sign-on: leaving for a provider and coming back from one, for the operation of the API and for the pages alike.

Every call to the provider stands between two transactions.
"""

from collections.abc import Awaitable
from datetime import datetime
from typing import NamedTuple, TypeVar
from uuid import UUID

from fastapi import Request

from api.audited import IDENTITY_LINKED, from_where
from api.pages.people.errands import CODE_LENGTH_MAX, ISSUER_LENGTH_MAX, read_errand, read_parameter
from api.rate_limits import RateLimits
from api.signed_in import place_of
from core.clock import now
from core.crypto import SealBroken
from core.db import Person, Tenant
from core.errors import Malformed, Missing, TemporarilyUnavailable
from core.ids import encode
from networks import openid
from networks.base import NetworkError, RateLimited, Refused
from tenants.audit.entries import Entry, record
from tenants.people import service
from tenants.people.service import Begun
from tenants.sign_on import passage
from tenants.sign_on.passage import Known, SignOnInvalid, SignOnRefused
from tenants.sign_on.providers import redirect_uri

ERRAND = "sign_on"
STATE_LENGTH_MAX = 256
Answer = TypeVar("Answer")


class Departure(NamedTuple):
    """Where the person goes, what its browser keeps meanwhile, and until when that is good."""

    url: str
    browser: str
    expires_at: datetime
    name: str


async def _ask(call: Awaitable[Answer]) -> Answer:
    """Wait for a provider, and turn its errors into answers. Raises SignOnRefused, TemporarilyUnavailable."""
    try:
        return await call
    except NetworkError as error:
        if isinstance(error, Refused) and not isinstance(error, RateLimited):
            raise SignOnRefused(error.detail) from error
        raise TemporarilyUnavailable("The provider does not answer.") from error


async def _provider(request: Request, known: Known) -> openid.Provider:
    app = request.app.state
    loopback = app.settings.egress_allow_loopback
    return await _ask(openid.discover(app.client, known.issuer, known.client_id, known.client_secret, allow_loopback=loopback))


async def begin(request: Request, agency_id: UUID, provider_id: UUID, onward: str | None) -> Departure:
    """Prepare to leave for a provider. Raises Missing, SignOnRefused, TemporarilyUnavailable, TooManyRequests."""
    app = request.app.state
    limits: RateLimits = app.rate_limits
    limits.let_strangers(request.scope)
    limits.refuse(request.scope)  # each counts as a wrong key does: it makes us call the provider
    try:
        async with app.database.connection(Tenant(agency_id)) as db:
            known = await passage.find_known(db, app.ring, agency_id, provider_id)
    except SealBroken as error:
        raise SignOnRefused("What the agency stored of its provider cannot be read. The provider must be set anew.") from error
    provider = await _provider(request, known)
    id, left = passage.leave(agency_id)
    away = openid.leave_for(provider, redirect_uri(app.settings.public_url, agency_id), left.state, left.nonce)
    async with app.database.connection(Tenant(agency_id)) as db:
        until = await passage.note_left(db, app.ring, known, id, left, away.code_verifier, onward, now())
    return Departure(away.url, left.browser, until, known.name)


async def finish(request: Request, agency_id: UUID) -> tuple[Begun, str | None]:
    """Sign in who came back to an agency's address. Returns the session, and the path to go on to.

    Raises SignOnInvalid, SignOnRefused, TemporarilyUnavailable, TooManyRequests.
    """
    app = request.app.state
    limits: RateLimits = app.rate_limits
    limits.let_strangers(request.scope)
    try:
        state = passage.read_passage(read_parameter(request, "state", STATE_LENGTH_MAX))
        if state.agency_id != agency_id:
            raise SignOnInvalid
        async with app.database.connection(Tenant(agency_id)) as db:
            back = await passage.spend(db, app.ring, state, read_errand(request, ERRAND), now())
    except (Malformed, Missing, SealBroken) as error:
        limits.refuse(request.scope)
        raise SignOnInvalid from error
    claims = await _who(request, back)
    passage.require_domain(back.provider, claims.email, verified=claims.email_verified)
    async with app.database.connection(Tenant(agency_id)) as db:
        found = await passage.find_member(db, back.provider, claims.subject, claims.email, now())
        if found.linked:
            told = {"identity_provider": encode("idp", back.provider.id)}
            origin = from_where(request, "member", found.member_id)
            await record(db, agency_id, IDENTITY_LINKED, origin, Entry("member", found.member_id, None, after=told))
    async with app.database.connection(Person(found.user_id)) as db:
        begun = await service.begin_bound(
            db, found.user_id, found.bound, place_of(request), now(), second_factor=found.second_factor
        )  # fmt: skip
    return begun, back.onward


async def _who(request: Request, back: passage.Back) -> openid.Claims:
    """Ask the provider who came. No transaction is open."""
    app = request.app.state
    code = read_parameter(request, "code", CODE_LENGTH_MAX)
    provider = await _provider(request, back.provider)
    try:
        openid.check_answer(provider, read_parameter(request, "iss", ISSUER_LENGTH_MAX))
    except NetworkError as error:
        raise SignOnRefused(error.detail) from error
    if code is None or "error" in request.query_params:
        raise SignOnRefused("The provider did not sign you in.")
    uri = redirect_uri(app.settings.public_url, back.provider.agency_id)
    return await _ask(
        openid.who_came(
            app.client, provider, redirect_uri=uri, code=code, code_verifier=back.code_verifier, nonce=back.nonce, now=now()
        )
    )
