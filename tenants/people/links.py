"""Links in mails: a text that the person's mailbox has and nobody else.

The text is the person, the row of `mail_links`, and an HMAC over both and the purpose (OCTAVO_SECRET). So nothing that opens
anything is stored, a worker that sends twice sends the same link, and garbage never reaches the database. The row says for how
long it holds, and that it holds once.
"""

from datetime import datetime, timedelta
from uuid import UUID

from core.crypto import same, sign
from core.db import Bare, Row, take_turn
from core.errors import Unprocessable
from core.ids import SUFFIX_LENGTH, decode_suffix, suffix

VERIFY, RESET = "verify_email", "password_reset"
LIFETIME = {VERIFY: timedelta(hours=24), RESET: timedelta(minutes=30)}
MANY = 5
"""Links of one purpose that a person gets in an hour."""
MAC_LENGTH = 64
TEXT_LENGTH = 2 * SUFFIX_LENGTH + MAC_LENGTH
PER = timedelta(hours=1)
KEPT = timedelta(days=30)
RECENT = "select count(*) from mail_links where user_id = $1 and purpose = $2 and created_at > $3 and id <> $4"
SWEEP = "delete from mail_links where user_id = $1 and created_at < $2"
ADD = """
insert into mail_links (user_id, id, purpose, email, expires_at, created_at) values ($1, $2, $3, $4, $5, $6)
on conflict (user_id, id) do nothing
"""
ALIVE = "user_id = $1 and id = $2 and purpose = $3 and used_at is null and expires_at > $4"
LOOK = f"select email from mail_links where {ALIVE}"
USE = f"update mail_links set used_at = $4 where {ALIVE} returning email"
USE_UP = "update mail_links set used_at = $2 where user_id = $1 and used_at is null"


class LinkInvalid(Unprocessable):
    """It was used, has expired, or is no link of ours: the same for all."""

    code = "link_invalid"


def write_link(secret: str, purpose: str, user_id: UUID, id: UUID) -> str:
    """Write the text of a link."""
    return suffix(user_id) + suffix(id) + sign(secret, f"mail-link-{purpose}", user_id.bytes + id.bytes).hex()


def read_link(secret: str, purpose: str, text: str) -> tuple[UUID, UUID]:
    """Read whose link it is and which one. Raises LinkInvalid; looks nothing up."""
    if len(text) != TEXT_LENGTH or not text.isascii():
        raise LinkInvalid
    try:
        user_id, id = decode_suffix(text[:SUFFIX_LENGTH]), decode_suffix(text[SUFFIX_LENGTH : 2 * SUFFIX_LENGTH])
    except ValueError as error:
        raise LinkInvalid from error
    if not same(write_link(secret, purpose, user_id, id).encode(), text.encode()):
        raise LinkInvalid
    return user_id, id


async def add_link(db: Bare, user_id: UUID, id: UUID, purpose: str, email: str, now: datetime) -> bool:
    """Let a link hold from now on. False: the person has got too many of them lately. Twice the same is one."""
    await take_turn(db, "mail-links", user_id)
    await db.execute(SWEEP, user_id, now - KEPT)
    if await db.fetchval(RECENT, user_id, purpose, now - PER, id) >= MANY:
        return False
    await db.execute(ADD, user_id, id, purpose, email, now + LIFETIME[purpose], now)
    return True


async def look_at_link(db: Bare, user_id: UUID, id: UUID, purpose: str, now: datetime) -> str:
    """Read for which address a link holds, and leave it. Raises LinkInvalid."""
    email: str | None = await db.fetchval(LOOK, user_id, id, purpose, now)
    if email is None:
        raise LinkInvalid
    return email


async def use_link(db: Bare, user_id: UUID, id: UUID, purpose: str, now: datetime) -> str:
    """Use a link, which ends it, and return for which address it held. Raises LinkInvalid."""
    row: Row | None = await db.fetchrow(USE, user_id, id, purpose, now)
    if row is None:
        raise LinkInvalid
    email: str = row["email"]
    return email


async def use_up(db: Bare, user_id: UUID, now: datetime) -> None:
    """End every link of a person."""
    await db.execute(USE_UP, user_id, now)
