"""What a change of an account means for its posts, said without knowing posts.

Packages of the domain form no cycle (posts know accounts, not the other way), so the services here return effects, and
who calls them hands them to `tenants.posts.release`, in the same transaction:

    account, effect = await pause(session, actor, ...)
    await apply(release, raw(session), actor.agency_id, [effect], now())
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from core.duties import Statements

PAUSED = "paused"
AUTH = "auth"
DISCONNECTED = "disconnected"
TOKEN = "token"  # the name of a reason, no secret
CONNECTED = frozenset({AUTH, "permission", DISCONNECTED})
"""What a fresh authorisation ends of an account that stays paused."""
ACTIVE = CONNECTED | {PAUSED}
"""What an account that is active again ends, whichever way it came there."""


class Posts(Protocol):
    """What `tenants.posts.release` offers: the module itself is handed over."""

    async def release(
        self, db: Statements, agency_id: UUID, account_id: UUID, reasons: frozenset[str], now: datetime
    ) -> int: ...  # as in tenants.posts.release

    async def hold(self, db: Statements, agency_id: UUID, account_id: UUID, reason: str, now: datetime) -> int: ...  # as above


@dataclass(frozen=True, slots=True)
class Effect:
    """Publications of `account_id` are to be held for a reason, or released from some."""

    account_id: UUID
    hold: str | None = None
    release: frozenset[str] = frozenset()


async def apply(posts: Posts, db: Statements, agency_id: UUID, effects: Iterable[Effect], now: datetime) -> None:
    """Tell the posts, in the transaction of the change."""
    for effect in effects:
        if effect.hold is not None:
            await posts.hold(db, agency_id, effect.account_id, effect.hold, now)
        if effect.release:
            await posts.release(db, agency_id, effect.account_id, effect.release, now)
