"""Agencies and workspaces."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from core import duties
from core.crypto import KeyRing, hash_key, new_data_key
from core.db import raw, stamp_agency
from core.errors import PermissionDenied
from core.ids import new_id
from tenants.agencies.keys import HINT_LENGTH, write_key
from tenants.agencies.models import Agency, AgencyKey, ApiKey, Workspace
from tenants.agencies.schemas import AgencyUpdate, WorkspaceCreate, WorkspaceUpdate
from tenants.closed import require_open
from tenants.owned import find, owned
from tenants.permissions import KEY_MAY, Actor, Permission

DAILY = ("cleanup", "findings")
"""Duties that every agency has from the start; each puts itself again."""
DAILY_FIRST = timedelta(days=1)
SEALING = "audit"
"""The duty that chains the agency's audit log."""


class NewAgency(NamedTuple):
    """A new agency with its first keys; their texts are shown this once."""

    live_id: UUID
    test_id: UUID
    live_key: str
    test_key: str


async def create_agency(session: AsyncSession, ring: KeyRing, name: str, now: datetime) -> NewAgency:
    """Create an agency, the twin that holds its test data, and one key for each. One transaction, unstamped at its start.

    It is the operator's command and no route: it stamps the transaction itself for each of the two.
    """
    live_id, test_id = new_id(), new_id()
    texts = []
    for agency_id, livemode in ((live_id, True), (test_id, False)):
        await stamp_agency(raw(session), agency_id)
        session.add(
            Agency(id=agency_id, name=name, livemode=livemode, live_agency_id=None if livemode else live_id, created_at=now)
        )
        await session.flush()
        session.add(AgencyKey(agency_id=agency_id, wrapped=ring.wrap(agency_id, new_data_key())))
        key, key_id = write_key(agency_id, livemode=livemode), new_id()
        session.add(
            ApiKey(
                agency_id=agency_id,
                id=key_id,
                eyes=key_id,
                name="first key",
                hash=hash_key(key),
                hint=key[-HINT_LENGTH:],
                scopes=sorted(permission.value for permission in KEY_MAY),
                created_at=now,
            )
        )
        await session.flush()
        for kind in DAILY:
            await duties.put(raw(session), kind, agency_id, [(agency_id, now + DAILY_FIRST, None)], now)
        await duties.put(raw(session), SEALING, agency_id, [(agency_id, now, None)], now)
        texts.append(key)
    return NewAgency(live_id, test_id, *texts)


async def get_agency(session: AsyncSession, actor: Actor, *, lock: bool = False) -> Agency:
    """Read the caller's agency."""
    query = select(Agency).where(Agency.id == actor.agency_id)
    return (await session.exec(query.with_for_update() if lock else query)).one()


async def update_agency(session: AsyncSession, actor: Actor, row: Agency, wish: AgencyUpdate) -> Agency:
    """Change the fields that are given. A caller that is bound to workspaces changes nothing about the agency."""
    if actor.workspace_ids is not None:
        raise PermissionDenied(
            "A caller that is bound to workspaces changes nothing about the agency.",
            required_permission=Permission.AGENCY_UPDATE.value,
        )
    row.sqlmodel_update(wish.model_dump(exclude_unset=True))
    session.add(row)
    await session.flush()
    return row


async def create_workspace(session: AsyncSession, actor: Actor, wish: WorkspaceCreate, now: datetime) -> Workspace:
    """Create a workspace. A key that is bound to workspaces cannot: it would make one that it does not see."""
    if actor.workspace_ids is not None:
        raise PermissionDenied(
            "A key that is bound to workspaces cannot create one.",
            required_permission=Permission.WORKSPACE_CREATE.value,
        )
    row = Workspace(agency_id=actor.agency_id, id=new_id(), created_at=now, updated_at=now, version=1, **wish.model_dump())
    session.add(row)
    await session.flush()
    return row


async def update_workspace(
    session: AsyncSession, actor: Actor, workspace_id: UUID, wish: WorkspaceUpdate, now: datetime
) -> Workspace:
    """Change the fields that are given."""
    row = await find(session, Workspace, actor, workspace_id, lock=True)
    changes = wish.model_dump(exclude_unset=True)
    require_open(row.closed_at)
    if changes:
        row.sqlmodel_update(changes | {"version": row.version + 1, "updated_at": now})
        session.add(row)
        await session.flush()
    return row


async def list_workspaces(session: AsyncSession, actor: Actor, *, after: UUID | None, limit: int) -> list[Workspace]:
    """The workspaces that the caller reaches, newest first."""
    query = owned(Workspace, actor).order_by(col(Workspace.id).desc()).limit(limit)
    if after is not None:
        query = query.where(Workspace.id < after)
    return list((await session.exec(query)).all())
