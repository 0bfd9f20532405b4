"""Reading connect sessions, and writing them for the wire."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from networks.base import Network
from tenants.accounts.capabilities import FieldRead
from tenants.accounts.connecting import WAITING
from tenants.accounts.models import Account, ConnectSession
from tenants.accounts.queries import read_account, with_connections
from tenants.accounts.schemas import ConnectSessionRead, SessionError, TargetRead
from tenants.owned import find, owned
from tenants.permissions import Actor, Permission

COMPLETABLE = frozenset({"awaiting_credentials", "choosing"})


async def get_session(session: AsyncSession, actor: Actor, workspace_id: UUID, session_id: UUID) -> ConnectSession:
    """Get one session. Raises Missing for what is not there and for what is not theirs, alike."""
    return await find(session, ConnectSession, actor, session_id, workspace_id=workspace_id)


async def lock_session(session: AsyncSession, actor: Actor, workspace_id: UUID, session_id: UUID) -> ConnectSession:
    """Get one session that is to be changed. Whoever is completing it waits, or is waited for. Raises Missing."""
    return await find(session, ConnectSession, actor, session_id, workspace_id=workspace_id, lock=True)


async def revoke_session(session: AsyncSession, row: ConnectSession) -> None:
    """End a locked session: it waits for nobody any more, and its page is gone, from the commit on.

    What it holds is forgotten, also what a network gave for it. What came of it stays. Ending it twice changes nothing.
    """
    if row.state in WAITING:
        row.state = "failed"
        row.error = {"code": "connect_state_invalid", "detail": "The session was ended before anything was connected."}
    row.sqlmodel_update(
        {
            "link_hash": None,
            "state_hash": None,
            "sealed_verifier": None,
            "sealed_credentials": None,
            "targets": [],
        }
    )
    session.add(row)
    await session.flush()


async def read_session(
    session: AsyncSession,
    row: ConnectSession,
    networks: Mapping[str, Network],
    actor: Actor,
    now: datetime,
    *,
    authorize_url: str | None = None,
    link: str | None = None,
) -> ConnectSessionRead:
    """Write a session for the wire, with the accounts that came of it. One that ran out reads as failed."""
    over = row.state in WAITING and row.expires_at <= now
    state = "failed" if over else row.state
    error = SessionError(code="connect_state_invalid", detail="The session has run out.") if over else None
    if row.error is not None:
        error = SessionError.model_validate(row.error, from_attributes=False)
    network = networks.get(row.network)
    fields = network.capabilities.credentials if network and state == "awaiting_credentials" else ()
    completable = state in COMPLETABLE and actor.may(Permission.ACCOUNT_CONNECT)
    return ConnectSessionRead(
        id=row.id,
        workspace_id=row.workspace_id,
        network=row.network,
        state=state,
        account_id=row.account_id,
        url=link or authorize_url,
        authorize_url=authorize_url,
        fields=[FieldRead.model_validate(field) for field in fields],
        targets=[TargetRead.model_validate(one) for one in row.targets] if state == "choosing" else [],
        accounts=[
            read_account(seen, networks, actor)
            for seen in await with_connections(session, actor.agency_id, await _accounts(session, actor, row))
        ],
        error=error,
        expires_at=row.expires_at,
        created_at=row.created_at,
        allowed_actions=["complete"] if completable else [],
    )


async def _accounts(session: AsyncSession, actor: Actor, row: ConnectSession) -> list[Account]:
    ids = row.account_ids or []
    if not ids:
        return []
    query = owned(Account, actor).where(Account.workspace_id == row.workspace_id, col(Account.id).in_(ids))
    found = {account.id: account for account in await session.exec(query)}
    return [found[id] for id in ids if id in found]
