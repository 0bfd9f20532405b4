"""The pages to sign in by a password, and to sign out."""

from contextlib import suppress
from urllib.parse import urlencode

from fastapi import Request, Response

from api import signed_in, signing_in
from api.pages.people.forms import again, read_form
from api.pages.people.frame import HOME, SECOND_FACTOR, go, own_path, page
from api.pages.people.routes import people
from api.signed_in import set_cookie
from core.errors import Problem, Unauthenticated
from tenants.people.schemas import SignIn

router = people()
TEMPLATE = "sign_in.html"


@router.get("/sign-in")
async def sign_in_page(request: Request) -> Response:
    """Ask for the e-mail and the password."""
    return page(request, TEMPLATE, next=own_path(request.query_params.get("next")))


@router.post("/sign-in")
async def sign_in_by_form(request: Request) -> Response:
    """Sign in as `POST /v1/sessions` does, and go on to where the person wanted to be."""
    form = await read_form(request)
    onward = own_path(form.get("next"))
    try:
        begun = await signing_in.by_password(request, form.read(SignIn))
    except Problem as problem:
        return again(request, TEMPLATE, problem, form, next=onward, kept=[("next", onward)])
    further = f"{SECOND_FACTOR}?{urlencode({'next': onward})}" if onward else SECOND_FACTOR
    response = go(further if begun.factors else onward or HOME)
    signing_in.give_session(request, response, begun)
    return response


@router.post("/sign-out")
async def sign_out_by_form(request: Request) -> Response:
    """End the session of this browser, half a one too. Who has none is signed out already."""
    onward = own_path((await read_form(request)).get("next"))
    response = go(f"/sign-in?{urlencode({'next': onward})}" if onward else "/sign-in")
    with suppress(Unauthenticated):
        await signed_in.end_session(request)
    set_cookie(response, request.app.state.settings, "")
    return response
