"""Who is calling."""

from typing import Annotated

from api.dependencies import DB, can
from api.routing import v1
from tenants.agencies.models import ApiKey, Workspace
from tenants.agencies.schemas import AgencyRead, KeyRead, Me, WorkspaceRead
from tenants.agencies.service import list_workspaces
from tenants.owned import find
from tenants.permissions import Actor, Permission

router = v1("Agency")
WORKSPACES_SHOWN_MAX = 500


@router.get("/me", summary="Who is calling")
async def get_me(db: DB, actor: Annotated[Actor, can(Permission.AGENCY_READ)]) -> Me:
    """The caller's key, its agency, what it may do and the workspaces that it reaches (the first 500)."""
    key = await find(db, ApiKey, actor, actor.key_id)
    workspaces: list[Workspace] = await list_workspaces(db, actor, after=None, limit=WORKSPACES_SHOWN_MAX)
    return Me(
        actor=KeyRead.model_validate(key),
        agency=AgencyRead(id=actor.agency_id, name=actor.agency_name),
        livemode=actor.livemode,
        permissions=sorted(permission.value for permission in actor.permissions),
        workspaces=[WorkspaceRead.model_validate(row) for row in workspaces],
    )
