"""Signing in by e-mail and password, by a second factor, and by a passkey alone; and changing the password.

Nothing slow happens inside a transaction: what is looked up is hashed or compared outside, and looked up again where it counts.
"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from core.db import Bare, Row, stamp_login, stamp_person
from core.errors import Missing, Unauthenticated
from core.ids import new_id
from tenants.people.codes import check_app, use_code
from tenants.people.factors import factors_of
from tenants.people.house import House, tell
from tenants.people.members import agencies_of
from tenants.people.passkeys import check_passkey
from tenants.people.resets import ASK_PAGE
from tenants.people.sessions import (
    ACTIVE,
    HALF,
    Bound,
    SignedIn,
    begin_session,
    enter,
    hold_signed,
    keep_only,
    revoke_session,
    was_seen_from,
)
from tenants.people.tries import Devices, count_password, forget_codes, forget_passwords

BY_EMAIL = "select id, name, email from users where email = $1"
BY_ID = """
select u.id, u.name, u.email, p.changed_at from users u left join passwords p on p.user_id = u.id where u.id = $1
"""
PASSWORD = "select hash from passwords where user_id = $1"
TO_TRY = "select hash, changed_at from passwords where user_id = $1"
STORE = "update passwords set hash = $2, changed_at = $3 where user_id = $1"
STORE_BETTER = "update passwords set hash = $2 where user_id = $1 and hash = $3"


class Refused(Unauthenticated):
    """The e-mail and the password do not fit. The same for an e-mail that nobody has: who is here is no one's business."""

    code = "sign_in_failed"


class Place(NamedTuple):
    """From where somebody signs in: the client's address, what the browser calls itself, and whose device it says it is."""

    address: str | None
    user_agent: str
    device: str


class Tried(NamedTuple):
    """Who tries a password, if there is such a person; its hash; and whether it was the last one that strangers may try."""

    person: Row | None
    hash: str | None
    last: bool


class Begun(NamedTuple):
    """A session that has begun; `text` is for the cookie, and for nothing else. `factors`: what completes it, if it waits."""

    session_id: UUID
    text: str
    person: Row
    agencies: list[Row]
    begun_at: datetime
    factors: list[str]
    bound: Bound | None = None


async def try_password(db: Bare, devices: Devices, email: str, place: Place, now: datetime) -> Tried:
    """Find who signs in by an e-mail, and count the password before it is looked at. The transaction must commit.

    The same statements for an e-mail that nobody has. Raises PasswordClosed.
    """
    await stamp_login(db, email)
    person = await db.fetchrow(BY_EMAIL, email)
    id = new_id() if person is None else person["id"]
    await stamp_person(db, id)
    row = await db.fetchrow(TO_TRY, id)
    hash, since = (None, None) if row is None else row
    known = await was_seen_from(db, id, place.address, since, now) or devices.fits(place.device, id, since)
    return Tried(person, hash, await count_password(db, email, known=known, now=now))


async def begin(db: Bare, person: Row, hash: str, better: str | None, place: Place, now: datetime) -> Begun:
    """Begin the session of a person whose password was right, which was looked at outside of any transaction.

    With a second factor it is half a session, which can only be completed. Raises Refused when the password was changed meanwhile.
    """
    await stamp_person(db, person["id"])
    await enter(db, person["id"])
    if await db.fetchval(f"{PASSWORD} for share", person["id"]) != hash:
        raise Refused
    if better is not None:
        await db.execute(STORE_BETTER, person["id"], better, hash)
    await stamp_login(db, person["email"])
    await forget_passwords(db, person["email"])
    factors = (await factors_of(db, person["id"])).names
    if factors:
        session_id, text = await begin_session(db, person["id"], place.address, place.user_agent, now, HALF)
        return Begun(session_id, text, person, [], now, factors)
    return await begin_whole(db, person["id"], place, now)


