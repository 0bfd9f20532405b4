"""Mail duties: each sends one mail. A server that is away is tried again; one that refuses for good is believed.

A mail is sent at least once: a worker that dies between the server's word and its own record sends again, under the same
Message-ID.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

from core import duties
from core.clock import now
from core.db import Bare, Person, Tenant
from core.duties import Claimed
from core.mail import DEADLINE_S, Away, Letter, Refused, deliver, write
from tenants.mail.service import KIND, Wish, end_mail, find_mail, forget_mail
from tenants.mail.texts import compose, spoken
from tenants.people.house import House
from tenants.people.links import RESET
from tenants.people.resets import CLOSED, prepare_closing, prepare_reset
from workers.context import Context

log = logging.getLogger("octavo.mail")
AT_ONCE = 4
"""Connections to the mail server of one batch."""
DELAYS_S = (10, 60, 300, 900, 3_600)
"""Between tries; the last one again and again."""
GIVE_UP = timedelta(hours=12)
"""What people wait for is of no use to them later."""
Prepare = Callable[[Bare, House, UUID, Wish, datetime], Awaitable[Wish | None]]
PREPARE: dict[str, Prepare] = {RESET: prepare_reset, CLOSED: prepare_closing}
"""Template -> what makes its facts when it is sent, or says that nobody gets it."""


async def run(context: Context, agency_id: UUID, claimed: list[Claimed]) -> None:
    """Send each mail, apart from the others' errors; one that fails comes back with its lease."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(row: Claimed) -> None:
        try:
            async with slots:
                await _send(context, agency_id, row)
        except Exception:
            log.exception("mail failed", extra={"kind": KIND, "agency_id": str(agency_id)})

    await asyncio.gather(*(one(row) for row in claimed))


async def _send(context: Context, agency_id: UUID, row: Claimed) -> None:
    """Begin the duty, send outside of any transaction, and record what became of it."""
    id = row.subject_id
    async with context.database.connection(Tenant(agency_id)) as db:
        started = await duties.start(db, KIND, [row], context.settings.lease)
        if not started:
            return
        begun: int = started[0]["begun"]
        duty = row._replace(fence=started[0]["fence"])
        found = await find_mail(db, context.ring, agency_id, id)
    if found is None:
        await _end(context, duty, "", "")
        return
    wish, written_at = found
    wanted = await _prepared(context, id, wish)
    if wanted is None:
        await _end(context, duty, "", "")
        return
    try:
        await _hand_over(context, id, wanted)
    except Refused as error:
        log.warning("mail refused", extra={"mail_id": str(id), "template": wish.template, "status": error.code})
        await _end(context, duty, "refused", str(error.code))
    except Away as error:
        await _come_again(context, duty, begun, written_at, error.reason)
    else:
        await _end(context, duty, "", "")


async def _prepared(context: Context, id: UUID, wish: Wish) -> Wish | None:
    """Complete a mail whose request did not look whether there is anybody to get it."""
    prepare = PREPARE.get(wish.template)
    if prepare is None:
        return wish
    async with context.database.connection(Person()) as db:
        return await prepare(db, House.of(context.settings, context.ring), id, wish, now())


async def _hand_over(context: Context, id: UUID, wish: Wish) -> None:
    text = compose(wish.template, wish.locale, wish.facts)
    try:
        letter = Letter(id, wish.to, spoken(wish.locale), text.subject, text.body)
        message = write(context.settings, letter, now())
    except ValueError:
        raise Refused(553) from None  # "mailbox name not allowed" (RFC 5321 section 4.2.3): it cannot be written as an address
    try:
        async with asyncio.timeout(min(DEADLINE_S, context.lease_left_s)):
            await deliver(context.settings, message)
    except TimeoutError:
        raise Away("TimeoutError") from None


async def _come_again(context: Context, duty: Claimed, begun: int, written_at: datetime, reason: str) -> None:
    moment = now()
    log.warning("mail server away", extra={"mail_id": str(duty.subject_id), "error": reason})
    if moment - written_at > GIVE_UP:
        await _end(context, duty, "given_up", reason)
        return
    later = moment + timedelta(seconds=DELAYS_S[min(begun, len(DELAYS_S)) - 1])
    async with context.database.connection(Tenant(duty.agency_id)) as db:
        await duties.postpone(db, KIND, [(duty.subject_id, duty.fence, later)])


async def _end(context: Context, duty: Claimed, state: str, refusal: str) -> None:
    """Finish the duty; no `state`: nothing is left to be known of the mail."""
    async with context.database.connection(Tenant(duty.agency_id)) as db:
        if not await duties.finish(db, KIND, [(duty.subject_id, duty.fence)]):
            return
        if state:
            await end_mail(db, duty.agency_id, duty.subject_id, state, refusal)
        else:
            await forget_mail(db, duty.agency_id, duty.subject_id, now())
