"""Mail to be sent: written in the transaction that causes it, and sent by a worker, so no request waits for a mail server.

A mail is written from both kinds of transactions: an agency's, where it is the agency's row, and a person's, where it stands
under SYSTEM. What it says is sealed under the ring itself: it lives for minutes, and a person has no agency whose key to take.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from core import duties
from core.crypto import KeyRing
from core.db import Bare, Row, stamp_agency
from core.duties import SYSTEM
from core.ids import new_id

KIND = "mail"
INSERT = "insert into mails (agency_id, id, template, sealed, created_at) values ($1, $2, $3, $4, $5)"
READ = "select id, template, sealed, created_at from mails where agency_id = $1 and id = $2 and state = 'waiting'"
SENT = "delete from mails where agency_id = $1 and id = $2"
END = "update mails set state = $3, refusal = $4, sealed = null where agency_id = $1 and id = $2"
SWEEP = "delete from mails where agency_id = $1 and state <> 'waiting' and created_at < $2"
KEPT = timedelta(days=30)
"""How long it is known of a mail that it was not sent."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A mail to be sent: its template (tenants/mail/texts.toml), and what stands in it."""

    template: str
    to: str
    locale: str
    facts: Mapping[str, str]


async def send_mail(db: Bare, ring: KeyRing, wish: Wish, now: datetime, *, agency_id: UUID | None = None) -> UUID:
    """Send a mail, once the transaction has committed. `agency_id` is the one that the transaction is stamped with, if any.

    The facts may hold a link with a secret in it: they are sealed, and deleted when the mail is sent.
    """
    id, owner = new_id(), agency_id or SYSTEM
    sealed = ring.wrap(id, orjson.dumps({"to": wish.to, "locale": wish.locale, "facts": dict(wish.facts)}))
    if agency_id is None:
        await stamp_agency(db, SYSTEM)
    await db.execute(INSERT, owner, id, wish.template, sealed, now)
    await duties.put(db, KIND, owner, [(id, now, None)], now)
    if agency_id is None:
        await stamp_agency(db, None)
    return id


async def find_mail(db: Bare, ring: KeyRing, agency_id: UUID, id: UUID) -> tuple[Wish, datetime] | None:
    """Read a mail that waits, and when it was written. Raises SealBroken when the ring does not open it."""
    row: Row | None = await db.fetchrow(READ, agency_id, id)
    if row is None:
        return None
    content = orjson.loads(ring.unwrap(id, row["sealed"]))
    return Wish(row["template"], content["to"], content["locale"], content["facts"]), row["created_at"]


async def forget_mail(db: Bare, agency_id: UUID, id: UUID, now: datetime) -> None:
    """Delete a mail that is sent, or that nobody wants any more; and what ended long ago with it."""
    await db.execute(SENT, agency_id, id)
    await db.execute(SWEEP, agency_id, now - KEPT)


async def end_mail(db: Bare, agency_id: UUID, id: UUID, state: str, refusal: str) -> None:
    """Record that a mail will never be sent: `refused` by a mail server for good, or `given_up`. Its content is deleted."""
    await db.execute(END, agency_id, id, state, refusal)
