"""Invitations that are looked at and accepted: for the operations of the API and for the page alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from uuid import UUID

from fastapi import Request

from api.audited import INVITATION_ACCEPTED, by_session
from api.rate_limits import RateLimits
from api.signed_in import Own, place_of
from core.clock import now
from core.db import Bare, Row, Tenant, stamp_agency
from tenants.audit.entries import Entry, pick, record
from tenants.invitations import acceptance
from tenants.invitations.tokens import InvitationInvalid, PresentedInvitation, read_token
from tenants.people.passwords import require_good
from tenants.people.service import Begun, begin_whole


class Looked(NamedTuple):
    """An invitation that holds, the name of its role in the agency, and its workspaces with the roles in them."""

    row: Row
    role: str
    rooms: list[tuple[str, str]]


@contextmanager
def _counted(request: Request) -> Iterator[None]:
    """Count tokens that do not hold by the address that they come from, as wrong keys are. Raises TooManyRequests."""
    limits: RateLimits = request.app.state.rate_limits
    limits.let_strangers(request.scope)
    try:
        yield
    except InvitationInvalid:
        limits.refuse(request.scope)
        raise


async def look(request: Request, text: str) -> Looked:
    """Look at the invitation of a token, without a session. Raises InvitationInvalid."""
    with _counted(request):
        presented = read_token(text)
        async with request.app.state.database.connection(Tenant(presented.agency_id)) as db:
            row = await acceptance.find_invitation(db, presented, now())
            role = await acceptance.role_for_people(db, presented, row["role"])
            return Looked(row, role, await acceptance.rooms_for_people(db, presented, row))


async def accept(request: Request, own: Own, text: str) -> tuple[Row, UUID]:
    """Make who is signed in a member. Returns the invitation, and the member's id. Raises as `acceptance.accept` does."""
    with _counted(request):
        presented = read_token(text)
        before, after = await acceptance.accept(own.db, presented, own.signed_in.user_id, now())
    await _tell(request, own.db, presented, before, after, own.signed_in.session_id)
    await stamp_agency(own.db, None)
    return before, after["member_id"]


async def join(request: Request, text: str, name: str, password: str) -> Begun:
    """Make somebody new a member, and begin a session. Raises as `acceptance.join` does, and InvalidInput for a weak password.

    The password is hashed outside of any transaction, and only for a token that could be used.
    """
    state = request.app.state
    with _counted(request):
        presented = read_token(text)
        async with state.database.connection(Tenant(presented.agency_id)) as db:
            row = await acceptance.find_invitation(db, presented, now())
            acceptance.require_mailed(row)
            await acceptance.require_acceptable(db, presented, row)
            await acceptance.require_nobody(db, row)
    require_good("/password", password, names=(name, *row["email"].split("@")))
    state.rate_limits.try_join(request.scope, presented.hash)
    hash, begun_at = await state.passwords.hash(password), now()
    with _counted(request):
        async with state.database.connection(Tenant(presented.agency_id)) as db:
            before, after, user_id = await acceptance.join(db, presented, name, hash, begun_at)
            await _tell(request, db, presented, before, after)
            await stamp_agency(db, None)
            return await begin_whole(db, user_id, place_of(request), begun_at)


async def _tell(
    request: Request, db: Bare, presented: PresentedInvitation, before: Row, after: Row, session_id: UUID | None = None
) -> None:  # fmt: skip
    """Write the entry of the audit log: the member did it, whom it made. Who is new has no session yet."""
    entry = Entry("invitation", after["id"], None, pick("invitation", before), pick("invitation", after))
    origin = by_session(request, after["member_id"], session_id)
    await record(db, presented.agency_id, INVITATION_ACCEPTED, origin, entry)
