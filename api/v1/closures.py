"""Closing a workspace when its client leaves, and an agency; and calling it off."""

from typing import Annotated, Any

from fastapi import Response
from pydantic import Field

from api.body import StrictRequest
from api.dependencies import DB, Idem, can, require_fresh
from api.routing import v1
from core.clock import now
from core.db import raw
from core.ids import new_id
from core.wire import Instant, Output, WorkspaceId, write_instant
from tenants.agencies.models import Workspace
from tenants.agencies.schemas import WorkspaceRead
from tenants.audit.entries import Entry, pick
from tenants.operations import service as operations
from tenants.operations.models import Operation
from tenants.operations.schemas import OperationRead
from tenants.owned import find
from tenants.permissions import Actor, Permission
from tenants.rights import closing, exporting

router = v1("Data rights")


class ClosureRead(Output):
    """Whether the agency is closed."""

    erase_at: Instant | None = Field(description="When everything of it is erased; null: it is open.")


@router.get("/agency/closure", response_model=ClosureRead, summary="Get the closure of the agency")
async def get_closure(db: DB, actor: Annotated[Actor, can(Permission.AGENCY_READ)]) -> ClosureRead:
    """Whether the agency is closed, and when it is erased."""
    return ClosureRead(erase_at=await closing.read_closure(raw(db), actor.agency_id))


@router.post("/agency/closure", status_code=202, response_model=ClosureRead, summary="Close the agency")
async def close_agency(
    db: DB, actor: Annotated[Actor, can(Permission.AGENCY_CLOSE)], idem: Idem, request: StrictRequest
) -> Response:  # fmt: skip
    """Have the agency and its test data erased when the grace is over. Until then it goes on, and an owner can call it off.

    Only an owner in person can, who has just signed in or shown again that it is him: `reauthentication_required`.
    """
    closing.require_owner(actor)
    require_fresh(request)
    before = {"erase_at": _told(await closing.read_closure(raw(db), actor.agency_id))}
    read = ClosureRead(erase_at=await closing.close_agency(raw(db), actor, now()))
    return await idem.respond(read, Entry("agency", actor.agency_id, None, before, {"erase_at": _told(read.erase_at)}), status=202)


def _told(instant: Any) -> str | None:
    return None if instant is None else write_instant(instant)


@router.delete("/agency/closure", status_code=204, summary="Keep the agency")
async def keep_agency(db: DB, actor: Annotated[Actor, can(Permission.AGENCY_CLOSE)], idem: Idem) -> Response:
    """Call the closing off. An agency that is open stays so."""
    closing.require_owner(actor)
    before = {"erase_at": _told(await closing.read_closure(raw(db), actor.agency_id))}
    await closing.keep_agency(raw(db), actor)
    return await idem.respond(None, Entry("agency", actor.agency_id, None, before, {"erase_at": None}), status=204)


@router.post("/workspaces/{workspace_id}/closure", status_code=202, response_model=OperationRead, summary="Close a workspace")
async def close_workspace(
    workspace_id: WorkspaceId, db: DB, actor: Annotated[Actor, can(Permission.WORKSPACE_CLOSE)], idem: Idem
) -> Response:  # fmt: skip
    """Let a client go. From this answer on nothing new is taken, and links, people and keys of this workspace alone are out.

    The answer names an operation: it cancels what is scheduled, takes the authorisations back, disconnects the accounts, and
    exports the workspace. Its data are deleted when the grace is over (`erase_at`).
    """
    row = await find(db, Workspace, actor, workspace_id, lock=True)
    before, id = pick("workspace", row), new_id()
    await exporting.refuse_second(raw(db), actor.agency_id, workspace_id, exporting.OF_WORKSPACE, closing.KIND)
    await closing.shut_workspace(raw(db), actor.agency_id, workspace_id, now())
    await operations.accept(raw(db), actor, workspace_id, id, closing.KIND, {}, None, now())
    read = OperationRead.model_validate(await find(db, Operation, actor, id))
    await db.refresh(row)
    entry = Entry("workspace", workspace_id, workspace_id, before, pick("workspace", row))
    return await idem.respond(read, entry, status=202, location=operations.location(id))


@router.delete("/workspaces/{workspace_id}/closure", response_model=WorkspaceRead, summary="Open a workspace again")
async def open_workspace(
    workspace_id: WorkspaceId, db: DB, actor: Annotated[Actor, can(Permission.WORKSPACE_CLOSE)], idem: Idem
) -> Response:  # fmt: skip
    """Call the closing of a workspace off, within its grace. Accounts are connected, and people added, anew."""
    row = await find(db, Workspace, actor, workspace_id, lock=True)
    before = pick("workspace", row)
    await closing.open_workspace(raw(db), row, now())
    await db.refresh(row)
    read = WorkspaceRead.model_validate(row)
    return await idem.respond(read, Entry("workspace", workspace_id, workspace_id, before, pick("workspace", row)))
