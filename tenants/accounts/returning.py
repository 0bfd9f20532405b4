"""The redirect kind after the person came back: redeem the state once, ask the network, write what came of it.

A callback carries no key. What it may touch is said by the state alone: one session of one agency, once, in its time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from core.crypto import KeyRing, same
from core.db import raw
from core.errors import Malformed, Problem
from networks.base import Connected, Network
from tenants.accounts.connecting import Plan, Settled, settle, within
from tenants.accounts.linked import require_beginner
from tenants.accounts.models import ConnectSession
from tenants.accounts.redirects import State, redirect_uri
from tenants.accounts.sealing import VERIFIER, open_vault

STAGE = frozenset({"awaiting_user"})


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A state that was good, and is spent now."""

    plan: Plan
    code_verifier: str

    def __repr__(self) -> str:
        return f"Redeemed({self.plan!r})"


async def redeem(
    session: AsyncSession, networks: Mapping[str, Network], ring: KeyRing, network: str, state: State, now: datetime,
    *, link: bytes | None = None,
) -> Redeemed:  # fmt: skip
    """Check and spend a state. Raises Malformed `connect_state_invalid` for one that is foreign, spent, late, or not here, and when
    who began the session could not do so now.

    A session with a page is continued in the browser that left from there: `link` is the digest of what its cookie holds.

    The commit spends it, whatever becomes of the rest: a code is good for one try anyway.
    """
    await require_beginner(session, state.agency_id, state.session_id)
    query = select(ConnectSession).where(ConnectSession.agency_id == state.agency_id, ConnectSession.id == state.session_id)
    row = (await session.exec(query.with_for_update())).one_or_none()
    connector = networks.get(network)
    if (
        row is None
        or connector is None
        or row.network != network
        or row.state not in STAGE
        or row.state_hash is None
        or row.sealed_verifier is None
        or not same(row.state_hash, state.digest)
        or (row.link_hash is not None and (link is None or not same(row.link_hash, link)))
        or row.expires_at <= now
    ):
        raise Malformed(code="connect_state_invalid")
    vault = await open_vault(raw(session), ring, row.agency_id)
    verifier = vault.unseal_text(VERIFIER, row.id, row.sealed_verifier)
    row.state_hash, row.sealed_verifier = None, None
    session.add(row)
    await session.flush()
    plan = Plan(
        agency_id=row.agency_id,
        workspace_id=row.workspace_id,
        session_id=row.id,
        network=connector,
        account_id=row.account_id,
        return_url=row.return_url,
        redirect=True,
        link=row.link_hash is not None,
        stage=STAGE,
    )
    return Redeemed(plan, verifier)


async def ask(redeemed: Redeemed, public_url: str, code: str, issuer: str | None) -> Connected:
    """Exchange the code, outside any transaction. Raises Malformed for another issuer's answer, and as `reach` does."""
    network = redeemed.plan.network
    expected = network.issuer
    if expected is not None and issuer is not None and issuer != expected:
        raise Malformed("The answer comes from another authorisation server.", code="connect_state_invalid")
    uri = redirect_uri(public_url, redeemed.plan.name)
    return await within(network, network.exchange(uri, code, redeemed.code_verifier))


async def complete(session: AsyncSession, ring: KeyRing, redeemed: Redeemed, connected: Connected, now: datetime) -> Settled:
    """Write the accounts, or the choice. Raises Conflict `different_account`, Unprocessable: `fail` records them."""
    return await settle(session, ring, redeemed.plan, connected, now)


async def fail(session: AsyncSession, redeemed: Redeemed, problem: Problem) -> None:
    """Record why a session ended without an account. One transaction; nothing else is written."""
    plan = redeemed.plan
    query = select(ConnectSession).where(ConnectSession.agency_id == plan.agency_id, ConnectSession.id == plan.session_id)
    row = (await session.exec(query.with_for_update())).one()
    if row.state in STAGE:
        row.state = "failed"
        row.error = {"code": problem.code, "detail": problem.detail}
        session.add(row)
        await session.flush()
