"""The page of a connect session: whoever was sent its address connects an account for the agency that asks, without one here."""

from typing import Any

from fastapi import Request, Response

from api.inbound.connect import ERRAND, REASONS, settle_by_person
from api.pages.people.errands import set_errand
from api.pages.people.forms import Form, again, read_form, shaped
from api.pages.people.frame import go, leave, page
from api.pages.people.routes import people
from core.clock import now
from core.db import Tenant
from core.errors import Fault, InvalidInput, Malformed, Problem
from networks.base import Authorization
from tenants.accounts import connecting, linked
from tenants.accounts.linked import Linked
from tenants.accounts.redirects import PAGE_PATH, State, read_state, return_address
from tenants.accounts.schemas import ConnectSessionComplete

router = people()
TEMPLATE = "connect.html"
PATH = PAGE_PATH + "{text}"


async def _look(request: Request, text: str) -> tuple[State, Linked]:
    """Find the session of an address. Wrong ones count as wrong keys do. Raises Malformed, TooManyRequests."""
    app, limits = request.app.state, request.app.state.rate_limits
    limits.let_strangers(request.scope)
    try:
        link = read_state(text)
        async with app.database.session(Tenant(link.agency_id)) as session:
            found = await linked.find_linked(session, app.networks, link, now())
    except Malformed:
        limits.refuse(request.scope)
        raise
    limits.admit_person(request.scope, link.digest)
    return link, found


def _facts(found: Linked) -> dict[str, Any]:
    """What the template shows, and where its form may lead."""
    home = found.row.return_url
    back = None if home is None else return_address(home, found.row.id, found.row.state)
    return {"found": found, "back": back, "chosen": (), "failed": None, "leads_to": () if home is None else (home,)}


@router.get(PATH)
async def connect_page(text: str, request: Request) -> Response:
    """Say who asks for what, and ask for what is missing."""
    _, found = await _look(request, text)
    failed = request.query_params.get("failed")
    return page(request, TEMPLATE, **_facts(found) | {"failed": failed if failed in REASONS else None})


@router.post(PATH)
async def connect_by_form(text: str, request: Request) -> Response:
    """Take the credentials or the choice, or lead the person to the network."""
    link, found = await _look(request, text)
    form = await read_form(request)
    try:
        if found.row.state == "awaiting_user":
            return await _depart(request, link, text, found.network)
        done = await _complete(request, link, found, form)
    except Problem as problem:
        if problem.code == "connect_state_invalid":
            raise
        return again(request, TEMPLATE, problem, form, **_facts(found) | {"chosen": form.all("targets")})
    return go(done or PAGE_PATH + text)


async def _depart(request: Request, link: State, text: str, network: str) -> Response:
    app = request.app.state
    async with app.database.session(Tenant(link.agency_id)) as session:
        plan = await linked.plan_departure(session, app.networks, link, now())
    reached, state = await connecting.reach(plan, app.settings.public_url)
    assert isinstance(reached, Authorization)
    await settle_by_person(request, plan, reached, state)
    response = leave(request, reached.url, network)
    set_errand(request, response, ERRAND, text)
    return response


async def _complete(request: Request, link: State, found: Linked, form: Form) -> str | None:
    """Carry out what was filled in. Returns where the person goes then, if that is not this page."""
    app, limits, counted = request.app.state, request.app.state.rate_limits, f"connect {link.session_id}"
    if found.row.state == "awaiting_credentials":
        limits.try_password(request.scope, counted)
    wish = _wish(found, form)
    async with app.database.session(Tenant(link.agency_id)) as session:
        plan = await linked.plan_linked(session, app.networks, app.ring, link, wish, now())
    reached, _ = await connecting.reach(plan, app.settings.public_url)
    limits.password_was_right(request.scope, counted)
    row = (await settle_by_person(request, plan, reached)).row
    home = row.return_url
    return None if home is None or row.state != "completed" else return_address(home, row.id, row.state)


def _wish(found: Linked, form: Form) -> ConnectSessionComplete:
    """Read what the session waits for. Raises InvalidInput; Malformed where it waits for nothing any more."""
    if found.row.state == "completed":
        raise Malformed(code="connect_state_invalid")
    if found.row.state == "choosing":
        chosen = form.all("targets")
        if not chosen:
            raise InvalidInput(faults=[Fault("/targets", "validation_failed", "Choose at least one.")])
        return shaped(ConnectSessionComplete, {"targets": chosen})
    given = {field.name: form.get(field.name) for field in found.fields}
    return shaped(ConnectSessionComplete, {"credentials": {name: value for name, value in given.items() if value}})
