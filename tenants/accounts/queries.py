"""Reading accounts, and writing them for the wire with what the caller may do."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from networks.base import Network
from tenants.accounts.capabilities import read_account_capabilities
from tenants.accounts.models import Account, Connection
from tenants.accounts.schemas import AccountRead, ConnectionRead
from tenants.agencies.models import Workspace
from tenants.owned import find, owned
from tenants.permissions import Actor, Permission

PAUSABLE = frozenset({"active", "expiring"})
"""States that a person may pause."""


class Seen(NamedTuple):
    """An account with its live authorisation, if it has one."""

    account: Account
    connection: ConnectionRead | None


async def list_accounts(
    session: AsyncSession,
    actor: Actor,
    workspace_id: UUID,
    *,
    state: str | None = None,
    network: str | None = None,
    after: UUID | None = None,
    limit: int,
) -> list[Seen]:
    """List a workspace's accounts, newest first. Raises Missing for a workspace that the caller does not reach."""
    await find(session, Workspace, actor, workspace_id)
    query = owned(Account, actor).where(Account.workspace_id == workspace_id)
    if state is not None:
        query = query.where(Account.state == state)
    if network is not None:
        query = query.where(Account.network == network)
    if after is not None:
        query = query.where(Account.id < after)
    rows = (await session.exec(query.order_by(col(Account.id).desc()).limit(limit))).all()
    return await with_connections(session, actor.agency_id, rows)


async def get_account(session: AsyncSession, actor: Actor, workspace_id: UUID, account_id: UUID) -> Seen:
    """Get one account. Raises Missing for what is not there and for what is not theirs, alike."""
    row = await find(session, Account, actor, account_id, workspace_id=workspace_id)
    return (await with_connections(session, actor.agency_id, [row]))[0]


async def with_connections(session: AsyncSession, agency_id: UUID, rows: Sequence[Account]) -> list[Seen]:
    """Add the live authorisation of each account, without what is sealed in it."""
    if not rows:
        return []
    query = select(
        Connection.account_id,
        Connection.id,
        Connection.state,
        Connection.expires_at,
        Connection.scopes,  # type: ignore[call-overload]  # SQLModel types `select` up to four columns
        Connection.refreshed_at,
    ).where(
        Connection.agency_id == agency_id,
        Connection.state == "active",
        col(Connection.account_id).in_([row.id for row in rows]),
    )
    live = {found.account_id: ConnectionRead.model_validate(found) for found in await session.exec(query)}
    return [Seen(row, live.get(row.id)) for row in rows]


def allowed_actions(account: Account, actor: Actor) -> list[str]:
    """Say what this caller may do with the account now."""
    state, actions = account.state, []
    if actor.may(Permission.ACCOUNT_MANAGE):
        actions.append("update")
        if state in PAUSABLE:
            actions.append("pause")
        if state == "paused":
            actions.append("resume")
        if state != "disconnected":
            actions.append("disconnect")
    if actor.may(Permission.ACCOUNT_CONNECT):
        actions.append("reconnect")
    return actions


def read_account(seen: Seen, networks: Mapping[str, Network], actor: Actor) -> AccountRead:
    """Write an account for the wire."""
    account, connection = seen
    network = networks.get(account.network)
    granted = connection.scopes if connection else []
    return AccountRead(
        id=account.id,
        workspace_id=account.workspace_id,
        network=account.network,
        external_id=account.external_id,
        name=account.name,
        handle=account.handle,
        url=account.url,
        state=account.state,
        state_reason=account.state_reason,
        capabilities=read_account_capabilities(network.capabilities, granted) if network else None,
        connection=connection,
        metadata=account.details.get("metadata", {}),
        version=account.version,
        created_at=account.created_at,
        updated_at=account.updated_at,
        allowed_actions=allowed_actions(account, actor),
    )
