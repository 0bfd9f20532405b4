"""The page of the own sessions: every browser in which a person is signed in, each of which it can end."""

from fastapi import Request, Response

from api.pages.people.forms import read_form
from api.pages.people.frame import HOME, go, page
from api.pages.people.routes import people
from api.signed_in import Signed, decoded
from core.clock import now
from core.wire import encode_known
from tenants.people import sessions

router = people()


@router.get(HOME)
async def sessions_page(own: Signed, request: Request) -> Response:
    """List them, newest first."""
    rows = await sessions.list_sessions(own.db, own.signed_in.user_id, now())
    shown = [
        {**dict(row), "id": encode_known("session", row["id"]), "current": row["id"] == own.signed_in.session_id} for row in rows
    ]
    return page(request, "sessions.html", person=own.signed_in, locale=own.signed_in.locale, sessions=shown)


@router.post(HOME)
async def end_session_by_form(own: Signed, request: Request) -> Response:
    """End one of them."""
    session_id = decoded("session", (await read_form(request)).get("session"))
    await sessions.revoke_session(own.db, own.signed_in.user_id, session_id, now())
    return go(HOME)
