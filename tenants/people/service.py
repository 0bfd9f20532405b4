"""Signing in by e-mail and password, and changing the password."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from core.db import Bare, Row, stamp_login, stamp_person
from core.errors import Unauthenticated
from core.ids import new_id
from tenants.people.members import agencies_of
from tenants.people.passwords import Passwords, require_good
from tenants.people.sessions import SignedIn, begin_session, keep_only

BY_EMAIL = "select id, name, email from users where email = $1"
PASSWORD = "select hash from passwords where user_id = $1"
STORE = "update passwords set hash = $2, changed_at = $3 where user_id = $1"
STORE_BETTER = "update passwords set hash = $2 where user_id = $1 and hash = $3"


class Refused(Unauthenticated):
    """The e-mail and the password do not fit. The same for an e-mail that nobody has: who is here is no one's business."""

    code = "sign_in_failed"


class Begun(NamedTuple):
    """A session that has begun; `text` is for the cookie, and for nothing else."""

    session_id: UUID
    text: str
    person: Row
    agencies: list[Row]
    begun_at: datetime


async def known_hash(db: Bare, email: str) -> tuple[Row | None, str | None]:
    """Find who signs in by an e-mail, and the hash of the password. Leaves the transaction with that person's stamp."""
    await stamp_login(db, email)
    person = await db.fetchrow(BY_EMAIL, email)
    id = new_id() if person is None else person["id"]  # as many statements for who does not exist
    await stamp_person(db, id)
    return person, await db.fetchval(PASSWORD, id)


async def begin(
    db: Bare, person: Row, hash: str, better: str | None, *, address: str | None, user_agent: str, now: datetime
) -> Begun:  # fmt: skip
    """Begin the session of a person whose password was right, which was looked at outside of any transaction.

    Raises Refused when the password was changed meanwhile.
    """
    await stamp_person(db, person["id"])
    if await db.fetchval(f"{PASSWORD} for share", person["id"]) != hash:
        raise Refused
    if better is not None:
        await db.execute(STORE_BETTER, person["id"], better, hash)
    session_id, text = await begin_session(db, person["id"], address, user_agent, now)
    return Begun(session_id, text, person, await agencies_of(db, person["id"]), now)


async def change_password(
    db: Bare, passwords: Passwords, signed: SignedIn, current: str, new: str, now: datetime
) -> str:  # fmt: skip
    """Change the password, end every other session, and give this one a new text, which is returned. Raises Refused."""
    hash = await db.fetchval(f"{PASSWORD} for update", signed.user_id)
    fits, _ = await passwords.verify(current, hash)
    if not fits:
        raise Refused
    require_good("/new_password", new, names=(signed.name, *signed.email.split("@")))
    await db.execute(STORE, signed.user_id, await passwords.hash(new), now)
    return await keep_only(db, signed, now)