async def begin_whole(db: Bare, user_id: UUID, place: Place, now: datetime, bound: Bound | None = None) -> Begun:
    """Begin a session that is asked for nothing more."""
    person: Row = await db.fetchrow(BY_ID, user_id)
    session_id, text = await begin_session(db, user_id, place.address, place.user_agent, now, ACTIVE, bound)
    return Begun(session_id, text, person, await agencies_of(db, user_id, bound), now, [], bound)


async def begin_bound(db: Bare, user_id: UUID, bound: Bound, place: Place, now: datetime, *, second_factor: bool) -> Begun:
    """Begin the session of who a provider of an agency has named. It opens that agency alone.

    Unless the provider asks for a `second_factor` itself, who has one here is asked for it: then it is half a session.
    """
    await enter(db, user_id)
    factors = [] if second_factor else (await factors_of(db, user_id)).names
    if not factors:
        return await begin_whole(db, user_id, place, now, bound)
    person: Row = await db.fetchrow(BY_ID, user_id)
    session_id, text = await begin_session(db, user_id, place.address, place.user_agent, now, HALF, bound)
    return Begun(session_id, text, person, [], now, factors, bound)


async def complete(db: Bare, house: House, waiting: SignedIn, factor: str, answer: Any, place: Place, now: datetime) -> Begun:
    """Complete half a session: it ends, and another begins under another id. Raises Refused.

    Raises Unauthenticated when it has ended meanwhile: by a new password, say.
    """
    await enter(db, waiting.user_id)
    if not await is_right(db, house, waiting, factor, answer, now):
        raise Refused
    await forget_codes(db, waiting.user_id, waiting.bound_to)
    try:
        await revoke_session(db, waiting.user_id, waiting.session_id, now)
    except Missing as error:
        raise Unauthenticated from error
    return await begin_whole(db, waiting.user_id, place, now, waiting.bound)


async def is_right(db: Bare, house: House, waiting: SignedIn, factor: str, answer: Any, now: datetime) -> bool:
    """Say whether the answer of a second factor is right. One of a code is used by it."""
    if factor == "code":
        return await check_app(db, house, waiting.user_id, answer, now)
    if factor == "recovery_code":
        return await use_code(db, house, waiting.user_id, answer, now)
    return await check_passkey(db, house, waiting.user_id, waiting, answer, now)


async def begin_by_passkey(db: Bare, house: House, user_id: UUID, answer: dict[str, Any], place: Place, now: datetime) -> Begun:
    """Begin the session of who answers with a passkey that has asked who uses it: that is two factors. Raises Refused."""
    await enter(db, user_id)
    if not await check_passkey(db, house, user_id, None, answer, now):
        raise Refused
    return await begin_whole(db, user_id, place, now)


async def try_own_password(db: Bare, signed: SignedIn, now: datetime) -> str | None:
    """Count a password of who is signed in, and read the hash that it must fit. The transaction must commit.

    Raises PasswordClosed: a cookie that was stolen is no place to guess from.
    """
    await stamp_login(db, signed.email)
    await count_password(db, signed.email, known=True, now=now)
    hash: str | None = await db.fetchval(PASSWORD, signed.user_id)
    return hash


async def own_password_was_right(db: Bare, signed: SignedIn) -> None:
    """Begin to count the passwords anew."""
    await stamp_login(db, signed.email)
    await forget_passwords(db, signed.email)


async def change_password(db: Bare, house: House, signed: SignedIn, before: str, after: str, now: datetime) -> str:
    """Change the hash that was looked at to a new one, end every other session, and give this one a new text, which is returned.

    Raises Refused when the password was changed meanwhile, and Unauthenticated when the session has ended.
    """
    await hold_signed(db, signed)
    if await db.fetchval(f"{PASSWORD} for update", signed.user_id) != before:
        raise Refused
    await db.execute(STORE, signed.user_id, after, now)
    facts = {"email": signed.email, "link": house.page(ASK_PAGE)}
    await tell(db, house, signed.user_id, "password_changed", signed.email, now, **facts)
    return await keep_only(db, signed, now)
