"""Who is calling."""

from typing import Annotated

from api.dependencies import DB, can
from api.routing import v1
from core.db import raw
from tenants.agencies.models import ApiKey, Workspace
from tenants.agencies.schemas import AgencyRead, KeyRead, Me, WorkspaceRead
from tenants.agencies.service import list_workspaces
from tenants.owned import find
from tenants.people.members import read_self
from tenants.people.schemas import MemberRead
from tenants.permissions import Actor, Permission

router = v1("Agency")
WORKSPACES_SHOWN_MAX = 500


@router.get("/me", summary="Who is calling")
async def get_me(db: DB, actor: Annotated[Actor, can(Permission.AGENCY_READ)]) -> Me:
    """The caller, its agency, what it may do and the workspaces that it reaches (the first 500).

    Of a member whose roles differ from workspace to workspace, `permissions` are those that it has in all of them.
    """
    caller: KeyRead | MemberRead
    if actor.key_id is not None:
        caller = KeyRead.model_validate(await find(db, ApiKey, actor, actor.key_id))
    else:
        caller = await read_self(raw(db), actor)
    workspaces: list[Workspace] = await list_workspaces(db, actor, after=None, limit=WORKSPACES_SHOWN_MAX)
    return Me(
        type="key" if actor.key_id is not None else "member",
        actor=caller,
        agency=AgencyRead(id=actor.agency_id, name=actor.agency_name),
        livemode=actor.livemode,
        permissions=sorted(permission.value for permission in actor.permissions),
        workspaces=[WorkspaceRead.model_validate(row) for row in workspaces],
    )
