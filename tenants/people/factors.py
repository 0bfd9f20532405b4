"""The second factors of a person: which there are, how a sign-in is completed by one, and what a change of them brings along."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from core.db import Bare, Row
from tenants.people.codes import clear_codes, make_codes
from tenants.people.house import House, tell
from tenants.people.sessions import SignedIn, keep_only

READ = """
select (select confirmed_at from totp_factors where user_id = $1) totp_since,
  exists (select from passkeys where user_id = $1) passkeys,
  (select count(*) from recovery_codes where user_id = $1 and used_at is null) codes_left
"""


class Factors(NamedTuple):
    """What a person can sign in with beside the password."""

    totp_since: datetime | None
    passkeys: bool
    codes_left: int

    @property
    def any(self) -> bool:
        """There is a second factor; recovery codes alone are none."""
        return self.totp_since is not None or self.passkeys

    @property
    def names(self) -> list[str]:
        """The ways to complete a sign-in."""
        there = {"totp": self.totp_since is not None, "passkey": self.passkeys, "recovery_code": self.codes_left > 0}
        return [name for name, given in there.items() if given] if self.any else []


async def factors_of(db: Bare, user_id: UUID) -> Factors:
    """Read them, in the person's own transaction."""
    row: Row = await db.fetchrow(READ, user_id)
    return Factors(row["totp_since"], row["passkeys"], row["codes_left"])


async def after_adding(db: Bare, house: House, signed: SignedIn, now: datetime) -> tuple[list[str] | None, str | None]:
    """Do what the first factor brings along: codes of recovery, an end to all other sessions, a new text for this one.

    Returns the codes and the text; of a further factor neither. The person is told by mail of each. `signed` is as it was found
    when the person was held, before the factor was added.
    """
    codes = text = None
    if not signed.has_second_factor:
        codes, text = await make_codes(db, house, signed.user_id), await keep_only(db, signed, now)
    await tell_of_change(db, house, signed, now)
    return codes, text


async def after_removing(db: Bare, house: House, signed: SignedIn, now: datetime) -> None:
    """Tell the person; with the last factor its codes of recovery go."""
    if not (await factors_of(db, signed.user_id)).any:
        await clear_codes(db, signed.user_id)
    await tell_of_change(db, house, signed, now)


async def tell_of_change(db: Bare, house: House, signed: SignedIn, now: datetime) -> None:
    """Send the mail that says that second factors have changed."""
    facts = {"email": signed.email, "link": house.page("security")}
    await tell(db, house, signed.user_id, "second_factor_changed", signed.email, now, **facts)
