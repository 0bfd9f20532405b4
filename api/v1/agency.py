"""Who is calling; the agency itself, and its handing over."""

from typing import Annotated, Literal

from fastapi import Response

from api.dependencies import DB, Idem, can
from api.routing import v1
from core.db import raw
from core.wire import encode_known
from tenants.agencies.models import ApiKey, Workspace
from tenants.agencies.schemas import AgencyRead, AgencyTransfer, AgencyUpdate, KeyRead, Me, NamedApplication, WorkspaceRead
from tenants.agencies.service import get_agency, list_workspaces
from tenants.agencies.service import update_agency as update
from tenants.audit.entries import Entry, pick
from tenants.owned import find
from tenants.people import membership
from tenants.people.members import read_self
from tenants.people.schemas import MemberRead
from tenants.permissions import Actor, Permission

router = v1("Agency")
WORKSPACES_SHOWN_MAX = 500
CALLERS: dict[type, Literal["key", "member", "application"]] = {
    KeyRead: "key", MemberRead: "member", NamedApplication: "application",
}  # fmt: skip


@router.get("/me", summary="Who is calling")
async def get_me(db: DB, actor: Annotated[Actor, can(Permission.AGENCY_READ)]) -> Me:
    """The caller, its agency, what it may do and the workspaces that it reaches (the first 500).

    Of a member whose roles differ from workspace to workspace, `permissions` are those that it has in all of them.
    """
    caller: KeyRead | MemberRead | NamedApplication
    if actor.application_id is not None:
        caller = NamedApplication(id=actor.application_id, name=actor.key_name)
    elif actor.key_id is not None:
        caller = KeyRead.model_validate(await find(db, ApiKey, actor, actor.key_id))
    else:
        caller = await read_self(raw(db), actor)
    workspaces: list[Workspace] = await list_workspaces(db, actor, after=None, limit=WORKSPACES_SHOWN_MAX)
    return Me(
        type=CALLERS[type(caller)],
        actor=caller,
        agency=AgencyRead.model_validate(await get_agency(db, actor)),
        livemode=actor.livemode,
        permissions=sorted(permission.value for permission in actor.permissions),
        workspaces=[WorkspaceRead.model_validate(row) for row in workspaces],
    )


@router.patch("/agency", response_model=AgencyRead, summary="Change the agency")
async def update_agency(
    db: DB, actor: Annotated[Actor, can(Permission.AGENCY_UPDATE)], idem: Idem, body: AgencyUpdate
) -> Response:  # fmt: skip
    """Change its name, and whether it lets in only members with a second factor. Test data are an agency of their own."""
    row = await get_agency(db, actor, lock=True)
    before = pick("agency", row)
    read = AgencyRead.model_validate(await update(db, actor, row, body))
    return await idem.respond(read, Entry("agency", row.id, None, before, pick("agency", read)))


@router.post("/agency/transfer", response_model=MemberRead, summary="Hand the agency over")
async def transfer_agency(
    db: DB, actor: Annotated[Actor, can(Permission.AGENCY_TRANSFER)], idem: Idem, body: AgencyTransfer
) -> Response:  # fmt: skip
    """Make a member an owner in your place. You are an admin from this answer on, which shows the new owner.

    Only an owner in person can: no key, whatever it holds.
    """
    owner = await membership.hand_over(raw(db), actor, body.member_id)
    before, after = ({"owner": encode_known("member", id)} for id in (actor.member_id, owner.id) if id is not None)
    return await idem.respond(owner, Entry("agency", actor.agency_id, None, before, after))
