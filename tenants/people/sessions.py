"""Sessions of people: the text of the cookie, and the look-ups by it. Statements run under the person's own stamp.

Text: the person (26 characters of base32) and a secret (43 characters, 215 random bits). As in a key (docs/decisions/0005) the
holder stands in the text so that the transaction can be stamped before the look-up: nothing is read across people.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from core.credentials import SECRET_LENGTH, new_secret
from core.crypto import hash_key
from core.db import Bare, Row, stamp_person
from core.errors import Missing, PermissionDenied, Unauthenticated
from core.ids import SUFFIX_LENGTH, decode_suffix, new_id, suffix

TEXT_LENGTH = SUFFIX_LENGTH + SECRET_LENGTH
IDLE = timedelta(hours=12)
ABSOLUTE = timedelta(days=30)
"""NIST SP 800-63B-4 section 2.1.3 wants an end after 30 days at the latest."""
SEEN_STEP = timedelta(seconds=60)
"""`last_seen_at` is written at most this often, so that reading does not mean writing."""
KEPT = timedelta(days=30)
"""How long an ended session is kept, for who wonders what it was."""
SESSIONS_MAX = 50
"""Of one person at a time, and as many in each agency whose provider began them; one more ends the oldest."""
HALF_MAX = 5
"""Of those that wait for the second factor, likewise."""
USER_AGENT_LENGTH_MAX = 200

ACTIVE, HALF = "active", "second_factor_needed"
HALF_FOR = timedelta(minutes=10)
"""How long a session waits for the second factor."""
RECENT = timedelta(minutes=10)
"""How old a password or a second factor may be to change what one signs in by."""

ALIVE = "revoked_at is null and last_seen_at > $2 and created_at > $3"
FACTORS = """(exists (select from totp_factors f where f.user_id = $1 and f.confirmed_at is not null)
  or exists (select from passkeys p where p.user_id = $1))"""
HAS_FACTOR = f"select {FACTORS}"
LOOK_UP = f"""
select s.id, s.last_seen_at, s.state, s.created_at, s.authenticated_at, s.bound_to, s.provider_id,
  u.id user_id, u.email, u.name, u.locale,
  {FACTORS} has_second_factor
from sessions s join users u on u.id = s.user_id
where s.user_id = $1 and s.revoked_at is null and s.last_seen_at > $2 and s.created_at > $3 and s.hash = $4
"""
TOUCH = "update sessions set last_seen_at = $3 where user_id = $1 and id = $2"
SWEEP = "delete from sessions where user_id = $1 and (revoked_at < $2 or last_seen_at < $2)"
INSERT = """
insert into sessions (user_id, id, hash, address, user_agent, last_seen_at, created_at, state, authenticated_at,
  bound_to, provider_id)
values ($1, $2, $3, $4, $5, $6, $6, $7, $6, $8, $9)
"""
CROWD_OUT = f"""
update sessions set revoked_at = $4 where user_id = $1 and id in (
  select id from sessions where user_id = $1 and {ALIVE} and state = $6 and bound_to is not distinct from $7
  order by created_at desc, id desc offset $5)
"""
"""Within its own kind: neither who knows the password alone nor an agency's provider ends what was begun otherwise."""
LIST = f"""
select id, address, user_agent, created_at, last_seen_at from sessions
where user_id = $1 and {ALIVE} and state = 'active' order by id desc
"""
REVOKE = f"update sessions set revoked_at = $5 where user_id = $1 and {ALIVE} and id = $4 returning id"
REVOKE_OTHERS = "update sessions set revoked_at = $3 where user_id = $1 and id <> $2 and revoked_at is null"
RENEW = "update sessions set hash = $3 where user_id = $1 and id = $2"
REVOKE_ALL = "update sessions set revoked_at = $2 where user_id = $1 and revoked_at is null"
CONFIRM = "update sessions set authenticated_at = $3 where user_id = $1 and id = $2"
ENTER = "select from users where id = $1 for share"
HOLD = "select from users where id = $1 for no key update"
"""Beginning a session waits for what ends all others of the person, and that for it: neither overlooks the other."""
STILL = f"""
select {FACTORS} has_second_factor from sessions where user_id = $1 and id = $2 and revoked_at is null and state = 'active'
"""
SEEN_FROM = """
select exists (select from sessions where user_id = $1 and address = $2 and state = 'active' and created_at >= $3
  and bound_to is null) known
"""


class SessionBound(PermissionDenied):
    """A provider of one agency began this session: it opens that agency, and nothing of the person's own."""

    code = "session_bound"


class Bound(NamedTuple):
    """The one agency that a session opens, and the provider of it that says who this is."""

    agency_id: UUID
    provider_id: UUID


class SecondFactorNeeded(Unauthenticated):
    """The password was right, and the second factor has not come yet."""

    code = "second_factor_needed"


class ReauthenticationRequired(PermissionDenied):
    """What one signs in by is changed by who has just shown that it is him."""

    code = "reauthentication_required"


