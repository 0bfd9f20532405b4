"""Connect sessions that have a page: what a person without an account here may see and do by its address alone.

The address holds a secret of the form of a state (`redirects`): whose session it is stands in it, and its digest is compared. It
reaches this one session, while it waits, and nothing else of the agency.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from core.crypto import KeyRing, same
from core.errors import Conflict, Malformed
from networks.base import CredentialField, Network
from tenants.accounts.connecting import Plan, completion
from tenants.accounts.models import Account, ConnectSession
from tenants.accounts.redirects import State
from tenants.accounts.schemas import ConnectSessionComplete
from tenants.agencies.models import Agency, Workspace

OPEN = frozenset({"awaiting_user", "awaiting_credentials", "choosing", "completed"})


@dataclass(frozen=True, slots=True)
class Linked:
    """A session as its page shows it: who asks for what, and how far it got."""

    row: ConnectSession
    agency: str
    workspace: str
    network: str
    fields: Sequence[CredentialField]
    accounts: Sequence[str]
    """The names of what came of it, or of the account that is to be connected anew."""


async def _row(session: AsyncSession, link: State, now: datetime) -> ConnectSession:
    query = select(ConnectSession).where(ConnectSession.agency_id == link.agency_id, ConnectSession.id == link.session_id)
    row = (await session.exec(query)).one_or_none()
    if row is None or row.link_hash is None or not same(row.link_hash, link.digest):
        raise Malformed(code="connect_state_invalid")
    if row.expires_at <= now or row.state not in OPEN:
        raise Malformed(code="connect_state_invalid")
    return row


async def find_linked(session: AsyncSession, networks: Mapping[str, Network], link: State, now: datetime) -> Linked:
    """Find the session of a page. Raises Malformed `connect_state_invalid` for what never was, has ended or is late, alike."""
    row = await _row(session, link, now)
    network = networks.get(row.network)
    if network is None:
        raise Malformed(code="connect_state_invalid")
    agency = (await session.exec(select(Agency.name).where(Agency.id == row.agency_id))).one()
    query = select(Workspace.name, Workspace.closed_at).where(
        Workspace.agency_id == row.agency_id, Workspace.id == row.workspace_id
    )
    workspace, closed_at = (await session.exec(query)).one()
    if closed_at is not None:
        raise Malformed(code="connect_state_invalid")
    ids = row.account_ids or ([row.account_id] if row.account_id else [])
    named = select(Account.name).where(Account.agency_id == row.agency_id, col(Account.id).in_(ids)).order_by(col(Account.name))
    accounts = (await session.exec(named)).all() if ids else []
    facts = network.capabilities
    return Linked(row, agency, workspace, facts.title, facts.credentials, accounts)


async def plan_linked(
    session: AsyncSession, networks: Mapping[str, Network], ring: KeyRing, link: State, wish: ConnectSessionComplete, now: datetime
) -> Plan:  # fmt: skip
    """Check what a person gave on the page. Raises Malformed, InvalidInput, Conflict; writes nothing."""
    return await completion(session, await _row(session, link, now), networks, ring, wish, now)


async def plan_departure(session: AsyncSession, networks: Mapping[str, Network], link: State, now: datetime) -> Plan:
    """Prepare to send the person to the network. Whoever leaves once more, leaves with a new state. Raises Malformed, Conflict."""
    row = await _row(session, link, now)
    if row.state != "awaiting_user":
        raise Conflict("The session does not wait for this (any more).", code="connect_state_invalid")
    return Plan(
        agency_id=row.agency_id,
        workspace_id=row.workspace_id,
        session_id=row.id,
        network=networks[row.network],
        account_id=row.account_id,
        return_url=row.return_url,
        redirect=True,
        stage=frozenset({"awaiting_user"}),
    )
