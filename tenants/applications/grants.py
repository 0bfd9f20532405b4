"""Grants as the agency sees them, and embed tokens."""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from core.credentials import hash_credential, write
from core.db import Tenant, raw, restamp
from core.errors import Conflict, Fault, InvalidInput, Missing, PermissionDenied
from core.ids import new_id
from tenants.agencies.models import Workspace
from tenants.applications.models import AccessToken, Grant
from tenants.applications.schemas import EmbedTokenCreate
from tenants.applications.tokens import EMBED
from tenants.closed import CLOSED, hold_open
from tenants.invitations.standing import standing_of
from tenants.owned import find, owned
from tenants.permissions import EMBEDDABLE, SHOWN_IN_PAGES, Actor, Permission

BEHIND = (
    "select scopes, grant_id, application_agency_id, application_id, secret_id from access_tokens where agency_id = $1 and id = $2"
)
"""Who stands behind the token that mints another: the new one ends with them too."""


async def list_grants(session: AsyncSession, actor: Actor, *, after: UUID | None, limit: int) -> list[Grant]:
    """The agency's grants, newest first; of a caller that is bound to workspaces those that reach no further."""
    query = owned(Grant, actor).order_by(col(Grant.id).desc()).limit(limit)
    if after is not None:
        query = query.where(Grant.id < after)
    return list((await session.exec(query)).all())


async def revoke_grant(session: AsyncSession, actor: Actor, id: UUID, now: datetime) -> Grant:
    """End a grant with all that was issued upon it. It holds from the commit on. Raises Missing."""
    row = await find(session, Grant, actor, id, lock=True)
    if row.revoked_at is None:
        row.revoked_at, row.revoked_reason = now, "revoked"
        session.add(row)
        await session.flush()
    return row


async def _held_in(
    session: AsyncSession, actor: Actor, workspace_id: UUID, of_token: Collection[str] | None
) -> frozenset[Permission]:  # fmt: skip
    """What the caller holds in one workspace. A member's route names none, so it was narrowed to what it may in all of its own."""
    if actor.member_id is None:
        return actor.permissions
    db = raw(session)
    await restamp(db, Tenant(actor.agency_id))
    standing = await standing_of(db, actor.agency_id, None, actor.member_id)
    await restamp(db, actor.tenant)
    if standing is None:
        raise Missing
    held = standing.at(Permission.EMBED_CREATE, workspace_id).permissions
    return held if of_token is None else frozenset(one for one in held if one.value in of_token)


async def create_embed_token(
    session: AsyncSession, actor: Actor, wish: EmbedTokenCreate, pepper: str, now: datetime
) -> tuple[AccessToken, str]:  # fmt: skip
    """Make a token that reads in one workspace for some minutes. Returns the row and the token, which is stored nowhere.

    It holds no more than its maker, and ends with it. Raises Missing, PermissionDenied, InvalidInput, Conflict.
    """
    actor.see(wish.workspace_id)
    await find(session, Workspace, actor, wish.workspace_id)
    if not await hold_open(raw(session), actor.agency_id, [wish.workspace_id]):
        raise Conflict(CLOSED)
    behind = {} if actor.token_id is None else dict(await raw(session).fetchrow(BEHIND, actor.agency_id, actor.token_id))
    readable = EMBEDDABLE & await _held_in(session, actor, wish.workspace_id, behind.pop("scopes", None))
    scopes = SHOWN_IN_PAGES & readable if wish.scopes is None else frozenset(wish.scopes)
    lacking = sorted(scope.value for scope in scopes - readable)
    if lacking:
        detail = f"A token cannot hold what its maker lacks: {', '.join(lacking)}."
        raise PermissionDenied(detail, required_permission=Permission.EMBED_CREATE.value)
    if not scopes:
        raise InvalidInput(faults=[Fault("/scopes", "validation_failed", "There is nothing that it could read.")])
    text = write(EMBED, actor.agency_id, livemode=actor.livemode)
    row = AccessToken(
        agency_id=actor.agency_id,
        id=new_id(),
        kind="embed",
        hash=hash_credential(pepper, text),
        member_id=actor.member_id,
        key_id=actor.key_id,
        scopes=sorted(scope.value for scope in scopes),
        workspace_ids=[wish.workspace_id],
        expires_at=now + timedelta(seconds=wish.expires_in_s),
        created_at=now,
        **behind,
    )
    session.add(row)
    await session.flush()
    return row, text
