"""From an authorisation to accounts: a known target keeps its account, whatever became of it meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from core.crypto import KeyRing
from core.db import raw
from core.ids import new_id
from networks.base import Credentials, Target
from tenants.accounts.effects import ACTIVE, CONNECTED, Effect
from tenants.accounts.models import Account, Connection
from tenants.accounts.sealing import Vault, open_vault
from tenants.accounts.service import close_connections
from tenants.accounts.tokens import schedule
from tenants.events.service import emit

REFRESH_TOKEN = "refresh_token"  # the name of a value, no secret


@dataclass(frozen=True, slots=True)
class Grant:
    """One authorisation as it is about to be stored: whose, where, and the session that brought it."""

    agency_id: UUID
    workspace_id: UUID
    network: str
    session_id: UUID
    credentials: Credentials


class Attached(NamedTuple):
    """What came of one target."""

    account: Account
    effect: Effect


async def attach(session: AsyncSession, ring: KeyRing, grant: Grant, targets: Sequence[Target], now: datetime) -> list[Attached]:
    """Make or renew the account of each target, with a new connection and its refresh duty. Writes events.

    The effects release what waited for the authorisation. A paused account stays paused.
    """
    vault = await open_vault(raw(session), ring, grant.agency_id)
    # One order for everybody, so that two sessions with the same targets cannot wait for one another.
    made = {}
    for target in sorted(targets, key=lambda one: one.external_id):
        made[target.external_id] = await _attach(session, vault, grant, target, now)
    return [made[target.external_id] for target in targets]


async def _attach(session: AsyncSession, vault: Vault, grant: Grant, target: Target, now: datetime) -> Attached:
    account, fresh = await _account(session, grant, target, now)
    before = await close_connections(session, account, "superseded")
    credentials, details = grant.credentials, dict(account.details)
    details |= {"network": dict(target.metadata)}
    carried = _carries_over(vault, before, credentials)
    if carried is None:
        details["grant"] = str(grant.session_id)
    credentials = carried or credentials
    connection = Connection(
        agency_id=grant.agency_id,
        id=new_id(),
        workspace_id=grant.workspace_id,
        account_id=account.id,
        scopes=list(credentials.scopes),
        expires_at=credentials.expires_at,
        created_at=now,
    )
    connection.sealed = vault.seal(credentials, connection.id)
    session.add(connection)
    account.sqlmodel_update(
        {
            "name": account.name if details.get("named") else target.name,
            "handle": target.handle,
            "url": target.url,
            "state": account.state if account.state == "paused" else "active",
            "state_reason": None,
            "control_external_id": target.newest_external_id or account.control_external_id,
            "details": details,
            "version": account.version if fresh else account.version + 1,
            "updated_at": now,
        }
    )
    session.add(account)
    await session.flush()
    db = raw(session)
    await schedule(db, grant.agency_id, connection.id, credentials.expires_at, now)
    event = "account.connected" if fresh else "account.reconnected"
    data = {"network": grant.network, "state": account.state}
    await emit(db, grant.agency_id, [(grant.workspace_id, event, account.id, data)])
    return Attached(account, Effect(account.id, release=CONNECTED if account.state == "paused" else ACTIVE))


async def _account(session: AsyncSession, grant: Grant, target: Target, now: datetime) -> tuple[Account, bool]:
    """Get the target's account under a lock, making it first if there is none. Says whether it is new."""
    account_id = new_id()
    row = {
        "agency_id": grant.agency_id,
        "id": account_id,
        "workspace_id": grant.workspace_id,
        "network": grant.network,
        "external_id": target.external_id,
        "name": target.name,
        "state": "active",
        "details": {},
        "version": 1,
        "created_at": now,
        "updated_at": now,
    }
    await session.execute(insert(Account).values(row).on_conflict_do_nothing())
    query = select(Account).where(
        Account.agency_id == grant.agency_id,
        Account.workspace_id == grant.workspace_id,
        Account.network == grant.network,
        Account.external_id == target.external_id,
    )
    account = (await session.exec(query.with_for_update(key_share=True).execution_options(populate_existing=True))).one()
    return account, account.id == account_id


def _carries_over(vault: Vault, before: Connection | None, fresh: Credentials) -> Credentials | None:
    """Keep the live connection's refresh token when the network sent none, as some do from the second time on."""
    if fresh.values.get(REFRESH_TOKEN) or before is None or before.sealed is None:
        return None
    kept = vault.unseal(before.sealed, before.id).values.get(REFRESH_TOKEN)
    return replace(fresh, values={**fresh.values, REFRESH_TOKEN: kept}) if kept else None
