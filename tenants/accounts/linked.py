"""Connect sessions that have a page: what a person without an account here may see and do by its address alone.

The address holds a secret of the form of a state (`redirects`): whose session it is stands in it, and its digest is compared. It
reaches this one session, while it waits, and nothing else of the agency.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from core.crypto import KeyRing, same
from core.db import raw
from core.errors import Conflict, Malformed, Missing
from networks.base import CredentialField, Network
from tenants.accounts.connecting import Plan, completion
from tenants.accounts.models import Account, ConnectSession
from tenants.accounts.redirects import State
from tenants.accounts.schemas import ConnectSessionComplete
from tenants.agencies.models import Agency, Workspace
from tenants.applications.behind import Maker, require_maker
from tenants.closed import hold_open
from tenants.permissions import Permission

BEGUN = """
select workspace_id, created_by, created_by_member, grant_id, secret_id from connect_sessions where agency_id = $1 and id = $2
"""
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


async def require_beginner(session: AsyncSession, agency_id: UUID, session_id: UUID) -> None:
    """Refuse a session whose maker could not begin it now: no person goes on with it by its address or its state.

    The workspace and the maker are locked before the session, as when a workspace is closed. Raises Malformed.
    """
    row = await raw(session).fetchrow(BEGUN, agency_id, session_id)
    if row is None:
        raise Malformed(code="connect_state_invalid")
    workspace_id, *maker = row
    if not await hold_open(raw(session), agency_id, [workspace_id]):
        raise Malformed(code="connect_state_invalid")
    try:
        await require_maker(raw(session), agency_id, Maker(*maker), Permission.ACCOUNT_CONNECT, workspace_id)
    except Missing as error:
        raise Malformed(code="connect_state_invalid") from error


async def _row(session: AsyncSession, link: State, now: datetime) -> ConnectSession:
    query = select(ConnectSession).where(ConnectSession.agency_id == link.agency_id, ConnectSession.id == link.session_id)
    row = (await session.exec(query)).one_or_none()
    if row is None or row.link_hash is None or not same(row.link_hash, link.digest):
        raise Malformed(code="connect_state_invalid")
    if row.expires_at <= now or row.state not in OPEN:
        raise Malformed(code="connect_state_invalid")
    await require_beginner(session, row.agency_id, row.id)
    return row


async def find_linked(session: AsyncSession, networks: Mapping[str, Network], link: State, now: datetime) -> Linked:
    """Find the session of a page. Raises Malformed `connect_state_invalid` for what never was, has ended or is late, alike."""
    row = await _row(session, link, now)
    network = networks.get(row.network)
    if network is None:
        raise Malformed(code="connect_state_invalid")
    agency = (await session.exec(select(Agency.name).where(Agency.id == row.agency_id))).one()
    query = select(Workspace.name).where(Workspace.agency_id == row.agency_id, Workspace.id == row.workspace_id)
    workspace = (await session.exec(query)).one()
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
