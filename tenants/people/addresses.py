"""A person's e-mail: showing that its mail arrives, and changing it."""

from datetime import datetime
from uuid import UUID

from asyncpg import UniqueViolationError

from core.db import Bare, Row
from core.errors import Conflict, TooManyRequests
from core.ids import new_id
from tenants.people.house import House, tell
from tenants.people.links import LIFETIME, VERIFY, add_link, use_link, use_up, write_link
from tenants.people.members import read_email
from tenants.people.sessions import SignedIn, require_recent

PERSON = "select email, email_verified_at from users where id = $1 for update"
VERIFIED = "update users set email = $2, email_verified_at = $3 where id = $1"
PAGE = "verify-email"
LONGEST_WAIT_S = 3_600


async def ask_to_verify(db: Bare, house: House, signed: SignedIn, wanted: str | None, now: datetime) -> None:
    """Send a link to the person's e-mail, or to the one that is to take its place; that asks for a fresh sign-in.

    The answer is the same whether anybody has the wanted one: only its mailbox learns that. Raises ReauthenticationRequired,
    TooManyRequests, and ValueError for what is no e-mail.
    """
    email = signed.email if wanted is None else read_email(wanted)
    if email != signed.email:
        require_recent(signed, now)
    id = new_id()
    if not await add_link(db, signed.user_id, id, VERIFY, email, now):
        raise TooManyRequests(headers={"Retry-After": str(LONGEST_WAIT_S)}, violated_policies=["mail"])
    link = house.page(PAGE, write_link(house.secret, VERIFY, signed.user_id, id))
    hours = f"{LIFETIME[VERIFY].total_seconds() / 3600:g}"
    await tell(db, house, signed.user_id, "verify_email", email, now, link=link, hours=hours)


async def verify(db: Bare, house: House, user_id: UUID, id: UUID, now: datetime) -> str:
    """Take a link's word for it that its mail arrives, in the person's own transaction. Returns the e-mail.

    Of a new e-mail the old one is told, and other links of the person end: they were sent to the old one.
    Raises LinkInvalid, and Conflict `email_taken` to the mailbox alone.
    """
    row: Row = await db.fetchrow(PERSON, user_id)  # before the link, as a new password locks: both end every other link
    email = await use_link(db, user_id, id, VERIFY, now)
    try:
        await db.execute(VERIFIED, user_id, email, now)
    except UniqueViolationError as error:
        raise Conflict("Somebody else signs in by this e-mail.", code="email_taken") from error
    if row["email"] != email:
        await use_up(db, user_id, now)
        await tell(db, house, user_id, "email_changed", row["email"], now, email=email)
    return email
