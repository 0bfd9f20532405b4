"""Sessions of people: the text of the cookie, and the look-ups by it. Statements run under the person's own stamp.

Text: the person (26 characters of base32) and a secret (43 characters, 215 random bits). As in a key (docs/decisions/0005) the
holder stands in the text so that the transaction can be stamped before the look-up: nothing is read across people.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from core.crypto import hash_key
from core.db import Bare, Row
from core.errors import Missing, Unauthenticated
from core.ids import ALPHABET, SUFFIX_LENGTH, decode_suffix, new_id, suffix

SECRET_LENGTH = 43
TEXT_LENGTH = SUFFIX_LENGTH + SECRET_LENGTH
IDLE = timedelta(hours=12)
ABSOLUTE = timedelta(days=30)
"""NIST SP 800-63B-4 section 2.1.3 wants an end after 30 days at the latest."""
SEEN_STEP = timedelta(seconds=60)
"""`last_seen_at` is written at most this often, so that reading does not mean writing."""
KEPT = timedelta(days=30)
"""How long an ended session is kept, for who wonders what it was."""
SESSIONS_MAX = 50
"""Of one person at a time; one more ends the oldest."""
USER_AGENT_LENGTH_MAX = 200

ALIVE = "revoked_at is null and last_seen_at > $2 and created_at > $3"
LOOK_UP = """
select s.id, s.last_seen_at, u.id user_id, u.email, u.name, u.locale
from sessions s join users u on u.id = s.user_id
where s.user_id = $1 and s.revoked_at is null and s.last_seen_at > $2 and s.created_at > $3 and s.hash = $4
"""
TOUCH = "update sessions set last_seen_at = $3 where user_id = $1 and id = $2"
SWEEP = "delete from sessions where user_id = $1 and (revoked_at < $2 or last_seen_at < $2)"
INSERT = """
insert into sessions (user_id, id, hash, address, user_agent, last_seen_at, created_at) values ($1, $2, $3, $4, $5, $6, $6)
"""
CROWD_OUT = f"""
update sessions set revoked_at = $4 where user_id = $1 and id in (
  select id from sessions where user_id = $1 and {ALIVE} order by created_at desc, id desc offset $5)
"""
LIST = f"""
select id, address, user_agent, created_at, last_seen_at from sessions where user_id = $1 and {ALIVE} order by id desc
"""
REVOKE = f"update sessions set revoked_at = $5 where user_id = $1 and {ALIVE} and id = $4 returning id"
REVOKE_OTHERS = "update sessions set revoked_at = $3 where user_id = $1 and id <> $2 and revoked_at is null"
RENEW = "update sessions set hash = $3 where user_id = $1 and id = $2"


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


def write_session(user_id: UUID) -> str:
    """Make the text of a new session."""
    return suffix(user_id) + "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))


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


async def find_session(db: Bare, presented: PresentedSession, now: datetime) -> SignedIn:
    """Look the session up, and note that it was seen. Raises Unauthenticated for unknown, ended and revoked ones alike."""
    row = await db.fetchrow(LOOK_UP, presented.user_id, *_alive(now), presented.hash)
    if row is None:
        raise Unauthenticated
    if row["last_seen_at"] < now - SEEN_STEP:
        await db.execute(TOUCH, presented.user_id, row["id"], now)
    return SignedIn(row["user_id"], row["id"], row["email"], row["name"], row["locale"])


async def begin_session(db: Bare, user_id: UUID, address: str | None, user_agent: str, now: datetime) -> tuple[UUID, str]:
    """Begin a session. Returns its id and the text for the cookie, which is stored nowhere."""
    text, id = write_session(user_id), new_id()
    await db.execute(SWEEP, user_id, now - KEPT)
    await db.execute(INSERT, user_id, id, hash_key(text), address, user_agent[:USER_AGENT_LENGTH_MAX], now)
    await db.execute(CROWD_OUT, user_id, *_alive(now), now, SESSIONS_MAX)
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
