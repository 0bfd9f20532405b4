"""The refresh duty: at most one exchange at a time for a connection, and none whose answer could be lost unnoticed.

    mark      lock, re-read, judge; write what will be presented and when; commit
    exchange  the network's answer, outside any transaction
    record    store the new pair where the version is still the one that was read; clear the mark; put the next duty

The fence of the duty decides who marks, the version of the connection who records. A mark that is found standing means
that somebody presented the token and no answer is known: see `renewal.judge`.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from core import duties
from core.clock import now as clock
from core.crypto import KeyRing
from core.db import Database, Tenant
from core.duties import Claimed, Statements
from networks.base import Credentials, Network, RateLimited, Refused, Unauthorized, Unavailable, Uncertain
from tenants.accounts.effects import AUTH, TOKEN, Posts
from tenants.accounts.losing import lose
from tenants.accounts.renewal import (
    KIND,
    REPEATABLE,
    Standing,
    Verdict,
    backoff,
    digest,
    digest_again,
    due_at,
    judge,
    merged,
)
from tenants.accounts.sealing import open_vault
from tenants.events.service import emit

LEASE_MARGIN = timedelta(seconds=30)
ROUNDS_MAX = 3
"""Present, present again inside the grace, give up: more there never is in one duty."""
ASK_GUARD = timedelta(seconds=30)
"""An Expired answer this soon after a refresh is about the token before, unless it names the version that it used."""
RATE_LIMIT_LONGEST = timedelta(hours=24)

ACCOUNTS = """
select id from accounts where agency_id = $1 and id in (
  select s.id from connections c join accounts a on a.agency_id = c.agency_id and a.id = c.account_id
  join accounts s on s.agency_id = a.agency_id and s.workspace_id = a.workspace_id and s.network = a.network
    and (s.id = a.id or s.details ->> 'grant' = a.details ->> 'grant')
  where c.agency_id = $1 and c.id = $2)
order by id for no key update
"""
"""One authorisation may reach many targets, and then many connections hold the same token: they are renewed as one."""
READ = """
select c.id, c.account_id, c.workspace_id, c.state, c.sealed, c.expires_at,
  coalesce(c.refreshed_at, c.created_at) issued_at, c.refresh_presented_digest, c.refresh_presented_at, c.version,
  a.network
from connections c join accounts a on a.agency_id = c.agency_id and a.id = c.account_id
where c.agency_id = $1 and (c.id = $2 or (c.account_id = any($3::uuid[]) and c.state = 'active'))
order by c.id for no key update of c
"""
MARK = """
update connections set refresh_presented_digest = $3, refresh_presented_at = coalesce($4, refresh_presented_at)
where agency_id = $1 and id = any($2::uuid[])
"""
UNMARK = """
update connections set refresh_presented_digest = $4, refresh_presented_at = case when $4::bytea is null then null
  else refresh_presented_at end
where agency_id = $1 and id = $2 and version = $3 and state = 'active'
"""
STORE = """
update connections set sealed = $4, expires_at = $5, scopes = $6, refreshed_at = $7, refreshes = refreshes + 1,
  version = version + 1, refresh_presented_digest = null, refresh_presented_at = null
where agency_id = $1 and id = $2 and version = $3 and state = 'active'
"""
SHIFT = """
update accounts set state = $4, state_reason = $5, version = version + 1, updated_at = $6
where agency_id = $1 and id = $2 and state = $3 returning network
"""
ASK = """
with before as (
  select id, expires_at <= $3 and version is not distinct from coalesce($4, version) asked from connections
  where agency_id = $1 and id = $2 for update)
update connections c set expires_at = least(c.expires_at, $3::timestamptz) from before
where c.agency_id = $1 and c.id = before.id and c.state = 'active'
  and case when $4::integer is null then c.refreshed_at is null or c.refreshed_at < $5 else c.version = $4 end
returning before.asked
"""
UNDER_WAY = """
select 1 from duties
where agency_id = $1 and kind = $2 and subject_id = $3
  and (state = 'leased' and lease_until > now() or $4::boolean and begun > 0 and due_at > now())
"""


class Member(NamedTuple):
    """One connection that holds the token."""

    connection_id: UUID
    account_id: UUID
    workspace_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Renewer:
    """What a refresh works with. `posts` is `tenants.posts.release`."""

    database: Database
    networks: Mapping[str, Network]
    ring: KeyRing
    posts: Posts

    @property
    def lease(self) -> timedelta:
        """How long a refresh may be under way: the longest deadline, and a margin for two transactions."""
        return max(network.capabilities.call_deadline for network in self.networks.values()) + LEASE_MARGIN


@dataclass(frozen=True, slots=True)
class Presented:
    """A refresh token that is marked as presented: what the exchange and the record need. The duty's own member leads."""

    agency_id: UUID
    members: tuple[Member, ...]
    network: Network
    credentials: Credentials
    fence: int
    claims: int
    again: bool

    @property
    def connection_id(self) -> UUID:
        """The subject of the duty."""
        return self.members[0].connection_id

    @property
    def repeatable(self) -> bool:
        """Presenting the token once more harms nothing."""
        return self.network.capabilities.token in REPEATABLE


