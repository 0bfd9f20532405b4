"""Where networks send people back: a public page without a key. What it may do is said by the state alone.

Not part of the contract for programs: it answers a person's browser, with a small page or with a redirect to the address
that was given when the session was made. Who left from the page of a session (api/pages/people/connect.py) comes back to it.
"""

import logging

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from api.audited import CONNECT_CALLBACK, from_where
from api.pages.people.errands import CODE_LENGTH_MAX, ISSUER_LENGTH_MAX, read_errand, read_parameter
from api.pages.people.frame import go, page
from core.clock import now
from core.crypto import SealBroken
from core.db import Tenant, raw
from core.errors import Malformed, Problem, Unprocessable
from tenants.accounts import connecting, effects, returning
from tenants.accounts.connecting import Plan, Reached, Settled
from tenants.accounts.linked import require_beginner
from tenants.accounts.redirects import CALLBACK_PATH, PAGE_PATH, digest_state, read_state, return_address
from tenants.accounts.returning import Redeemed
from tenants.audit.entries import Entry, pick, record
from tenants.posts import release

router = APIRouter(include_in_schema=False)
log = logging.getLogger("octavo.connect")
ERRAND = "connect"
HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
START_AGAIN = "start_again"
REASONS = ("different_account", "access_denied", "network_unavailable", START_AGAIN)
"""Why a person was not connected, as the catalogue has words for it."""


def _failed(request: Request, status: int, reason: str = START_AGAIN) -> Response:
    return page(
        request, "connected.html", status=status, once=True, title="connected.failed", text=f"connected.{reason}", done=False
    )


@router.get(CALLBACK_PATH + "{network}", name="connect_callback")
async def connect_callback(network: str, request: Request) -> Response:
    """End the redirect kind of connecting. Every bad state ends on a page that says to start again."""
    try:
        redeemed = await _redeem(request, network)
    except Malformed:
        return _failed(request, 400)
    except SealBroken:
        log.warning("sealed verifier does not open", extra={"network": network})
        return _failed(request, 400)
    plan = redeemed.plan
    try:
        outcome = await _finish(request, redeemed)
    except Problem as problem:
        if plan.link:
            return go(f"{PAGE_PATH}{read_errand(request, ERRAND)}?failed={reason_of(problem)}")
        await _fail(request, redeemed, problem)
        if plan.return_url is not None:
            return _back(plan, "failed")
        status = problem.status if 400 <= problem.status < 500 else 400
        return _failed(request, status, reason_of(problem))
    if plan.return_url is not None and not (plan.link and outcome == "choosing"):
        return _back(plan, outcome)
    if plan.link:
        return go(f"{PAGE_PATH}{read_errand(request, ERRAND)}")
    title = f"connected.{outcome}"
    return page(request, "connected.html", once=True, title=title, text=f"{title}_text", done=outcome == "completed")


def reason_of(problem: Problem) -> str:
    """Say why, by a name that the catalogue has words for."""
    reason = "access_denied" if problem.members.get("reason") == "access_denied" else problem.code
    return reason if reason in REASONS else START_AGAIN


def _back(plan: Plan, state: str) -> Response:
    assert plan.return_url is not None
    return RedirectResponse(return_address(plan.return_url, plan.session_id, state), status_code=303, headers=HEADERS)


async def _redeem(request: Request, network: str) -> Redeemed:
    """Spend the state, in a transaction of its own."""
    app, state = request.app.state, read_state(read_parameter(request, "state", CODE_LENGTH_MAX))
    held = read_errand(request, ERRAND)
    link = None if held is None else digest_state(held)
    async with app.database.session(Tenant(state.agency_id)) as session:
        return await returning.redeem(session, app.networks, app.ring, network, state, now(), link=link)


async def _finish(request: Request, redeemed: Redeemed) -> str:
    """Ask the network and write the accounts. Returns the session's state."""
    code = read_parameter(request, "code", CODE_LENGTH_MAX)
    if code is None or "error" in request.query_params:
        raise Unprocessable("Access was not granted.", code="network_rejected", reason="access_denied")
    issuer = read_parameter(request, "iss", ISSUER_LENGTH_MAX)
    connected = await returning.ask(redeemed, request.app.state.settings.public_url, code, issuer)
    return (await settle_by_person(request, redeemed.plan, connected)).row.state


async def settle_by_person(request: Request, plan: Plan, reached: Reached, state: str = "") -> Settled:
    """Write what came of a session that a person goes on with by itself, and its audit entry. Raises as `connecting.settle` does,
    and Malformed when who began it could not do so now.

    Who it is, is known by the session alone; who began it, the entry of its beginning says.
    """
    app, moment = request.app.state, now()
    async with app.database.session(Tenant(plan.agency_id)) as session:
        await require_beginner(session, plan.agency_id, plan.session_id)
        settled = await connecting.settle(session, app.ring, plan, reached, moment, state=state)
        await effects.apply(release, raw(session), plan.agency_id, [one.effect for one in settled.attached], moment)
        before = {"state": next(iter(plan.stage))}
        entry = Entry("connect_session", plan.session_id, plan.workspace_id, before, pick("connect_session", settled.row))
        if settled.row.state != before["state"]:
            origin = from_where(request, "connect_session", plan.session_id)
            await record(raw(session), plan.agency_id, CONNECT_CALLBACK, origin, entry)
        return settled


async def _fail(request: Request, redeemed: Redeemed, problem: Problem) -> None:
    async with request.app.state.database.session(Tenant(redeemed.plan.agency_id)) as session:
        await returning.fail(session, redeemed, problem)
