"""The pages of the second step of signing in, and of signing in by a passkey alone."""

from typing import Any

import orjson
from fastapi import Request, Response

from api import signing_in
from api.pages.people.forms import Form, again, read_form
from api.pages.people.frame import DONE, HOME, SECOND_FACTOR, go, own_path, page
from api.pages.people.routes import people
from api.signed_in import Waiting
from core.db import Person
from core.errors import Problem
from tenants.people.credential_schemas import PasskeyGiven, SecondFactor
from tenants.people.factors import factors_of
from tenants.people.passkeys import PasskeyInvalid
from tenants.people.sessions import SignedIn

router = people()
TEMPLATE = "second_factor.html"
ALONE = "passkey.html"


def passkey_in(form: Form) -> dict[str, Any]:
    """Read the answer of a passkey that the script has written into the form. Raises PasskeyInvalid."""
    try:
        read = orjson.loads(form.get("passkey"))
    except orjson.JSONDecodeError as error:
        raise PasskeyInvalid from error
    if not isinstance(read, dict):
        raise PasskeyInvalid
    return read


async def _ways(request: Request, waiting: SignedIn) -> list[str]:
    async with request.app.state.database.connection(Person(waiting.user_id)) as db:
        return (await factors_of(db, waiting.user_id)).names


@router.get(SECOND_FACTOR)
async def second_factor_page(request: Request, waiting: Waiting) -> Response:
    """Ask for the second factor."""
    onward = own_path(request.query_params.get("next"))
    ways = await _ways(request, waiting)
    return page(request, TEMPLATE, locale=waiting.locale, scripts="passkey" in ways, ways=ways, next=onward, email=waiting.email)


@router.post(SECOND_FACTOR)
async def second_factor_by_form(request: Request, waiting: Waiting) -> Response:
    """Complete the sign-in, and go on to where the person wanted to be."""
    form = await read_form(request)
    onward = own_path(form.get("next"))
    try:
        given = form.read(SecondFactor, **({"passkey": passkey_in(form)} if form.get("passkey") else {}))
        begun = await signing_in.by_second_factor(request, waiting, given)
    except Problem as problem:
        ways = await _ways(request, waiting)
        return again(
            request, TEMPLATE, problem, form, locale=waiting.locale, scripts="passkey" in ways, ways=ways, next=onward,
            email=waiting.email, kept=[("next", onward)],
        )  # fmt: skip
    response = go(onward or (HOME if begun.bound is None else DONE))
    signing_in.give_session(request, response, begun)
    return response


@router.get("/sign-in/passkey")
async def passkey_page(request: Request) -> Response:
    """Sign in by a passkey alone."""
    return page(request, ALONE, scripts=True, next=own_path(request.query_params.get("next")))


@router.post("/sign-in/passkey")
async def passkey_by_form(request: Request) -> Response:
    """Sign in as `POST /v1/sessions/passkey` does."""
    form = await read_form(request)
    onward = own_path(form.get("next"))
    try:
        begun = await signing_in.by_passkey(request, PasskeyGiven(passkey=passkey_in(form)).passkey)
    except Problem as problem:
        return again(request, ALONE, problem, form, scripts=True, next=onward, kept=[("next", onward)])
    response = go(onward or HOME)
    signing_in.give_session(request, response, begun)
    return response