Outcome = Credentials | Refused | Unavailable | Uncertain


async def schedule(db: Statements, agency_id: UUID, connection_id: UUID, expires_at: datetime | None, now: datetime) -> None:
    """Put the refresh of a token that was issued now, in the transaction that stores it; none when its end is unknown."""
    if expires_at is not None:
        at = due_at(now, expires_at, random.uniform(-1, 1))
        await duties.put(db, KIND, agency_id, [(connection_id, at, None)], now)


async def ask_refresh(db: Statements, agency_id: UUID, connection_id: UUID, now: datetime, *, version: int | None = None) -> None:
    """Have a token refreshed at once, because the network said Expired. Never disturbs a refresh that is under way.

    `version` is that of the connection when the refused call was made: after a refresh since, this does nothing.
    """
    asked = await db.fetch(ASK, agency_id, connection_id, now, version, now - ASK_GUARD)
    if not asked:
        return
    # A statement of its own: it sees what was committed while the one before waited for the row.
    # One that was asked for before and waits keeps its own wait: the network said when, or did not answer.
    if not await db.fetch(UNDER_WAY, agency_id, KIND, connection_id, bool(asked[0]["asked"])):
        await duties.put(db, KIND, agency_id, [(connection_id, now, None)], now)


async def refresh(
    database: Database,
    networks: Mapping[str, Network],
    ring: KeyRing,
    agency_id: UUID,
    connection_id: UUID,
    fence: int,
    posts: Posts,
) -> None:
    """Do one refresh duty and end it; whoever does not hold `fence` does nothing.

    Opens its own transactions, none of them during the exchange. Raises what the database raises; a duty that ends so
    comes back with its lease, and finds its mark.
    """
    renewer = Renewer(database, networks, ring, posts)
    for round_ in range(ROUNDS_MAX):
        presented = await _mark(renewer, Claimed(agency_id, connection_id, fence), mine=round_ > 0)
        if presented is None:
            return
        outcome = await _exchange(presented)
        if not isinstance(outcome, Uncertain) or presented.repeatable:
            await _record(renewer, presented, outcome)
            return
        # The mark stands: the next round judges it, as a worker after a crash would.
        fence = presented.fence


async def _mark(renewer: Renewer, claimed: Claimed, *, mine: bool) -> Presented | None:
    """Decide under the locks, and either mark the token as presented or end the duty. `mine`: so is a standing mark."""
    agency_id, connection_id, _ = claimed
    async with renewer.database.connection(Tenant(agency_id)) as db:
        accounts = [row["id"] for row in await db.fetch(ACCOUNTS, agency_id, connection_id)]
        rows = await db.fetch(READ, agency_id, connection_id, accounts)
        owned = await duties.start(db, KIND, [claimed], renewer.lease)
        if not owned:
            return None
        fence, claims, now = owned[0]["fence"], owned[0]["begun"], clock()
        own = next((row for row in rows if row["id"] == connection_id), None)
        network = renewer.networks.get(own["network"]) if own is not None else None
        if own is None or network is None or own["sealed"] is None:
            await duties.finish(db, KIND, [(connection_id, fence)])
            return None
        vault = await open_vault(db, renewer.ring, agency_id)
        credentials = vault.unseal(own["sealed"], connection_id)
        mark, presented_at = digest(credentials), own["refresh_presented_at"]
        standing = Standing(own["state"], own["issued_at"], own["expires_at"], own["refresh_presented_digest"], presented_at)
        if presented_at is not None and not mine and now < presented_at + renewer.lease:
            # A sibling holds the same token and may be presenting it at this moment.
            verdict = Verdict("wait", presented_at + renewer.lease)
        else:
            verdict = judge(standing, mark, network.capabilities, now)
        member = Member(connection_id, own["account_id"], own["workspace_id"], own["version"])
        if verdict.kind != "present":
            await _settle(renewer, db, agency_id, member, fence, verdict, now)
            return None
        siblings = [
            Member(row["id"], row["account_id"], row["workspace_id"], row["version"])
            for row in rows
            if row is not own and row["sealed"] and digest(vault.unseal(row["sealed"], row["id"])) == mark
        ]
        members = (member, *siblings)
        value, at = (digest_again(mark), None) if verdict.again else (mark, now)
        await db.execute(MARK, agency_id, [one.connection_id for one in members], value, at)
        return Presented(agency_id, members, network, credentials, fence, claims, verdict.again)


