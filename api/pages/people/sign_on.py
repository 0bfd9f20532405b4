"""The pages of single sign-on: for which agency, by which provider, and where one comes back."""

from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Path, Request, Response

from api import signing_on
from api.pages.people.errands import set_errand
from api.pages.people.forms import again, read_form
from api.pages.people.frame import DONE, SECOND_FACTOR, go, leave, own_path, page
from api.pages.people.routes import error_page, people
from api.signed_in import SignedEvenBound, decoded
from api.signing_in import give_session
from core.db import Tenant
from core.errors import Fault, InvalidInput, Missing, Problem
from core.ids import encode
from core.wire import AgencyId
from tenants.people.members import agencies_of
from tenants.sign_on import passage
from tenants.sign_on.providers import CALLBACK, PAGE

router = people()
ASK, TEMPLATE = "sign_on.html", "sign_on_providers.html"
Agency = Annotated[AgencyId, Path()]


@router.get("/sign-on")
async def sign_on_page(request: Request) -> Response:
    """Ask for which agency."""
    return page(request, ASK)


@router.post("/sign-on")
async def choose_agency_by_form(request: Request) -> Response:
    """Lead to the page of an agency."""
    form = await read_form(request)
    try:
        agency_id = decoded("agency", form.get("agency").strip())
    except Missing:
        fault = Fault("/agency", "validation_failed", "It is not right yet.")
        return again(request, ASK, InvalidInput(faults=[fault]), form)
    return go(PAGE + encode("agc", agency_id))


@router.get(DONE)
async def sign_on_done(own: SignedEvenBound, request: Request) -> Response:
    """Say which agency the session opens."""
    who = own.signed_in
    names = [row["name"] for row in await agencies_of(own.db, who.user_id, who.bound)]
    return page(request, "sign_on_done.html", locale=who.locale, person=who, names=names)


@router.get(CALLBACK + "{agency_id}")
async def sign_on_callback(agency_id: Agency, request: Request) -> Response:
    """Sign in who comes back. What went wrong is told on a page that repeats nothing of the address."""
    try:
        begun, onward = await signing_on.finish(request, agency_id)
    except Problem as problem:
        return error_page(request, problem, once=True)
    further = onward or DONE
    if begun.factors:
        further = f"{SECOND_FACTOR}?{urlencode({'next': further})}"
    response = go(further)
    give_session(request, response, begun)
    set_errand(request, response, signing_on.ERRAND, "")
    return response


@router.get(PAGE + "{agency_id}")
async def providers_page(agency_id: Agency, request: Request) -> Response:
    """Offer the providers of an agency."""
    return page(request, TEMPLATE, next=own_path(request.query_params.get("next")), providers=await _providers(request, agency_id))


async def _providers(request: Request, agency_id: UUID) -> list[tuple[str, str]]:
    app = request.app.state
    app.rate_limits.let_strangers(request.scope)
    try:
        async with app.database.connection(Tenant(agency_id)) as db:
            return [(encode("idp", row["id"]), row["name"]) for row in await passage.list_known(db, agency_id)]
    except Missing:
        app.rate_limits.refuse(request.scope)
        raise


@router.post(PAGE + "{agency_id}")
async def leave_by_form(agency_id: Agency, request: Request) -> Response:
    """Lead the person to the provider."""
    form = await read_form(request)
    provider_id = decoded("identity_provider", form.get("provider"))
    away = await signing_on.begin(request, agency_id, provider_id, own_path(form.get("next")))
    response = leave(request, away.url, away.name)
    set_errand(request, response, signing_on.ERRAND, away.browser)
    return response
