"""Guesses: how many passwords and codes may be wrong, one after the other, before they are not looked at any more.

NIST SP 800-63B-4 section 3.2.2 wants an end after 100 consecutive wrong ones of an account, and names what keeps that end from
hitting the owner: addresses and browsers that it signed in by before. So the hundred are two halves (OWASP, "Slow Down Online
Guessing Attacks with Device Cookies", read 2026-11): one of strangers, however many addresses they come from, and one of those
that are known. A password that is right, or a new one by mail, begins both anew.

Counted by e-mail, whether anybody has it or not: nothing here tells who is here. Each try is counted before it is looked at.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from core.crypto import same, sign
from core.db import Bare, take_turn
from core.errors import TooManyRequests
from core.ids import SUFFIX_LENGTH, decode_suffix, suffix

STRANGERS_MAX = 50
KNOWN_MAX = 50
FREE_CODES = 5
"""Wrong codes of an app, or of recovery, before there is a pause. Who tries them has the password, or a provider's word."""
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=24)
CODES_MAX = 100
"""Then no code counts any more: a passkey does, or a new beginning by the operator."""
DEVICE_FOR = timedelta(days=365)
COUNT_PASSWORD = f"""
insert into password_tries as t (account, by_strangers, by_known, last_at) values ($1, $2, 1 - $2, $3)
on conflict (account) do update set by_strangers = t.by_strangers + excluded.by_strangers,
  by_known = t.by_known + excluded.by_known, last_at = excluded.last_at
where t.by_strangers + excluded.by_strangers <= {STRANGERS_MAX} and t.by_known + excluded.by_known <= {KNOWN_MAX}
returning by_strangers
"""
FORGET_PASSWORDS = "delete from password_tries where account = $1"
NOT_BOUND = UUID(int=0)
"""Under which the codes count of sessions that no provider began."""
CODES = "select failures, last_at from factor_tries where user_id = $1 and bound_to = $2"
COUNT_CODE = """
insert into factor_tries as t (user_id, bound_to, failures, last_at) values ($1, $2, 1, $3)
on conflict (user_id, bound_to) do update set failures = t.failures + 1, last_at = excluded.last_at
"""
FORGET_CODES = "delete from factor_tries where user_id = $1 and bound_to = $2"


class PasswordClosed(TooManyRequests):
    """Too many passwords were wrong for this e-mail, from places that never signed in by it."""

    code = "password_closed"


def _account(email: str) -> bytes:
    return hashlib.sha256(email.encode()).digest()


async def count_password(db: Bare, email: str, *, known: bool, now: datetime) -> bool:
    """Count a password before it is looked at. The transaction is stamped with the e-mail, and must commit.

    Returns whether it was the last one that strangers may try. Raises PasswordClosed when there is none left.
    """
    strangers = await db.fetchval(COUNT_PASSWORD, _account(email), 0 if known else 1, now)
    if strangers is None:
        raise PasswordClosed(headers={"Retry-After": "3600"}, violated_policies=["account"])
    return not known and bool(strangers == STRANGERS_MAX)


async def forget_passwords(db: Bare, email: str) -> None:
    """Begin to count anew: one was right, or there is a new one. The transaction is stamped with the e-mail."""
    await db.execute(FORGET_PASSWORDS, _account(email))


async def count_code(db: Bare, user_id: UUID, bound_to: UUID | None, now: datetime) -> None:
    """Count a code before it is looked at, in a transaction that must commit. Raises TooManyRequests while there is a pause.

    Whom a provider of an agency named (`bound_to`) has shown no password here: such codes count apart, for each agency, so that
    no agency shuts anybody out of another one.
    """
    await take_turn(db, "codes", user_id)  # the first of a burst find no row that they could lock
    row = await db.fetchrow(CODES, user_id, bound_to or NOT_BOUND)
    failures: int = 0 if row is None else row["failures"]
    if failures >= CODES_MAX:
        raise TooManyRequests(headers={"Retry-After": str(int(LONGEST_PAUSE.total_seconds()))}, violated_policies=["code"])
    if row is not None and failures >= FREE_CODES:
        left = (row["last_at"] + _pause(failures) - now).total_seconds()
        if left > 0:
            raise TooManyRequests(headers={"Retry-After": str(int(left) + 1)}, violated_policies=["code"])
    await db.execute(COUNT_CODE, user_id, bound_to or NOT_BOUND, now)


def _pause(failures: int) -> timedelta:
    doublings = min(failures - FREE_CODES, 12)
    return min(FIRST_PAUSE * (1 << doublings), LONGEST_PAUSE)


async def forget_codes(db: Bare, user_id: UUID, bound_to: UUID | None) -> None:
    """Begin to count anew: one was right."""
    await db.execute(FORGET_CODES, user_id, bound_to or NOT_BOUND)


@dataclass(frozen=True, slots=True)
class Devices:
    """What a browser keeps for a year once a person has signed in with it, or until there is a new password. It opens nothing.

    Whoever knew the last password has such a browser too: the moment of the change (`since`) is part of what is signed.
    """

    secret: str

    def write(self, user_id: UUID, since: datetime | None) -> str:
        """Make the text of a browser's cookie."""
        text = suffix(user_id) + secrets.token_hex(8)
        return text + self._mac(text, since)

    def fits(self, text: str, user_id: UUID, since: datetime | None) -> bool:
        """Say whether a cookie is one that this person got."""
        begin, mac = text[: SUFFIX_LENGTH + 16], text[SUFFIX_LENGTH + 16 :]
        if not text.isascii() or not same(mac.encode(), self._mac(begin, since).encode()):
            return False
        return decode_suffix(begin[:SUFFIX_LENGTH]) == user_id

    def _mac(self, text: str, since: datetime | None) -> str:
        return sign(self.secret, "device", f"{text} {since and since.timestamp()}".encode()).hex()