@dataclass(frozen=True, slots=True)
class PresentedSession:
    """A cookie that is well formed: whose it says it is, and its hash."""

    user_id: UUID
    hash: bytes


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person whose session is alive."""

    user_id: UUID
    session_id: UUID
    email: str
    name: str
    locale: str
    has_second_factor: bool = False
    authenticated_at: datetime | None = None
    bound: Bound | None = None

    @property
    def bound_to(self) -> UUID | None:
        """The one agency that it opens, if a provider of it began it."""
        return None if self.bound is None else self.bound.agency_id


def write_session(user_id: UUID) -> str:
    """Make the text of a new session."""
    return suffix(user_id) + new_secret()


def read_session(text: str) -> PresentedSession:
    """Read the text of a cookie. Raises Unauthenticated unless its form is right; looks nothing up."""
    if len(text) != TEXT_LENGTH or not text.isascii():
        raise Unauthenticated
    try:
        return PresentedSession(decode_suffix(text[:SUFFIX_LENGTH]), hash_key(text))
    except ValueError as error:
        raise Unauthenticated from error


def _alive(now: datetime) -> tuple[datetime, datetime]:
    return now - IDLE, now - ABSOLUTE


async def find_session(db: Bare, presented: PresentedSession, now: datetime, state: str = ACTIVE) -> SignedIn:
    """Look the session up, and note that it was seen. Raises Unauthenticated for unknown, ended and revoked ones alike.

    A session that waits for the second factor opens nothing but what asks for that `state`. Raises SecondFactorNeeded.
    """
    row = await db.fetchrow(LOOK_UP, presented.user_id, *_alive(now), presented.hash)
    if row is None or (row["state"] == HALF and row["created_at"] < now - HALF_FOR):
        raise Unauthenticated
    if row["state"] != state:
        raise SecondFactorNeeded if row["state"] == HALF else Unauthenticated
    if row["last_seen_at"] < now - SEEN_STEP:
        await db.execute(TOUCH, presented.user_id, row["id"], now)
    return SignedIn(
        row["user_id"], row["id"], row["email"], row["name"], row["locale"], row["has_second_factor"],
        row["authenticated_at"], Bound(row["bound_to"], row["provider_id"]) if row["bound_to"] else None,
    )  # fmt: skip


async def enter(db: Bare, user_id: UUID) -> None:
    """Wait for whatever ends the person's sessions, before anything is read by which one begins. First of all locks."""
    await db.execute(ENTER, user_id)


async def hold(db: Bare, user_id: UUID) -> None:
    """Let no session of the person begin until the transaction ends, and wait for those that do. First of all locks."""
    await db.execute(HOLD, user_id)


async def hold_signed(db: Bare, signed: SignedIn) -> SignedIn:
    """Hold the person, and look again who is signed in. Raises Unauthenticated when the session has ended meanwhile."""
    await hold(db, signed.user_id)
    row = await db.fetchrow(STILL, signed.user_id, signed.session_id)
    if row is None:
        raise Unauthenticated
    return replace(signed, has_second_factor=row["has_second_factor"])


async def begin_session(
    db: Bare, user_id: UUID, address: str | None, user_agent: str, now: datetime, state: str = ACTIVE, bound: Bound | None = None
) -> tuple[UUID, str]:  # fmt: skip
    """Begin a session. Returns its id and the text for the cookie, which is stored nowhere."""
    text, id = write_session(user_id), new_id()
    await db.execute(SWEEP, user_id, now - KEPT)
    await db.execute(
        INSERT, user_id, id, hash_key(text), address, user_agent[:USER_AGENT_LENGTH_MAX], now, state, *(bound or (None, None))
    )
    most = HALF_MAX if state == HALF else SESSIONS_MAX
    await db.execute(CROWD_OUT, user_id, *_alive(now), now, most, state, None if bound is None else bound.agency_id)
    return id, text


async def list_sessions(db: Bare, user_id: UUID, now: datetime) -> list[Row]:
    """The person's living sessions, newest first."""
    rows: list[Row] = await db.fetch(LIST, user_id, *_alive(now))
    return rows


async def revoke_session(db: Bare, user_id: UUID, session_id: UUID, now: datetime) -> None:
    """End one session of the person's. Raises Missing for what has ended, was never, or is somebody else's."""
    if await db.fetchrow(REVOKE, user_id, *_alive(now), session_id, now) is None:
        raise Missing


async def keep_only(db: Bare, signed: SignedIn, now: datetime) -> str:
    """End every other session of the person, and give this one a new text, which is returned."""
    text = write_session(signed.user_id)
    await db.execute(REVOKE_OTHERS, signed.user_id, signed.session_id, now)
    await db.execute(RENEW, signed.user_id, signed.session_id, hash_key(text))
    return text


async def has_second_factor(db: Bare, user_id: UUID) -> bool:
    """Say whether a person has a second factor, from the transaction of an agency. The person's stamp is gone afterwards."""
    await stamp_person(db, user_id)
    there: bool = await db.fetchval(HAS_FACTOR, user_id)
    await stamp_person(db, None)
    return there


async def end_all(db: Bare, user_id: UUID, now: datetime) -> None:
    """End every session of a person."""
    await db.execute(REVOKE_ALL, user_id, now)


async def was_seen_from(db: Bare, user_id: UUID, address: str | None, since: datetime | None, now: datetime) -> bool:
    """Say whether the person has signed in from this address while its sessions are remembered, and with its password of now.

    `since` is when there was a new one: whoever knew the last one has been here too.
    """
    after = max(now - KEPT, since or now - KEPT)
    return address is not None and bool(await db.fetchval(SEEN_FROM, user_id, address, after))


def require_recent(signed: SignedIn, now: datetime) -> None:
    """Refuse a person that has not shown for a while that it is him. Raises ReauthenticationRequired."""
    if signed.authenticated_at is None or signed.authenticated_at < now - RECENT:
        raise ReauthenticationRequired


async def confirm(db: Bare, signed: SignedIn, now: datetime) -> None:
    """Write down that the person has just shown that it is him."""
    await db.execute(CONFIRM, signed.user_id, signed.session_id, now)
