"""A new password for who has forgotten his: by a link in the mail.

Asking writes a mail to the e-mail that was given, and nothing else, so it is the same work for one that nobody has. The worker that
sends it looks for the person, and sends nothing to nobody.
"""

from datetime import datetime
from uuid import UUID

from core.crypto import KeyRing
from core.db import Bare, Row, stamp_login, stamp_person
from tenants.mail.service import Wish, send_mail
from tenants.people.house import House, locale_of, tell
from tenants.people.links import LIFETIME, RESET, add_link, look_at_link, use_link, use_up, write_link
from tenants.people.members import read_email
from tenants.people.passwords import require_good
from tenants.people.sessions import end_all, hold
from tenants.people.tries import forget_passwords

FIND = "select id from users where email = $1"
PERSON = "select name, email, email_verified_at from users where id = $1"
STORE = """
insert into passwords (user_id, hash, changed_at) values ($1, $2, $3)
on conflict (user_id) do update set hash = excluded.hash, changed_at = excluded.changed_at
"""
VERIFIED = "update users set email_verified_at = $2 where id = $1 and email_verified_at is null"
ASK_PAGE, PAGE = "forgot-password", "reset-password"
CLOSED = "password_closed"


async def ask_for_reset(db: Bare, ring: KeyRing, email: str, now: datetime) -> None:
    """Send mail to whoever has this e-mail, in a transaction of nobody's. What is no e-mail gets none."""
    await _to_whom_it_may_concern(db, ring, RESET, email, now)


async def tell_of_closing(db: Bare, ring: KeyRing, email: str, now: datetime) -> None:
    """Tell whoever has this e-mail that too many passwords for it were wrong."""
    await _to_whom_it_may_concern(db, ring, CLOSED, email, now)


async def _to_whom_it_may_concern(db: Bare, ring: KeyRing, template: str, email: str, now: datetime) -> None:
    try:
        to = read_email(email)
    except ValueError:
        return
    await send_mail(db, ring, Wish(template, to, "", {}), now)


async def prepare_reset(db: Bare, house: House, id: UUID, wish: Wish, now: datetime) -> Wish | None:
    """Complete the mail as it is sent: the same `id` makes the same link. None: nobody has this e-mail, or has got enough mail."""
    user_id = await _find(db, wish.to)
    if user_id is None or not await add_link(db, user_id, id, RESET, wish.to, now):
        return None
    minutes = f"{LIFETIME[RESET].total_seconds() / 60:g}"
    facts = {"link": house.page(PAGE, write_link(house.secret, RESET, user_id, id)), "minutes": minutes, "email": wish.to}
    return Wish(wish.template, wish.to, await locale_of(db, user_id), facts)


async def prepare_closing(db: Bare, house: House, _id: UUID, wish: Wish, _now: datetime) -> Wish | None:
    """Complete the mail as it is sent. None: nobody has this e-mail."""
    user_id = await _find(db, wish.to)
    if user_id is None:
        return None
    return Wish(wish.template, wish.to, await locale_of(db, user_id), {"link": house.page(ASK_PAGE), "email": wish.to})


async def _find(db: Bare, email: str) -> UUID | None:
    await stamp_login(db, email)
    user_id: UUID | None = await db.fetchval(FIND, email)
    if user_id is not None:
        await stamp_person(db, user_id)
    return user_id


async def look_at_reset(db: Bare, user_id: UUID, id: UUID, new: str, now: datetime) -> None:
    """Look whether a link holds and the password is good, before it is hashed. Raises LinkInvalid, InvalidInput."""
    email = await look_at_link(db, user_id, id, RESET, now)
    person: Row = await db.fetchrow(PERSON, user_id)
    require_good("/new_password", new, names=(person["name"], *email.split("@")))


async def reset(db: Bare, house: House, user_id: UUID, id: UUID, hash: str, now: datetime) -> None:
    """Store the new password by a link, in the person's own transaction. Every session and every other link ends with it.

    Mail arrives, so the e-mail counts as verified. A second factor stays. Raises LinkInvalid.
    """
    await hold(db, user_id)
    email = await use_link(db, user_id, id, RESET, now)
    await db.execute(STORE, user_id, hash, now)
    await db.execute(VERIFIED, user_id, now)
    await end_all(db, user_id, now)
    await use_up(db, user_id, now)
    await stamp_login(db, email)
    await forget_passwords(db, email)
    await tell(db, house, user_id, "password_changed", email, now, email=email, link=house.page(ASK_PAGE))
