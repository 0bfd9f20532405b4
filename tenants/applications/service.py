"""Applications as their agency looks after them."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from core.credentials import hash_credential, write
from core.db import raw
from core.errors import Fault, InvalidInput, Missing, PermissionDenied
from core.ids import new_id
from tenants.applications.clients import FORMER_LIVES, SECRET
from tenants.applications.models import Application, ApplicationSecret
from tenants.applications.schemas import ApplicationCreate, ApplicationUpdate
from tenants.closed import hold_open
from tenants.owned import find, owned
from tenants.people.made_keys import end_secrets_outgrown
from tenants.permissions import Actor, Permission

END_GRANTS = """
update grants set revoked_at = $3, revoked_reason = 'revoked'
where agency_id = $1 and application_agency_id = $1 and application_id = $2 and revoked_at is null
"""
END_OWN_TOKENS = """
update access_tokens set revoked_at = $3
where agency_id = $1 and application_agency_id = $1 and application_id = $2 and revoked_at is null
"""
FORMER = """
update application_secrets set expires_at = least(coalesce(expires_at, $3), $3) where agency_id = $1 and application_id = $2
"""


def require_whole_agency(actor: Actor) -> None:
    """Refuse who is bound to workspaces: what an application may do reaches beyond them."""
    if actor.workspace_ids is not None:
        detail = "A caller that is bound to workspaces makes no application."
        raise PermissionDenied(detail, required_permission=Permission.APPLICATION_MANAGE.value)


async def find_application(session: AsyncSession, actor: Actor, id: UUID, *, lock: bool = False) -> Application:
    """Find one of the agency's. Raises Missing, also for who is bound to workspaces."""
    if actor.workspace_ids is not None:
        raise Missing
    return await find(session, Application, actor, id, lock=lock)


async def list_applications(session: AsyncSession, actor: Actor, *, after: UUID | None, limit: int) -> list[Application]:
    """The agency's applications, newest first; none for who is bound to workspaces."""
    if actor.workspace_ids is not None:
        return []
    query = owned(Application, actor).order_by(col(Application.id).desc()).limit(limit)
    if after is not None:
        query = query.where(Application.id < after)
    return list((await session.exec(query)).all())


def _require_held(actor: Actor, scopes: Collection[str]) -> None:
    lacking = sorted(set(scopes) - {one.value for one in actor.permissions})
    if lacking:
        raise PermissionDenied(
            f"An application cannot be allowed what its maker lacks: {', '.join(lacking)}.",
            required_permission=Permission.APPLICATION_MANAGE.value,
        )


def _require_workspaces(ids: Collection[UUID], known: Collection[UUID], *, confidential: bool) -> None:
    if ids and not confidential:
        fault = Fault("/workspace_ids", "validation_failed", "Only what can keep a secret works by itself.")
        raise InvalidInput(faults=[fault])
    for position, id in enumerate(ids):
        if id not in known:
            raise InvalidInput(faults=[Fault(f"/workspace_ids/{position}", "not_found", "There is no such workspace.")])


def _fields(wish: ApplicationCreate | ApplicationUpdate) -> dict[str, Any]:
    """What was wished for, in the forms of the table."""
    fields = {name: getattr(wish, name) for name in type(wish).model_fields}
    return fields | {"scopes": None if wish.scopes is None else [scope.value for scope in wish.scopes]}


async def create_application(
    session: AsyncSession, actor: Actor, wish: ApplicationCreate, pepper: str, now: datetime
) -> tuple[Application, str | None]:  # fmt: skip
    """Register an application within what its maker holds. Returns the row and its secret, which is stored nowhere."""
    require_whole_agency(actor)
    _require_held(actor, wish.scopes)
    known = await hold_open(raw(session), actor.agency_id, wish.workspace_ids)
    _require_workspaces(wish.workspace_ids, known, confidential=wish.confidential)
    fields = _fields(wish)
    row = Application(agency_id=actor.agency_id, id=new_id(), created_at=now, updated_at=now, **fields)
    session.add(row)
    await session.flush()
    return row, await _add_secret(session, actor, row, pepper, now) if row.confidential else None


async def _add_secret(session: AsyncSession, actor: Actor, row: Application, pepper: str, now: datetime) -> str:
    text = write(SECRET, row.agency_id, livemode=actor.livemode)
    session.add(
        ApplicationSecret(
            agency_id=row.agency_id,
            id=new_id(),
            application_id=row.id,
            hash=hash_credential(pepper, text),
            created_by=actor.key_id,
            created_by_member=actor.member_id,
            created_at=now,
        )
    )
    await session.flush()
    return text


async def update_application(
    session: AsyncSession, actor: Actor, id: UUID, wish: ApplicationUpdate, now: datetime
) -> tuple[Application, int]:  # fmt: skip
    """Change the fields that are given. What is taken away is taken from living tokens too. Raises as creating does.

    Returns how many secrets ended, since the application may more now than who was shown them.
    """
    known = await hold_open(raw(session), actor.agency_id, wish.workspace_ids or ())  # before the application, as closing does
    row = await find_application(session, actor, id, lock=True)
    changes = {name: value for name, value in _fields(wish).items() if name in wish.model_fields_set}
    if not changes:
        return row, 0
    _require_held(actor, changes.get("scopes", row.scopes))
    if "workspace_ids" in changes:
        _require_workspaces(changes["workspace_ids"], known, confidential=row.confidential)
    wider = not set(changes.get("scopes", ())) <= set(row.scopes)
    row.sqlmodel_update(changes | {"updated_at": now})
    session.add(row)
    await session.flush()
    return row, await end_secrets_outgrown(raw(session), row.agency_id, row.id, row.scopes) if wider else 0


async def rotate_secret(
    session: AsyncSession, actor: Actor, id: UUID, pepper: str, now: datetime
) -> tuple[str, datetime]:  # fmt: skip
    """Make a new secret. Returns it, and when those before it end. Raises InvalidInput where there is none to keep."""
    row = await find_application(session, actor, id, lock=True)
    _require_held(actor, row.scopes)
    if not row.confidential:
        raise InvalidInput("This application cannot keep a secret.")
    ends = now + FORMER_LIVES
    await raw(session).execute(FORMER, row.agency_id, row.id, ends)
    return await _add_secret(session, actor, row, pepper, now), ends


async def delete_application(session: AsyncSession, actor: Actor, id: UUID, now: datetime) -> Application:
    """Take an application away, with every grant and token: of other agencies too, since each use looks for it."""
    row = await find_application(session, actor, id, lock=True)
    db = raw(session)
    await db.execute(END_GRANTS, row.agency_id, row.id, now)
    await db.execute(END_OWN_TOKENS, row.agency_id, row.id, now)
    await session.delete(row)
    await session.flush()
    return row
