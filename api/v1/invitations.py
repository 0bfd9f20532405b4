"""Invitations: the way into the agency."""

from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from api import accepting
from api.body import StrictRequest
from api.dependencies import DB, Idem, can, require_fresh
from api.pages.people.language import choose_language
from api.pagination import Page, PageQuery, page_of, read_cursor
from api.routing import v1
from api.signed_in import Signed, refuse_other_sites
from api.signing_in import give_session
from core.clock import now
from core.db import raw
from core.wire import InvitationId, encode_known
from tenants.audit.entries import Entry, pick
from tenants.invitations import service
from tenants.invitations.schemas import (
    InvitationAccepted,
    InvitationCreate,
    InvitationJoin,
    InvitationRead,
    InvitationSent,
    InvitationShown,
    InvitationToken,
    RoomShown,
)
from tenants.invitations.service import Sent
from tenants.people.schemas import AgencyOfPerson, PersonRead, SessionCreated
from tenants.people.sessions import ABSOLUTE, ACTIVE
from tenants.permissions import Actor, AgencyRole, Permission

router = v1("Members")
ONE = "/invitations/{invitation_id:id}"
Id = Annotated[InvitationId, Path()]
NEUTRAL: dict[int | str, dict[str, Any]] = {404: {"description": "The token opens no invitation here."}}
NOT_NOW: dict[int | str, dict[str, Any]] = {409: {"description": "The invitation cannot be accepted so."}}


async def _sent(request: Request, db: DB, actor: Actor, sent: Sent) -> InvitationSent:
    state, at = request.app.state, now()
    url = await service.send(raw(db), state.ring, actor, sent, state.settings.public_url, choose_language(request).code, at)
    return InvitationSent(**service.read(sent.row, at).model_dump(), accept_url=url)


@router.post("/invitations", status_code=201, response_model=InvitationSent, summary="Invite somebody")
async def create_invitation(
    request: StrictRequest, db: DB, actor: Annotated[Actor, can(Permission.MEMBER_ASSIGN)], idem: Idem, body: InvitationCreate
) -> Response:  # fmt: skip
    """Invite whoever reads the mail of an address. The link works once and for a week; the mail is in the language of the request.

    Nobody invites to more than he holds: it is looked at now, and again when the invitation is accepted. Who may give roles in
    certain workspaces alone invites into these, as `member`. Who is a member already keeps its role, and gets the workspaces that
    it is not in. Who invites an owner has just signed in or shown again who it is: `reauthentication_required`.
    """
    if body.role is AgencyRole.OWNER:
        require_fresh(request)
    sent = await service.invite(raw(db), actor, body, now())
    read = await _sent(request, db, actor, sent)
    entry = Entry("invitation", read.id, None, after=pick("invitation", sent.row))
    location = f"/v1/invitations/{encode_known('invitation', read.id)}"
    return await idem.respond_secret(read, entry, status=201, location=location, shown_once="accept_url")


@router.get("/invitations", response_model=Page[InvitationRead], summary="List invitations")
async def list_invitations(
    db: DB, actor: Annotated[Actor, can(Permission.MEMBER_ASSIGN)], request: Request, response: Response,
    query: Annotated[PageQuery, Query()],
) -> dict[str, Any]:  # fmt: skip
    """The agency's invitations, newest first, those that have ended included. Who reaches certain workspaces alone sees theirs."""
    rows = await service.list_invitations(raw(db), actor, after=read_cursor(request, actor, query), limit=query.limit + 1)
    at = now()
    return page_of(request, response, actor, query, [service.read(row, at) for row in rows], [row["id"] for row in rows])


@router.get(ONE, response_model=InvitationRead, summary="Get an invitation")
async def get_invitation(invitation_id: Id, db: DB, actor: Annotated[Actor, can(Permission.MEMBER_ASSIGN)]) -> InvitationRead:
    """One invitation, without its link."""
    return service.read(await service.get_invitation(raw(db), actor, invitation_id), now())


@router.post(f"{ONE}/resend", response_model=InvitationSent, summary="Send an invitation again")
async def resend_invitation(
    invitation_id: Id, request: Request, db: DB, actor: Annotated[Actor, can(Permission.MEMBER_ASSIGN)], idem: Idem
) -> Response:  # fmt: skip
    """Give an invitation a new link and a new week, in the name of who asks. The link of before is dead."""
    before, sent = await service.invite_again(raw(db), actor, invitation_id, now())
    read = await _sent(request, db, actor, sent)
    entry = Entry("invitation", read.id, None, pick("invitation", before), pick("invitation", sent.row))
    return await idem.respond_secret(read, entry, status=200, shown_once="accept_url")


@router.delete(ONE, status_code=204, summary="Revoke an invitation")
async def revoke_invitation(
    invitation_id: Id, db: DB, actor: Annotated[Actor, can(Permission.MEMBER_ASSIGN)], idem: Idem
) -> Response:  # fmt: skip
    """End an invitation that nobody has accepted: its link is dead from this answer on."""
    before, after = await service.revoke(raw(db), actor, invitation_id, now())
    entry = Entry("invitation", invitation_id, None, pick("invitation", before), pick("invitation", after))
    return await idem.respond(None, entry, status=204)


@router.post("/invitations/look", response_model=InvitationShown, responses=NEUTRAL, summary="Look at an invitation")
async def look_at_invitation(request: Request, body: InvitationToken) -> InvitationShown:
    """Show who holds the token what it is for. It is not used up, and nothing is told about accounts."""
    row, role, rooms = await accepting.look(request, body.token.get_secret_value())
    return InvitationShown(
        agency_name=row["agency_name"],
        email=row["email"],
        role=role,
        new_person=row["mailed"],
        expires_at=row["expires_at"],
        workspaces=[RoomShown(name=name, role=held) for name, held in rooms],
    )


@router.post("/invitations/accept", response_model=InvitationAccepted, responses=NEUTRAL | NOT_NOW, summary="Accept an invitation")
async def accept_invitation(own: Signed, request: Request, body: InvitationToken) -> InvitationAccepted:
    """Come into the agency as who is signed in, whose verified e-mail is that of the invitation.

    What the inviter may not give any more is not given: `inviter_lacks_rights`.
    """
    row, member_id = await accepting.accept(request, own, body.token.get_secret_value())
    agency = AgencyOfPerson(id=row["agency_id"], name=row["agency_name"], livemode=row["livemode"])
    return InvitationAccepted(member_id=member_id, agency=agency)


@router.post(
    "/invitations/join", status_code=201, response_model=SessionCreated, responses=NEUTRAL | NOT_NOW,
    summary="Accept an invitation as somebody new",
)  # fmt: skip
async def join_by_invitation(request: Request, response: Response, body: InvitationJoin) -> SessionCreated:
    """Make an account with a password, and come into the agency. The session is in the cookie of the answer.

    The token came by mail and was shown to nobody else, so the address counts as verified. One that the inviter was shown proves
    nothing of the kind, and makes no account.
    """
    refuse_other_sites(request, proof=False)
    begun = await accepting.join(request, body.token.get_secret_value(), body.name, body.password.get_secret_value())
    give_session(request, response, begun)
    response.headers["Location"] = f"/v1/sessions/{encode_known('session', begun.session_id)}"
    return SessionCreated(
        id=begun.session_id,
        state=ACTIVE,
        second_factors=begun.factors,
        person=PersonRead(**{name: begun.person[name] for name in ("id", "name", "email")}),
        agencies=[AgencyOfPerson(id=row["id"], name=row["name"], livemode=row["livemode"]) for row in begun.agencies],
        expires_at=begun.begun_at + ABSOLUTE,
    )
