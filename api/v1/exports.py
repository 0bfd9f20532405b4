"""Exports: everything of an agency, or of a workspace, as one archive that can be fetched for a day."""

from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from api.dependencies import DB, Idem, can, can_apart
from api.idempotency import Idempotency
from api.routing import v1
from core.clock import now
from core.db import raw
from core.errors import Missing, PermissionDenied
from core.ids import new_id
from core.wire import OperationId, WorkspaceId, encode_known
from tenants.agencies.models import Workspace
from tenants.audit.entries import Entry, pick
from tenants.operations import service as operations
from tenants.operations.models import Operation
from tenants.operations.schemas import OperationRead
from tenants.owned import find
from tenants.permissions import Actor, Permission
from tenants.rights import closing, exporting

router = v1("Data rights")
ZIP = "application/zip"
ARCHIVE: dict[int | str, dict[str, object]] = {
    200: {"description": "The archive", "content": {ZIP: {"schema": {"type": "string", "contentMediaType": ZIP}}}},
    404: {"description": "It is not there, not yours, or its time is over"},
}


async def _accept(db: DB, actor: Actor, idem: Idempotency, workspace_id: UUID | None, kind: str) -> Response:
    id = new_id()
    await exporting.refuse_second(raw(db), actor.agency_id, workspace_id, kind, closing.KIND)
    await operations.accept(raw(db), actor, workspace_id, id, kind, {}, None, now())
    read = OperationRead.model_validate(await find(db, Operation, actor, id))
    entry = Entry("operation", id, workspace_id, after=pick("operation", read))
    return await idem.respond(read, entry, status=202, location=operations.location(id))


@router.post("/agency/exports", status_code=202, response_model=OperationRead, summary="Export the agency")
async def export_agency(db: DB, actor: Annotated[Actor, can(Permission.AGENCY_EXPORT)], idem: Idem) -> Response:
    """Put everything of the agency into one archive: JSON Lines for each kind of thing, and the files. Nothing secret is in it.

    The answer names an operation; when it has succeeded, its `result.archive.url` is good for a day. What the caller may not read
    otherwise is left out, and named in `result.archive.withheld`.
    """
    if actor.workspace_ids is not None:
        raise PermissionDenied(
            "A key that is bound to workspaces exports those.", required_permission=Permission.AGENCY_EXPORT.value
        )
    return await _accept(db, actor, idem, None, exporting.OF_AGENCY)


@router.post("/workspaces/{workspace_id}/exports", status_code=202, response_model=OperationRead, summary="Export a workspace")
async def export_workspace(
    workspace_id: WorkspaceId, db: DB, actor: Annotated[Actor, can(Permission.WORKSPACE_EXPORT)], idem: Idem
) -> Response:  # fmt: skip
    """Put everything of one workspace that the caller may read into one archive, as of the whole agency."""
    await find(db, Workspace, actor, workspace_id, lock=True)
    return await _accept(db, actor, idem, workspace_id, exporting.OF_WORKSPACE)


@router.get(
    "/agency/exports/{operation_id}/content", response_class=Response, responses=ARCHIVE, summary="Download an export of the agency"
)
async def download_agency_export(
    operation_id: OperationId, actor: Annotated[Actor, can_apart(Permission.AGENCY_EXPORT)], request: Request
) -> Response:  # fmt: skip
    """The archive of an operation, of the agency or of a workspace of it, until it expires."""
    return await _download(request, actor, operation_id, None)


@router.get(
    "/workspaces/{workspace_id}/exports/{operation_id}/content",
    response_class=Response,
    responses=ARCHIVE,
    summary="Download an export of a workspace",
)
async def download_workspace_export(
    workspace_id: WorkspaceId, operation_id: OperationId, actor: Annotated[Actor, can_apart(Permission.WORKSPACE_EXPORT)],
    request: Request,
) -> Response:  # fmt: skip
    """The archive of an operation of this workspace, until it expires."""
    return await _download(request, actor, operation_id, workspace_id)


async def _download(request: Request, actor: Actor, operation_id: UUID, workspace_id: UUID | None) -> Response:
    state = request.app.state
    async with state.database.session(actor.tenant) as session:
        row = await find(session, Operation, actor, operation_id, workspace_id=workspace_id)
    archive = (row.result or {}).get("archive")
    if row.state != "succeeded" or archive is None or row.storage_key is None or row.expires_at <= now():
        raise Missing
    lacking = set(exporting.withheld(workspace_id, {one.value for one in actor.permissions})) - set(archive.get("withheld", ()))
    if lacking:
        raise PermissionDenied(f"The archive holds what you may not read: {', '.join(sorted(lacking))}.")
    pieces = await state.store.pieces(row.storage_key, archive["size_bytes"])
    headers = {
        "Content-Length": str(archive["size_bytes"]),
        "Content-Disposition": f'attachment; filename="{encode_known("operation", row.id)}.zip"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(pieces, media_type=ZIP, headers=headers)
