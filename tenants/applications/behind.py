"""Who stands behind what somebody made and left for others to open: a link, or the page of a connect session.

As behind a token: the key or the member, and what an application acted by, its grant or its secret. It is looked at anew at each
use, so whoever leaves, and whatever is taken back, ends it.
"""

from dataclasses import dataclass
from uuid import UUID

from core.db import Bare
from core.errors import Missing, PermissionDenied
from tenants.applications.clients import LIVES, scopes_of_application
from tenants.invitations.standing import standing_of
from tenants.permissions import Actor, Permission

TOKEN = "select grant_id, secret_id from access_tokens where agency_id = $1 and id = $2"
GRANT = """
select g.scopes, g.workspace_ids, g.application_agency_id, g.application_id, p.scopes own_scopes from grants g
left join applications p on p.agency_id = $1 and g.application_agency_id = $1 and p.id = g.application_id
where g.agency_id = $1 and g.id = $2 and g.revoked_at is null and g.expires_at > now()
"""
SECRET = f"""
select p.scopes, p.workspace_ids from application_secrets s
join applications p on p.agency_id = s.agency_id and p.id = s.application_id where s.agency_id = $1 and s.id = $2 and {LIVES}
"""


@dataclass(frozen=True, slots=True)
class Maker:
    """Who made it, and by what. Nobody: it was made before that was kept."""

    created_by: UUID | None = None
    created_by_member: UUID | None = None
    grant_id: UUID | None = None
    secret_id: UUID | None = None


async def maker_of(db: Bare, actor: Actor) -> Maker:
    """Say who makes something now. A token may be gone when that is asked, so what stands behind it is kept."""
    row = None if actor.token_id is None else await db.fetchrow(TOKEN, actor.agency_id, actor.token_id)
    return Maker(actor.key_id, actor.member_id, *(row or ()))


async def require_maker(db: Bare, agency_id: UUID, maker: Maker, permission: Permission, workspace_id: UUID) -> None:
    """Refuse what could not be made now by who made it. `db` carries the stamp of the agency. Raises Missing."""
    if maker.created_by is not None or maker.created_by_member is not None:
        standing = await standing_of(db, agency_id, maker.created_by, maker.created_by_member)
        if standing is None:
            raise Missing
        try:
            standing.at(permission, workspace_id)
        except PermissionDenied as error:
            raise Missing from error
    if maker.grant_id is not None:
        row = await db.fetchrow(GRANT, agency_id, maker.grant_id)
        if row is None:
            raise Missing
        allowed = await scopes_of_application(db, agency_id, row) or ()
        if workspace_id not in row["workspace_ids"] or permission.value not in set(row["scopes"]).intersection(allowed):
            raise Missing
    if maker.secret_id is not None:
        row = await db.fetchrow(SECRET, agency_id, maker.secret_id)
        if row is None or workspace_id not in row["workspace_ids"] or permission.value not in row["scopes"]:
            raise Missing
