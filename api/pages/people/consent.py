"""The page on which a member says what an application may do, and where (RFC 6749 section 4.1, RFC 9700).

Who asks and where the answer goes is proven before anybody is asked to sign in. What is not proven ends here, and leads nowhere.
"""

from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from sqlmodel.ext.asyncio.session import AsyncSession

from api.audited import CONSENT, by_session
from api.pages.people.forms import Form, read_form
from api.pages.people.frame import page, to_sign_in
from api.pages.people.language import PARAMETER, Words, choose_language
from api.pages.people.routes import people
from api.signed_in import decoded, named, person_with_agencies
from core.clock import now
from core.db import Database, Row, raw, stamp_agency
from core.errors import Missing, Unauthenticated
from core.ids import encode
from tenants.applications import asking, consenting
from tenants.applications.asking import Refusal, Wish, answered
from tenants.applications.consenting import Reach
from tenants.audit.entries import Entry, pick, record
from tenants.people.house import House
from tenants.people.members import PresentedMember
from tenants.people.sessions import SignedIn

router = people()
PATH = "/oauth/authorize"
TEMPLATE = "consent.html"
OWN = frozenset({"agency", "workspace", "decision", PARAMETER})
"""Fields of the page itself: everything else is the application's request."""


@router.get(PATH)
async def consent_page(request: Request) -> Response:
    """Ask."""
    return await _serve(request, Form(request.query_params.multi_items()), decided=False)


@router.post(PATH)
async def consent_by_form(request: Request) -> Response:
    """Take the answer, and bring it to the application."""
    return await _serve(request, await read_form(request), decided=True)


async def _serve(request: Request, form: Form, *, decided: bool) -> Response:
    database: Database = request.app.state.database
    house: House = request.app.state.house
    async with database.session() as session:
        wish = await asking.look_at(session, house.secret, house.public_url, _of_application(form), now())
    if isinstance(wish, Refusal):
        return _refuse(request, wish, form)
    try:
        signed_in, hash, agencies = await person_with_agencies(request)
    except Unauthenticated:
        return to_sign_in(request, _of_application(form))
    able = consenting.agencies_for(wish.client, agencies)
    agency = _choose(able, form.get("agency"))
    if agency is None:
        return _which_agency(request, wish, form, signed_in, able)
    presented = PresentedMember(agency["id"], signed_in, hash)
    async with database.session() as session:
        if decided and form.get("decision") == "allow":
            return await _allow(request, session, wish, form, presented, agency)
        if decided:
            if wish.pushed is not None:
                await stamp_agency(raw(session), wish.client.agency_id)
                await asking.spend(session, wish.client, wish.pushed, now())
            return _lead(request, wish, error="access_denied")
        reach = await consenting.reach_of(raw(session), presented, wish.scopes)
    return _ask(request, wish, form, signed_in, agency, reach)


def _of_application(form: Form) -> list[tuple[str, str]]:
    """The application's request, which the page carries along."""
    return [pair for pair in form.pairs if pair[0] not in OWN]


def _choose(able: list[Row], text: str) -> Row | None:
    """The agency that is meant; None where it is not said and there are several. Raises Missing where none can be."""
    wanted = named("agency", text or None)
    if wanted is not None:
        able = [row for row in able if row["id"] == wanted]
    if not able:
        raise Missing
    return able[0] if len(able) == 1 else None


def _refuse(request: Request, refusal: Refusal, form: Form) -> Response:
    """Say on a page what is wrong, and lead nowhere by itself: a link to us must not become one to anybody's site.

    Where application and address are proven, the person can go back there, and the application is told (RFC 9700 section 4.11.2).
    """
    uri, back = refusal.redirect_uri, None
    if uri is not None:
        address = answered(uri, request.app.state.house.public_url, refusal.state, error=refusal.error)
        back = {"host": urlsplit(uri).hostname or uri, "address": address}
    facts: dict[str, Any] = {"error": refusal.error, "reason": refusal.reason, "back": back}
    return page(request, "consent_refused.html", status=400, kept=_of_application(form), **facts)


def _lead(request: Request, wish: Wish, **more: str) -> Response:
    return _redirect(answered(wish.redirect_uri, request.app.state.house.public_url, wish.state, **more))


def _redirect(url: str) -> Response:
    """Lead on by a GET, so that no form is sent a second time to somebody else (RFC 9700 section 4.12)."""
    return RedirectResponse(url, status_code=303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})


def _which_agency(request: Request, wish: Wish, form: Form, signed_in: SignedIn, able: list[Row]) -> Response:
    links = [
        {"name": row["name"], "address": f"{PATH}?{urlencode([*_of_application(form), ('agency', encode('agc', row['id']))])}"}
        for row in able
    ]
    return page(
        request, "consent_agency.html", person=signed_in, locale=signed_in.locale, application=wish.client.name, agencies=links,
        kept=_of_application(form),
    )  # fmt: skip


def _ask(
    request: Request, wish: Wish, form: Form, signed_in: SignedIn, agency: Row, reach: Reach, *, refused: bool = False
) -> Response:  # fmt: skip
    words = Words(choose_language(request, signed_in.locale))
    chosen = set(form.all("workspace") if request.method == "POST" else ())  # never the application's own choice
    rooms = [{"id": encode("wsp", row["id"]), "name": row["name"]} for row in reach.workspaces]
    scopes = [{"text": words.find(f"consent.scope_{scope.replace(':', '_')}") or scope, "held": scope in reach.held}
              for scope in wish.scopes]  # fmt: skip
    facts: dict[str, Any] = {
        "application": wish.client.name, "owner": wish.client.agency_name, "agency": agency["name"],
        "host": urlsplit(wish.redirect_uri).hostname, "scopes": scopes, "workspaces": rooms, "chosen": chosen,
        "hidden": [*_of_application(form), ("agency", encode("agc", agency["id"]))],
    }  # fmt: skip
    if refused:
        facts["alert"] = words.plain("consent.choose")
    return page(
        request, TEMPLATE, status=422 if refused else 200, person=signed_in, locale=signed_in.locale,
        leads_to=(wish.redirect_uri,), kept=facts["hidden"], **facts,
    )  # fmt: skip


async def _allow(
    request: Request, session: AsyncSession, wish: Wish, form: Form, presented: PresentedMember, agency: Row
) -> Response:  # fmt: skip
    reach = await consenting.reach_of(raw(session), presented, wish.scopes)
    chosen = tuple(dict.fromkeys(decoded("workspace", text) for text in form.all("workspace")))
    scopes = consenting.narrowed(wish, reach, chosen)
    if not chosen or not scopes:
        return _ask(request, wish, form, presented.signed_in, agency, reach, refused=True)
    moment = now()
    house: House = request.app.state.house
    granted = await consenting.say_yes(
        session, house.secret, house.public_url, wish, presented, scopes, chosen, moment
    )  # fmt: skip
    entry = Entry("grant", granted.grant["id"], None, after=pick("grant", granted.grant))
    origin = by_session(request, granted.member_id, presented.signed_in.session_id)
    await record(raw(session), presented.agency_id, CONSENT, origin, entry)
    return _lead(request, wish, code=granted.code)
