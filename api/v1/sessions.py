"""People: signing in and out, the own sessions, and the own password. These are a person's, and no agency's."""

from typing import Annotated

from fastapi import Path, Request, Response

from api import signing_in
from api.routing import v1
from api.signed_in import Signed, SignedApart, SignedEvenBound, Waiting, refuse_other_sites, set_cookie
from core.clock import now
from core.wire import SessionId, encode_known
from tenants.people import service, sessions
from tenants.people.credential_schemas import PasskeyGiven, SecondFactor
from tenants.people.schemas import (
    AgencyOfPerson,
    PasswordChange,
    PersonRead,
    SessionCreated,
    SessionList,
    SessionRead,
    SignIn,
)
from tenants.people.sessions import ACTIVE, HALF

router = v1("People")


def _begun(request: Request, response: Response, begun: service.Begun) -> SessionCreated:
    """Write the answer of a session that has begun, and its cookie."""
    person, half = begun.person, bool(begun.factors)
    signing_in.give_session(request, response, begun)
    response.headers["Location"] = f"/v1/sessions/{encode_known('session', begun.session_id)}"
    return SessionCreated(
        id=begun.session_id,
        state=HALF if half else ACTIVE,
        second_factors=begun.factors,
        person=PersonRead(id=person["id"], name=person["name"], email=person["email"]),
        agencies=[AgencyOfPerson(id=row["id"], name=row["name"], livemode=row["livemode"]) for row in begun.agencies],
        expires_at=begun.begun_at + (sessions.HALF_FOR if half else sessions.ABSOLUTE),
    )


@router.post("/sessions", status_code=201, response_model=SessionCreated, summary="Sign in")
async def sign_in(request: Request, response: Response, body: SignIn) -> SessionCreated:
    """Sign in by e-mail and password. The session is in the cookie of the answer, and nowhere else.

    A wrong password and an e-mail that nobody has are answered alike, and as late. Of who has a second factor the session is
    `second_factor_needed`, and can do nothing until it is completed.
    """
    refuse_other_sites(request, proof=False)
    return _begun(request, response, await signing_in.by_password(request, body))


@router.post("/sessions/second-factor", status_code=201, response_model=SessionCreated, summary="Complete a sign-in")
async def complete_sign_in(request: Request, response: Response, waiting: Waiting, body: SecondFactor) -> SessionCreated:
    """Give the second factor. The session that waited ends, and another begins under another cookie.

    After a few wrong codes there is a pause, which doubles.
    """
    return _begun(request, response, await signing_in.by_second_factor(request, waiting, body))


@router.post("/sessions/passkey", status_code=201, response_model=SessionCreated, summary="Sign in by a passkey")
async def sign_in_by_passkey(request: Request, response: Response, body: PasskeyGiven) -> SessionCreated:
    """Sign in by a passkey alone, which has asked who uses it: without e-mail and password."""
    refuse_other_sites(request, proof=False)
    return _begun(request, response, await signing_in.by_passkey(request, body.passkey))


@router.get("/sessions", response_model=SessionList, summary="List the own sessions")
async def list_sessions(own: Signed) -> SessionList:
    """Every browser in which this person is signed in, newest first."""
    rows = await sessions.list_sessions(own.db, own.signed_in.user_id, now())
    return SessionList(
        data=[
            SessionRead(
                **dict(row),
                current=row["id"] == own.signed_in.session_id,
                expires_at=min(row["created_at"] + sessions.ABSOLUTE, row["last_seen_at"] + sessions.IDLE),
            )
            for row in rows
        ],
        next_cursor=None,
    )


@router.delete("/sessions/current", status_code=204, summary="Sign out")
async def sign_out(own: SignedEvenBound, request: Request) -> Response:
    """End this session, and take its cookie away."""
    await sessions.revoke_session(own.db, own.signed_in.user_id, own.signed_in.session_id, now())
    response = Response(status_code=204)
    set_cookie(response, request.app.state.settings, "")
    return response


@router.delete("/sessions/{session_id:id}", status_code=204, summary="End one of the own sessions")
async def revoke_session(own: Signed, session_id: Annotated[SessionId, Path()]) -> Response:
    """Sign out another browser. It holds from this answer on."""
    await sessions.revoke_session(own.db, own.signed_in.user_id, session_id, now())
    return Response(status_code=204)


@router.put("/me/password", status_code=204, summary="Change the own password")
async def change_password(signed: SignedApart, request: Request, body: PasswordChange) -> Response:
    """Change the password. Every other session of this person ends with it, and this one goes on under a new cookie."""
    current, new = body.current_password.get_secret_value(), body.new_password.get_secret_value()
    response = Response(status_code=204)
    await signing_in.change_password(request, response, signed, current, new)
    return response
