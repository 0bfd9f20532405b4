"""People: verifying and changing the own e-mail, and a new password by mail."""

from fastapi import Request, Response

from api import signing_in
from api.routing import v1
from api.signed_in import Signed, refuse_other_sites
from core.clock import now
from core.db import Person
from core.errors import Fault, InvalidInput
from tenants.people import addresses
from tenants.people.credential_schemas import EmailVerification, LinkOpened, ResetAsked, ResetDone, VerifiedRead
from tenants.people.links import VERIFY

router = v1("People")


@router.post("/email-verifications", status_code=202, response_class=Response, summary="Verify the own e-mail, or another one")
async def request_email_verification(own: Signed, request: Request, body: EmailVerification) -> Response:
    """Send a link to the person's e-mail, or to the one that is to take its place. The link works once, and for a day.

    The answer is the same whether somebody else signs in by the other one.
    """
    try:
        await addresses.ask_to_verify(own.db, request.app.state.house, own.signed_in, body.email, now())
    except ValueError as error:
        raise InvalidInput(faults=[Fault("/email", "validation_failed", f"{error}.".capitalize())]) from error
    return Response(status_code=202)


@router.post("/email-verifications/confirm", response_model=VerifiedRead, summary="Confirm an e-mail by its link")
async def confirm_email(request: Request, body: LinkOpened) -> VerifiedRead:
    """Take the link's word for it that mail arrives. A new e-mail takes the place of the one before, which is told."""
    state = request.app.state
    refuse_other_sites(request, proof=False)
    user_id, id = signing_in.link_of(request, VERIFY, body.token.get_secret_value())
    async with state.database.connection(Person(user_id)) as db:
        return VerifiedRead(email=await addresses.verify(db, state.house, user_id, id, now()))


@router.post("/password-resets", status_code=202, response_class=Response, summary="Ask for a new password")
async def request_password_reset(request: Request, body: ResetAsked) -> Response:
    """Send a link to who signs in by this e-mail. The answer is the same for one that nobody has, and as late."""
    refuse_other_sites(request, proof=False)
    await signing_in.ask_for_reset(request, body.email)
    return Response(status_code=202)


@router.post("/password-resets/confirm", status_code=204, summary="Choose a new password by a link")
async def confirm_password_reset(request: Request, body: ResetDone) -> Response:
    """Choose a new password. Every session and every other link of the person ends; a second factor stays."""
    refuse_other_sites(request, proof=False)
    await signing_in.reset_password(request, body.token.get_secret_value(), body.new_password.get_secret_value())
    return Response(status_code=204)
