"""Where networks send people back: a public page without a key. What it may do is said by the state alone.

Not part of the contract for programs: it answers a person's browser, with a small page or with a redirect to the address
that was given when the session was made.
"""

import html
import logging

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from api.audited import CONNECT_CALLBACK, from_where
from core.clock import now
from core.crypto import SealBroken
from core.db import Tenant, raw
from core.errors import Malformed, Problem, Unprocessable
from tenants.accounts import effects, returning
from tenants.accounts.redirects import CALLBACK_PATH, read_state, return_address
from tenants.accounts.returning import Redeemed
from tenants.audit.entries import Entry, pick, record
from tenants.posts import release

router = APIRouter(include_in_schema=False)
log = logging.getLogger("octavo.connect")
CODE_LENGTH_MAX = 4_096
ISSUER_LENGTH_MAX = 512
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1.125rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 4rem auto; padding: 0 1rem }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{text}</p>
</main>
</body>
</html>
"""
DONE = {
    "completed": ("Connected", "The account is connected. You can close this page."),
    "choosing": ("One more step", "Access is granted. Go back to where you came from and choose what to connect."),
}
WAITED = {"state": "awaiting_user"}
FAILED = "Not connected"
START_AGAIN = "This link is not valid any more. Go back to where you came from and start again."
REASONS = {
    "different_account": "This access is for another account than the one that was to be reconnected. Nothing was changed.",
    "access_denied": "Access was not granted. Nothing was changed.",
    "network_unavailable": "The network did not answer. Nothing was changed: go back and start again.",
}


def _page(status: int, title: str, text: str) -> Response:
    content = PAGE.format(title=html.escape(title), text=html.escape(text))
    return HTMLResponse(content, status_code=status, headers=HEADERS)


def _parameter(request: Request, name: str, length_max: int) -> str | None:
    """One query parameter; one that is given twice, or is too long, or cannot be stored, counts as none."""
    values = request.query_params.getlist(name)
    plain = len(values) == 1 and len(values[0]) <= length_max and values[0].isprintable()
    return values[0] if plain else None


@router.get(CALLBACK_PATH + "{network}", name="connect_callback")
async def connect_callback(network: str, request: Request) -> Response:
    """End the redirect kind of connecting. Every bad state ends on a page that says to start again."""
    try:
        redeemed = await _redeem(request, network)
    except Malformed:
        return _page(400, FAILED, START_AGAIN)
    except SealBroken:
        log.warning("sealed verifier does not open", extra={"network": network})
        return _page(400, FAILED, START_AGAIN)
    try:
        outcome = await _finish(request, redeemed)
    except Problem as problem:
        await _fail(request, redeemed, problem)
        if redeemed.plan.return_url is not None:
            return _back(redeemed, "failed")
        status = problem.status if 400 <= problem.status < 500 else 400
        return _page(status, FAILED, REASONS.get(_reason(problem), START_AGAIN))
    if redeemed.plan.return_url is not None:
        return _back(redeemed, outcome)
    return _page(200, *DONE[outcome])


def _reason(problem: Problem) -> str:
    return "access_denied" if problem.members.get("reason") == "access_denied" else problem.code


def _back(redeemed: Redeemed, state: str) -> Response:
    assert redeemed.plan.return_url is not None
    address = return_address(redeemed.plan.return_url, redeemed.plan.session_id, state)
    return RedirectResponse(address, status_code=303, headers=HEADERS)


async def _redeem(request: Request, network: str) -> Redeemed:
    """Spend the state, in a transaction of its own."""
    app, state = request.app.state, read_state(_parameter(request, "state", CODE_LENGTH_MAX))
    async with app.database.session(Tenant(state.agency_id)) as session:
        return await returning.redeem(session, app.networks, app.ring, network, state, now())


async def _finish(request: Request, redeemed: Redeemed) -> str:
    """Ask the network and write the accounts. Returns the session's state."""
    app, plan = request.app.state, redeemed.plan
    code = _parameter(request, "code", CODE_LENGTH_MAX)
    if code is None or "error" in request.query_params:
        raise Unprocessable("Access was not granted.", code="network_rejected", reason="access_denied")
    issuer = _parameter(request, "iss", ISSUER_LENGTH_MAX)
    connected = await returning.ask(redeemed, app.settings.public_url, code, issuer)
    async with app.database.session(Tenant(plan.agency_id)) as session:
        moment = now()
        settled = await returning.complete(session, app.ring, redeemed, connected, moment)
        told = [one.effect for one in settled.attached]
        await effects.apply(release, raw(session), plan.agency_id, told, moment)
        # Who came back is known by the session alone; who began it, the entry of its beginning says.
        origin = from_where(request, "connect_session", plan.session_id)
        entry = Entry("connect_session", plan.session_id, plan.workspace_id, WAITED, pick("connect_session", settled.row))
        await record(raw(session), plan.agency_id, CONNECT_CALLBACK, origin, entry)
        return settled.row.state


async def _fail(request: Request, redeemed: Redeemed, problem: Problem) -> None:
    async with request.app.state.database.session(Tenant(redeemed.plan.agency_id)) as session:
        await returning.fail(session, redeemed, problem)
