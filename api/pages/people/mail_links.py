"""The pages behind links in mails: a new password for who has forgotten it, and an e-mail that is verified.

A link is used by a form and not by opening it: programs that look at mail open every link in it.
"""

from fastapi import Request, Response

from api import signing_in
from api.pages.people.forms import again, read_form
from api.pages.people.frame import page
from api.pages.people.routes import people
from core.clock import now
from core.db import Person
from core.errors import Problem
from tenants.people import addresses
from tenants.people.credential_schemas import LinkOpened, ResetAsked, ResetDone
from tenants.people.links import VERIFY

router = people()
ASK, RESET, VERIFIED = "forgot_password.html", "reset_password.html", "verify_email.html"


@router.get("/forgot-password")
async def forgot_password_page(request: Request) -> Response:
    """Ask whose password is forgotten."""
    return page(request, ASK, done=False)


@router.post("/forgot-password")
async def forgot_password_by_form(request: Request) -> Response:
    """Send the mail, and say the same whether anybody has the e-mail."""
    form = await read_form(request)
    try:
        await signing_in.ask_for_reset(request, form.read(ResetAsked).email)
    except Problem as problem:
        return again(request, ASK, problem, form, done=False)
    return page(request, ASK, once=True, done=True)


@router.get("/reset-password")
async def reset_password_page(request: Request) -> Response:
    """Ask for the new password."""
    return page(request, RESET, token=request.query_params.get("token", ""), done=False)


@router.post("/reset-password")
async def reset_password_by_form(request: Request) -> Response:
    """Store it, and lead to where one signs in with it."""
    form = await read_form(request)
    try:
        body = form.read(ResetDone)
        await signing_in.reset_password(request, body.token.get_secret_value(), body.new_password.get_secret_value())
    except Problem as problem:
        return again(request, RESET, problem, form, kept=[("token", form.get("token"))], token=form.get("token"), done=False)
    return page(request, RESET, once=True, token="", done=True)


@router.get("/verify-email")
async def verify_email_page(request: Request) -> Response:
    """Ask to confirm the e-mail."""
    return page(request, VERIFIED, token=request.query_params.get("token", ""), email=None)


@router.post("/verify-email")
async def verify_email_by_form(request: Request) -> Response:
    """Confirm it."""
    form, state = await read_form(request), request.app.state
    try:
        user_id, id = signing_in.link_of(request, VERIFY, form.read(LinkOpened).token.get_secret_value())
        async with state.database.connection(Person(user_id)) as db:
            email = await addresses.verify(db, state.house, user_id, id, now())
    except Problem as problem:
        return again(request, VERIFIED, problem, form, kept=[("token", form.get("token"))], token=form.get("token"), email=None)
    return page(request, VERIFIED, once=True, token="", email=email)
