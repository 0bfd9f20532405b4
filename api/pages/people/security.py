"""The security page: what a person signs in by, and how it is changed. Who has signed in a while ago shows first that it is him."""

from typing import Any

from fastapi import Request, Response
from markupsafe import Markup

from api import signing_in
from api.pages.people.forms import again, read_form
from api.pages.people.frame import go, page
from api.pages.people.routes import people
from api.pages.people.second_factor import passkey_in
from api.signed_in import Own, Signed, SignedApart, decoded, set_cookie
from core.clock import now
from core.db import Person
from core.errors import Problem
from core.wire import encode_known
from tenants.people import codes, passkeys
from tenants.people.credential_schemas import CodeGiven, PasskeyCreate, Reauthentication
from tenants.people.factors import after_removing, factors_of, tell_of_change
from tenants.people.schemas import PasswordChange
from tenants.people.sessions import ReauthenticationRequired, SignedIn, require_recent

router = people()
HOME, TEMPLATE, APP, CODES = "/security", "security.html", "security_app.html", "recovery_codes.html"
SCALE = 5


def _is_recent(signed: SignedIn) -> bool:
    try:
        require_recent(signed, now())
    except ReauthenticationRequired:
        return False
    return True


async def _facts(own: Own) -> dict[str, Any]:
    """What the page shows of a person."""
    there = await factors_of(own.db, own.signed_in.user_id)
    keys = [
        {**dict(row), "id": encode_known("passkey", row["id"])}
        for row in await passkeys.list_passkeys(own.db, own.signed_in.user_id)
    ]
    recent = _is_recent(own.signed_in)
    return {
        "person": own.signed_in,
        "locale": own.signed_in.locale,
        "factors": there,
        "passkeys": keys,
        "recent": recent,
        "scripts": recent,
    }


@router.get(HOME)
async def security_page(own: Signed, request: Request) -> Response:
    """Show what the person signs in by."""
    return page(request, TEMPLATE, **await _facts(own))


async def _again(request: Request, signed: SignedIn, problem: Problem, form: Any) -> Response:
    async with request.app.state.database.connection(Person(signed.user_id)) as db:
        return again(request, TEMPLATE, problem, form, **await _facts(Own(signed, db)))


@router.post("/security/confirm")
async def confirm_by_form(signed: SignedApart, request: Request) -> Response:
    """Take the password again."""
    form = await read_form(request)
    try:
        await signing_in.show_again(request, signed, form.read(Reauthentication))
    except Problem as problem:
        return await _again(request, signed, problem, form)
    return go(HOME)


@router.post("/security/password")
async def change_password_by_form(signed: SignedApart, request: Request) -> Response:
    """Change the password."""
    form, response = await read_form(request), go(HOME)
    try:
        body = form.read(PasswordChange)
        current, new = body.current_password.get_secret_value(), body.new_password.get_secret_value()
        await signing_in.change_password(request, response, signed, current, new)
    except Problem as problem:
        return await _again(request, signed, problem, form)
    return response


@router.post("/security/app")
async def begin_app_by_form(own: Signed, request: Request) -> Response:
    """Make the secret of an app."""
    require_recent(own.signed_in, now())
    await codes.begin_app(own.db, request.app.state.house, own.signed_in, now())
    return go("/security/app")


@router.get("/security/app")
async def app_page(own: Signed, request: Request) -> Response:
    """Show the secret that waits for its first code, as a QR code and as text."""
    return page(request, APP, **await _pending(own, request))


async def _pending(own: Own, request: Request) -> dict[str, Any]:
    import segno

    require_recent(own.signed_in, now())
    secret, uri = await codes.pending_app(own.db, request.app.state.house, own.signed_in)
    # Made by us of our own text, and no part of it is a style: the policy of the page lets it stand.
    drawn = Markup(segno.make(uri, error="m").svg_inline(scale=SCALE, border=4, dark="#000", light="#fff", omitsize=True))  # noqa: S704  # see above
    grouped = " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))
    return {"person": own.signed_in, "locale": own.signed_in.locale, "qr": drawn, "secret": grouped}


@router.post("/security/app/confirm")
async def confirm_app_by_form(signed: SignedApart, request: Request) -> Response:
    """Let the app count, and show the recovery codes that come with the first factor."""
    form, state = await read_form(request), request.app.state
    try:
        given = form.read(CodeGiven).code.get_secret_value()
        made, text = await signing_in.confirm_app(request, signed, given)
    except Problem as problem:
        async with state.database.connection(Person(signed.user_id)) as db:
            return again(request, APP, problem, form, **await _pending(Own(signed, db), request))
    return _after(request, signed, made, text)


def _after(request: Request, signed: SignedIn, made: list[str] | None, text: str | None) -> Response:
    """Show new recovery codes, if there are any, and keep the browser signed in."""
    response = go(HOME) if made is None else page(request, CODES, once=True, person=signed, locale=signed.locale, codes=made)
    if text is not None:
        set_cookie(response, request.app.state.settings, text)
    return response


@router.post("/security/app/remove")
async def remove_app_by_form(own: Signed, request: Request) -> Response:
    """Remove the app."""
    require_recent(own.signed_in, now())
    await codes.remove_app(own.db, own.signed_in.user_id)
    await after_removing(own.db, request.app.state.house, own.signed_in, now())
    return go(HOME)


@router.post("/security/passkeys")
async def add_passkey_by_form(signed: SignedApart, request: Request) -> Response:
    """Keep a passkey that the browser has made."""
    require_recent(signed, now())
    form = await read_form(request)
    try:
        body = form.read(PasskeyCreate, passkey=passkey_in(form))
        _, made, text = await signing_in.add_passkey(request, signed, body, now())
    except Problem as problem:
        return await _again(request, signed, problem, form)
    return _after(request, signed, made, text)


@router.post("/security/passkeys/remove")
async def remove_passkey_by_form(own: Signed, request: Request) -> Response:
    """Remove a passkey."""
    require_recent(own.signed_in, now())
    passkey_id = decoded("passkey", (await read_form(request)).get("passkey_id"))
    await passkeys.remove_passkey(own.db, own.signed_in.user_id, passkey_id)
    await after_removing(own.db, request.app.state.house, own.signed_in, now())
    return go(HOME)


@router.post("/security/recovery-codes")
async def renew_codes_by_form(own: Signed, request: Request) -> Response:
    """Make new recovery codes, and show them this once."""
    require_recent(own.signed_in, now())
    house = request.app.state.house
    made = await codes.renew_codes(own.db, house, own.signed_in)
    await tell_of_change(own.db, house, own.signed_in, now())
    return _after(request, own.signed_in, made, None)
