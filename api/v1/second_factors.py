"""People: authenticator app, passkeys and recovery codes of the person who is signed in.

What one signs in by is changed by who has shown within minutes that it is him. Every change is told by mail.
"""

from typing import Annotated

from fastapi import Path, Request, Response

from api import signing_in
from api.routing import v1
from api.signed_in import Signed, SignedApart, perhaps_signed_in, set_cookie
from core.clock import now
from core.db import Person
from core.wire import PasskeyId, encode_known
from tenants.people import codes, passkeys
from tenants.people.credential_schemas import (
    AppBegun,
    CodeGiven,
    PasskeyCreate,
    PasskeyCreated,
    PasskeyOptions,
    PasskeyRead,
    Reauthentication,
    RecoveryCodes,
    SecondFactors,
)
from tenants.people.factors import after_removing, factors_of, tell_of_change
from tenants.people.sessions import require_recent

router = v1("People")


@router.get("/me/second-factors", response_model=SecondFactors, summary="Show the own second factors")
async def get_second_factors(own: Signed) -> SecondFactors:
    """What this person signs in with beside the password."""
    there = await factors_of(own.db, own.signed_in.user_id)
    rows = await passkeys.list_passkeys(own.db, own.signed_in.user_id)
    return SecondFactors(
        totp_since=there.totp_since,
        passkeys=[PasskeyRead.model_validate(dict(row)) for row in rows],
        recovery_codes_left=there.codes_left,
    )


@router.post("/sessions/current/reauthentication", status_code=204, summary="Show again that it is you")
async def confirm_identity(signed: SignedApart, request: Request, body: Reauthentication) -> Response:
    """Give the password or a second factor again. For ten minutes what one signs in by can then be changed."""
    await signing_in.show_again(request, signed, body)
    return Response(status_code=204)


@router.post("/me/totp", response_model=AppBegun, summary="Begin with an authenticator app")
async def begin_totp(own: Signed, request: Request) -> AppBegun:
    """Make the secret of an authenticator app. It counts once its first code is given; until then it can be made anew."""
    require_recent(own.signed_in, now())
    secret, uri = await codes.begin_app(own.db, request.app.state.house, own.signed_in, now())
    return AppBegun(secret=secret, uri=uri)


@router.post("/me/totp/confirm", response_model=RecoveryCodes, summary="Confirm an authenticator app")
async def confirm_totp(signed: SignedApart, request: Request, response: Response, body: CodeGiven) -> RecoveryCodes:
    """Give the first code of the app. With the first second factor come recovery codes, and all other sessions end."""
    made, text = await signing_in.confirm_app(request, signed, body.code.get_secret_value())
    if text is not None:
        set_cookie(response, request.app.state.settings, text)
    return RecoveryCodes(recovery_codes=made)


@router.delete("/me/totp", status_code=204, summary="Remove the authenticator app")
async def remove_totp(own: Signed, request: Request) -> Response:
    """Remove the authenticator app. With the last second factor the recovery codes go."""
    require_recent(own.signed_in, now())
    await codes.remove_app(own.db, own.signed_in.user_id)
    await after_removing(own.db, request.app.state.house, own.signed_in, now())
    return Response(status_code=204)


@router.post("/me/recovery-codes", response_model=RecoveryCodes, summary="Make new recovery codes")
async def make_recovery_codes(own: Signed, request: Request) -> RecoveryCodes:
    """Make ten new recovery codes; those before end. Who has no second factor needs none."""
    require_recent(own.signed_in, now())
    house = request.app.state.house
    made = await codes.renew_codes(own.db, house, own.signed_in)
    await tell_of_change(own.db, house, own.signed_in, now())
    return RecoveryCodes(recovery_codes=made)


@router.post("/me/passkeys/options", response_model=PasskeyOptions, summary="Begin with a passkey")
async def begin_passkey(own: Signed, request: Request) -> PasskeyOptions:
    """What `navigator.credentials.create` needs to make a passkey for this person."""
    require_recent(own.signed_in, now())
    return PasskeyOptions(options=await passkeys.registration_options(own.db, request.app.state.house, own.signed_in, now()))


@router.post("/me/passkeys", status_code=201, response_model=PasskeyCreated, summary="Add a passkey")
async def add_passkey(signed: SignedApart, request: Request, response: Response, body: PasskeyCreate) -> PasskeyCreated:
    """Keep a passkey that the browser has made. With the first second factor come recovery codes, and all other sessions end."""
    moment = now()
    id, made, text = await signing_in.add_passkey(request, signed, body, moment)
    if text is not None:
        set_cookie(response, request.app.state.settings, text)
    response.headers["Location"] = f"/v1/me/passkeys/{encode_known('passkey', id)}"
    read = PasskeyRead(id=id, name=body.name, created_at=moment, last_used_at=None)
    return PasskeyCreated(passkey=read, recovery_codes=made)


@router.delete("/me/passkeys/{passkey_id:id}", status_code=204, summary="Remove a passkey")
async def remove_passkey(own: Signed, request: Request, passkey_id: Annotated[PasskeyId, Path()]) -> Response:
    """Remove a passkey. With the last second factor the recovery codes go."""
    require_recent(own.signed_in, now())
    await passkeys.remove_passkey(own.db, own.signed_in.user_id, passkey_id)
    await after_removing(own.db, request.app.state.house, own.signed_in, now())
    return Response(status_code=204)


@router.post("/sessions/passkey-options", response_model=PasskeyOptions, summary="Begin to sign in by a passkey")
async def begin_sign_in_by_passkey(request: Request) -> PasskeyOptions:
    """What `navigator.credentials.get` needs: to complete a sign-in, to show again that it is you, or to sign in by it alone."""
    state = request.app.state
    state.rate_limits.let_strangers(request.scope)
    who = await perhaps_signed_in(request)
    async with state.database.connection(Person(None if who is None else who.user_id)) as db:
        return PasskeyOptions(options=await passkeys.sign_in_options(db, state.house, who, now()))
