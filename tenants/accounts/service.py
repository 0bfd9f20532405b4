"""Accounts after they are connected: changing, pausing, resuming, disconnecting."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from core import duties
from core.db import raw
from core.errors import Conflict, Fault, InvalidInput
from tenants.accounts.effects import DISCONNECTED, PAUSED, Effect
from tenants.accounts.models import Account, Connection
from tenants.accounts.queries import PAUSABLE
from tenants.accounts.renewal import KIND
from tenants.accounts.schemas import METADATA_KEYS_MAX, AccountUpdate
from tenants.events.service import emit
from tenants.owned import find
from tenants.permissions import Actor


async def update_account(
    session: AsyncSession, actor: Actor, workspace_id: UUID, account_id: UUID, wish: AccountUpdate, now: datetime
) -> Account:
    """Change the name or the metadata. Raises Missing, InvalidInput (too many keys). Writes an event."""
    row = await find(session, Account, actor, account_id, workspace_id=workspace_id, lock=True)
    details = dict(row.details)
    name = wish.name or row.name
    if wish.name is not None:
        details["named"] = True
    if "metadata" in wish.model_fields_set:
        patch = wish.metadata
        merged = {} if patch is None else {**details.get("metadata", {}), **patch}
        details["metadata"] = {key: value for key, value in merged.items() if value is not None}
        if len(details["metadata"]) > METADATA_KEYS_MAX:
            detail = f"At most {METADATA_KEYS_MAX} keys are kept."
            raise InvalidInput(faults=[Fault("/metadata", "validation_failed", detail)])
    if name != row.name or details != row.details:
        await _move(session, row, now, "account.updated", name=name, details=details)
    return row


async def lock_account(session: AsyncSession, actor: Actor, workspace_id: UUID, account_id: UUID) -> Account:
    """Lock an account until the transaction ends. Raises Missing."""
    return await find(session, Account, actor, account_id, workspace_id=workspace_id, lock=True)


async def pause(
    session: AsyncSession, actor: Actor, workspace_id: UUID, account_id: UUID, now: datetime
) -> tuple[Account, Effect | None]:
    """Stop publishing to an account until it is resumed. Pausing a paused one changes nothing. Raises Conflict."""
    row = await find(session, Account, actor, account_id, workspace_id=workspace_id, lock=True)
    if row.state == "paused":
        return row, None
    if row.state not in PAUSABLE:
        raise Conflict(f"An account that is {row.state} cannot be paused.")
    await _move(session, row, now, "account.paused", state="paused", state_reason=None)
    return row, Effect(row.id, hold=PAUSED)


async def resume(
    session: AsyncSession, actor: Actor, workspace_id: UUID, account_id: UUID, now: datetime
) -> tuple[Account, Effect | None]:
    """End a pause. An account that lost its authorisation meanwhile becomes `needs_reconnect`. Raises Conflict."""
    row = await find(session, Account, actor, account_id, workspace_id=workspace_id, lock=True)
    if row.state in PAUSABLE:
        return row, Effect(row.id, release=frozenset({PAUSED}))
    if row.state != "paused":
        raise Conflict(f"An account that is {row.state} cannot be resumed.")
    query = select(Connection.id).where(
        Connection.agency_id == row.agency_id, Connection.account_id == row.id, Connection.state == "active"
    )
    if (await session.exec(query)).first() is None:
        await _move(session, row, now, "account.resumed", state="needs_reconnect")
        return row, None
    await _move(session, row, now, "account.resumed", state="active", state_reason=None)
    return row, Effect(row.id, release=frozenset({PAUSED}))


async def disconnect(
    session: AsyncSession, actor: Actor, workspace_id: UUID, account_id: UUID, now: datetime
) -> tuple[Account, Effect | None]:
    """Close the authorisation and delete what was sealed; the account and its history stay. Raises Missing."""
    row = await find(session, Account, actor, account_id, workspace_id=workspace_id, lock=True)
    if row.state == "disconnected":
        return row, None
    await close_connections(session, row, "closed")
    await _move(session, row, now, "account.disconnected", state="disconnected", state_reason=None)
    return row, Effect(row.id, hold=DISCONNECTED)


async def close_connections(session: AsyncSession, account: Account, state: str) -> Connection | None:
    """End the live authorisation of a locked account, delete its secrets and its refresh. Returns it as it was."""
    query = select(Connection).where(
        Connection.agency_id == account.agency_id, Connection.account_id == account.id, Connection.state == "active"
    )
    row = (await session.exec(query.with_for_update(key_share=True))).first()
    if row is None:
        return None
    before = Connection(**row.model_dump())
    row.sqlmodel_update(
        {
            "state": state,
            "sealed": None,
            "refresh_presented_digest": None,
            "refresh_presented_at": None,
            "version": row.version + 1,
        }
    )
    session.add(row)
    await session.flush()
    await duties.drop(raw(session), KIND, [row.id])
    return before


async def _move(session: AsyncSession, row: Account, now: datetime, event: str, **changes: Any) -> None:
    row.sqlmodel_update(changes | {"version": row.version + 1, "updated_at": now})
    session.add(row)
    await session.flush()
    data = {"network": row.network, "state": row.state}
    await emit(raw(session), row.agency_id, [(row.workspace_id, event, row.id, data)])
