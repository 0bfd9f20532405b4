"""People: signing in and out, the own sessions, and the own password. These are a person's, and no agency's."""

from typing import Annotated

from fastapi import Path, Request, Response

from api import signing_in
from api.rate_limits import RateLimits
from api.routing import v1
from api.signed_in import Signed, refuse_other_sites, set_cookie
from core.clock import now
from core.wire import SessionId, encode_known
from tenants.people import service, sessions
from tenants.people.passwords import Passwords
from tenants.people.schemas import (
    AgencyOfPerson,
    PasswordChange,
    PersonRead,
    SessionCreated,
    SessionList,
    SessionRead,
    SignIn,
)

router = v1("People")


@router.post("/sessions", status_code=201, response_model=SessionCreated, summary="Sign in")
async def sign_in(request: Request, response: Response, body: SignIn) -> SessionCreated:
    """Sign in by e-mail and password. The session is in the cookie of the answer, and nowhere else.

    A wrong password and an e-mail that nobody has are answered alike, and as late.
    """
    refuse_other_sites(request, proof=False)
    begun = await signing_in.by_password(request, body)
    set_cookie(response, request.app.state.settings, begun.text)
    response.headers["Location"] = f"/v1/sessions/{encode_known('session', begun.session_id)}"
    return SessionCreated(
        id=begun.session_id,
        person=PersonRead(**{name: begun.person[name] for name in ("id", "name", "email")}),
        agencies=[AgencyOfPerson(id=row["id"], name=row["name"], livemode=row["livemode"]) for row in begun.agencies],
        expires_at=begun.begun_at + sessions.ABSOLUTE,
    )


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
async def sign_out(own: Signed, request: Request) -> Response:
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
async def change_password(own: Signed, request: Request, body: PasswordChange) -> Response:
    """Change the password. Every other session of this person ends with it, and this one goes on under a new cookie."""
    limits: RateLimits = request.app.state.rate_limits
    passwords: Passwords = request.app.state.passwords
    limits.try_password(request.scope, own.signed_in.email)
    current, new = body.current_password.get_secret_value(), body.new_password.get_secret_value()
    text = await service.change_password(own.db, passwords, own.signed_in, current, new, now())
    limits.password_was_right(request.scope, own.signed_in.email)
    response = Response(status_code=204)
    set_cookie(response, request.app.state.settings, text)
    return response
