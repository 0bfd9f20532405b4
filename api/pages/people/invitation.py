"""The page of an invitation: accepting it as who is signed in, or as somebody new. Looking at it uses nothing up."""

from typing import Any

from fastapi import Request, Response

from api import accepting
from api.pages.people.forms import Form, again, read_form
from api.pages.people.frame import page
from api.pages.people.routes import people
from api.signed_in import Signed, whoever
from api.signing_in import give_session
from core.errors import Problem
from tenants.invitations.schemas import InvitationJoin
from tenants.invitations.service import PAGE
from tenants.invitations.tokens import InvitationInvalid
from tenants.people.sessions import SignedIn

router = people()
TEMPLATE, DONE = "invitation.html", "invitation_done.html"
PATH = f"/{PAGE}/{{token}}"


async def _facts(request: Request, token: str, person: SignedIn | None) -> dict[str, Any]:
    row, role, rooms = await accepting.look(request, token)
    shown = {name: row[name] for name in ("agency_name", "email", "mailed", "expires_at", "second_factor_required")}
    built_in = "_" not in row["role"]
    return shown | {"role": role, "rooms": rooms, "built_in": built_in, "token": token, "person": person}


@router.get(PATH)
async def invitation_page(token: str, request: Request) -> Response:
    """Say what the invitation is for, and offer the way to accept it that this browser has."""
    person = await whoever(request)
    return page(request, TEMPLATE, locale=person.locale if person else None, **await _facts(request, token, person))


@router.post(PATH)
async def accept_by_form(token: str, own: Signed, request: Request) -> Response:
    """Accept as who is signed in."""
    person = own.signed_in
    try:
        row, _ = await accepting.accept(request, own, token)
    except InvitationInvalid:
        raise
    except Problem as problem:
        facts = await _facts(request, token, person)
        return again(request, TEMPLATE, problem, Form(()), locale=person.locale, **facts)
    needs_factor = row["second_factor_required"] and not person.has_second_factor
    return page(
        request, DONE, once=True, locale=person.locale, person=person, agency_name=row["agency_name"], needs_factor=needs_factor
    )  # fmt: skip


@router.post(f"{PATH}/join")
async def join_by_form(token: str, request: Request) -> Response:
    """Make an account, and accept with it."""
    form = await read_form(request)
    facts = await _facts(request, token, None)
    try:
        body = form.read(InvitationJoin, token=token)
        begun = await accepting.join(request, token, body.name, body.password.get_secret_value())
    except InvitationInvalid:
        raise
    except Problem as problem:
        return again(request, TEMPLATE, problem, form, **facts)
    response = page(request, DONE, once=True, agency_name=facts["agency_name"], needs_factor=facts["second_factor_required"])
    give_session(request, response, begun)
    return response
