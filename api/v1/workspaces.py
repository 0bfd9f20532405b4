"""Workspaces: one per client of the agency."""

from typing import Annotated, Any

from fastapi import Query, Request, Response

from api.conditions import IfMatch, check_version, set_etag
from api.dependencies import DB, Idem, can
from api.pagination import Page, PageQuery, page_of, read_cursor
from api.routing import v1
from core.clock import now
from core.wire import WorkspaceId
from tenants.agencies.models import Workspace
from tenants.agencies.schemas import WorkspaceCreate, WorkspaceRead, WorkspaceUpdate
from tenants.agencies.service import create_workspace as create
from tenants.agencies.service import list_workspaces as list_rows
from tenants.agencies.service import update_workspace as update
from tenants.audit.entries import Entry, pick
from tenants.owned import find
from tenants.permissions import Actor, Permission

router = v1("Workspaces")


@router.post("/workspaces", status_code=201, response_model=WorkspaceRead, summary="Create a workspace")
async def create_workspace(
    db: DB, actor: Annotated[Actor, can(Permission.WORKSPACE_CREATE)], idem: Idem, body: WorkspaceCreate
) -> Response:
    """Create the place where one client's accounts, posts and figures live."""
    row = await create(db, actor, body, now())
    read, entry = WorkspaceRead.model_validate(row), Entry("workspace", row.id, row.id, after=pick("workspace", row))
    location = f"/v1/workspaces/{read.model_dump(mode='json')['id']}"
    return await idem.respond(read, entry, status=201, location=location, etag=read.version)


@router.get("/workspaces", response_model=Page[WorkspaceRead], summary="List workspaces")
async def list_workspaces(
    db: DB, actor: Annotated[Actor, can(Permission.WORKSPACE_READ)], request: Request, response: Response,
    query: Annotated[PageQuery, Query()],
) -> dict[str, Any]:  # fmt: skip
    """The workspaces that the caller reaches, newest first."""
    rows = await list_rows(db, actor, after=read_cursor(request, actor, query), limit=query.limit + 1)
    return page_of(request, response, actor, query, rows, [row.id for row in rows])


@router.get("/workspaces/{workspace_id}", response_model=WorkspaceRead, summary="Get a workspace")
async def get_workspace(
    workspace_id: WorkspaceId, db: DB, actor: Annotated[Actor, can(Permission.WORKSPACE_READ)], response: Response
) -> Workspace:
    """One workspace."""
    row = await find(db, Workspace, actor, workspace_id)
    set_etag(response, row.version)
    return row


@router.patch("/workspaces/{workspace_id}", response_model=WorkspaceRead, summary="Change a workspace")
async def update_workspace(
    workspace_id: WorkspaceId, db: DB, actor: Annotated[Actor, can(Permission.WORKSPACE_UPDATE)], idem: Idem,
    expected: IfMatch, body: WorkspaceUpdate,
) -> Response:  # fmt: skip
    """Change a workspace by JSON merge patch. `If-Match` is honoured."""
    row = await find(db, Workspace, actor, workspace_id, lock=True)
    check_version(expected, row.version)
    before = pick("workspace", row)
    read = WorkspaceRead.model_validate(await update(db, actor, workspace_id, body, now()))
    entry = Entry("workspace", workspace_id, workspace_id, before, pick("workspace", read))
    return await idem.respond(read, entry, etag=read.version)