async def _settle(
    renewer: Renewer, db: Statements, agency_id: UUID, member: Member, fence: int, verdict: Verdict, now: datetime
) -> None:
    """Carry out a verdict that presents nothing."""
    if verdict.kind == "lose":
        await _lose(renewer, db, agency_id, member, "token_expired", now)
        return
    if verdict.at is None:
        await duties.finish(db, KIND, [(member.connection_id, fence)])
        return
    if verdict.kind == "keep":
        await _shift(db, agency_id, member, ("active", "expiring"), "token_expiring", now)
    await duties.postpone(db, KIND, [(member.connection_id, fence, verdict.at)])


async def _exchange(presented: Presented) -> Outcome:
    """Ask the network, within its deadline. What is not known to be harmless is Uncertain."""
    try:
        async with asyncio.timeout(presented.network.capabilities.call_deadline.total_seconds()):
            return await presented.network.refresh(presented.credentials)
    except (Refused, Unavailable, Uncertain) as error:
        return error
    except TimeoutError:
        return Uncertain("No answer within the deadline.")


async def _record(renewer: Renewer, presented: Presented, outcome: Outcome) -> None:
    """Write down how the exchange ended, and when to come back."""
    agency_id, connection_id = presented.agency_id, presented.connection_id
    async with renewer.database.connection(Tenant(agency_id)) as db:
        await db.fetch(ACCOUNTS, agency_id, connection_id)
        now = clock()
        if isinstance(outcome, Credentials):
            await _store(renewer, db, presented, outcome, now)
            return
        if isinstance(outcome, Unauthorized):
            for member in presented.members:
                await _lose(renewer, db, agency_id, member, outcome.error_code, now)
            # Still there only when a sibling refreshed meanwhile: then the next claim finds nothing to do.
            await duties.postpone(db, KIND, [(connection_id, presented.fence, now)])
            return
        # Surely without effect, or harmless to repeat: the mark goes. That of an earlier, unanswered try comes back.
        before = digest(presented.credentials) if presented.again else None
        for member in presented.members:
            await db.execute(UNMARK, agency_id, member.connection_id, member.version, before)
        at = now + backoff(presented.claims, random.random())
        if isinstance(outcome, RateLimited) and outcome.until is not None:
            at = min(max(outcome.until, at), now + RATE_LIMIT_LONGEST)
        await duties.postpone(db, KIND, [(connection_id, presented.fence, at)])


async def _store(renewer: Renewer, db: Statements, presented: Presented, answer: Credentials, now: datetime) -> None:
    """Store the new pair, whoever holds the duty by now: it is the only copy. Then the next duties."""
    agency_id, old = presented.agency_id, presented.credentials
    fresh = replace(answer, values=merged(old.values, answer.values), scopes=answer.scopes or old.scopes)
    vault = await open_vault(db, renewer.ring, agency_id)
    await duties.finish(db, KIND, [(presented.connection_id, presented.fence)])
    for member in presented.members:
        sealed = vault.seal(fresh, member.connection_id)
        done = await db.execute(
            STORE, agency_id, member.connection_id, member.version, sealed, fresh.expires_at, list(fresh.scopes), now
        )
        if done.endswith(" 1"):
            await schedule(db, agency_id, member.connection_id, fresh.expires_at, now)
            await _shift(db, agency_id, member, ("expiring", "active"), None, now)
            await renewer.posts.release(db, agency_id, member.account_id, frozenset({TOKEN}), now)


async def _lose(renewer: Renewer, db: Statements, agency_id: UUID, member: Member, reason: str, now: datetime) -> None:
    """Lose one connection, unless a sibling refreshed it since it was read."""
    if await lose(db, agency_id, member.account_id, member.connection_id, reason, now, version=member.version):
        await renewer.posts.hold(db, agency_id, member.account_id, AUTH, now)


async def _shift(
    db: Statements, agency_id: UUID, member: Member, change: tuple[str, str], reason: str | None, now: datetime
) -> None:
    """Move the account from one state to another, if it is there, and tell it."""
    rows = await db.fetch(SHIFT, agency_id, member.account_id, *change, reason, now)
    if rows:
        data = {"network": rows[0]["network"], "state": change[1], "reason": reason}
        await emit(db, agency_id, [(member.workspace_id, f"account.{change[1]}", member.account_id, data)])
