"""Applications of the agency: what third parties build on it."""

from typing import Annotated, Any

from fastapi import Query, Request, Response

from api.dependencies import DB, Idem, can
from api.pagination import Page, PageQuery, page_of, read_cursor
from api.routing import v1
from core.clock import now
from core.ids import encode
from core.wire import ApplicationId, write_instant
from tenants.applications import service
from tenants.applications.clients import client_id
from tenants.applications.models import Application
from tenants.applications.schemas import ApplicationCreate, ApplicationCreated, ApplicationRead, ApplicationUpdate, SecretCreated
from tenants.audit.entries import Entry, pick
from tenants.permissions import Actor, Permission

router = v1("Applications")
ONE = "/applications/{application_id}"


def _read(row: Application) -> dict[str, Any]:
    return row.model_dump() | {"client_id": client_id(row.agency_id, row.id)}


@router.post("/applications", status_code=201, response_model=ApplicationCreated, summary="Register an application")
async def create_application(
    db: DB, actor: Annotated[Actor, can(Permission.APPLICATION_MANAGE)], idem: Idem, body: ApplicationCreate, request: Request
) -> Response:  # fmt: skip
    """Register an OAuth client. Its secret is in this answer and nowhere else, and ends with who was shown it.

    It cannot be allowed a scope or a workspace that its maker lacks.
    """
    row, secret = await service.create_application(db, actor, body, request.app.state.house.secret, now())
    read = ApplicationCreated.model_validate(_read(row) | {"client_secret": secret})
    entry = Entry("application", row.id, None, after=pick("application", row))
    location = f"/v1/applications/{encode('app', row.id)}"
    return await idem.respond_secret(read, entry, status=201, location=location, shown_once="client_secret")


@router.get("/applications", response_model=Page[ApplicationRead], summary="List applications")
async def list_applications(
    db: DB, actor: Annotated[Actor, can(Permission.APPLICATION_READ)], request: Request, response: Response,
    query: Annotated[PageQuery, Query()],
) -> dict[str, Any]:  # fmt: skip
    """The agency's own applications, newest first. What it granted, to these and others, stands in its grants."""
    rows = await service.list_applications(db, actor, after=read_cursor(request, actor, query), limit=query.limit + 1)
    return page_of(request, response, actor, query, [_read(row) for row in rows], [row.id for row in rows])


@router.get(ONE, response_model=ApplicationRead, summary="Get an application")
async def get_application(
    application_id: ApplicationId, db: DB, actor: Annotated[Actor, can(Permission.APPLICATION_READ)]
) -> dict[str, Any]:  # fmt: skip
    """One application, without its secret."""
    return _read(await service.find_application(db, actor, application_id))


@router.patch(ONE, response_model=ApplicationRead, summary="Update an application")
async def update_application(
    application_id: ApplicationId, db: DB, actor: Annotated[Actor, can(Permission.APPLICATION_MANAGE)], idem: Idem,
    body: ApplicationUpdate,
) -> Response:  # fmt: skip
    """Change an application. A scope or a workspace that is taken away is taken from its living tokens too, from this answer on.

    A scope that is added ends the secrets that were shown to who lacks it, with the tokens that they gave: make a new one.
    """
    before = pick("application", await service.find_application(db, actor, application_id))
    row, ended = await service.update_application(db, actor, application_id, body, now())
    told = {"ended_secrets": ended} if ended else {}
    entry = Entry("application", row.id, None, before, pick("application", row) | told)
    return await idem.respond(ApplicationRead.model_validate(_read(row)), entry)


@router.delete(ONE, status_code=204, summary="Delete an application")
async def delete_application(
    application_id: ApplicationId, db: DB, actor: Annotated[Actor, can(Permission.APPLICATION_MANAGE)], idem: Idem
) -> Response:  # fmt: skip
    """Take an application away. Every token of it is refused from this answer on, in other agencies too."""
    row = await service.delete_application(db, actor, application_id, now())
    return await idem.respond(None, Entry("application", row.id, None, pick("application", row)), status=204)


@router.post(f"{ONE}/secrets", status_code=201, response_model=SecretCreated, summary="Make a new secret")
async def rotate_application_secret(
    application_id: ApplicationId, db: DB, actor: Annotated[Actor, can(Permission.APPLICATION_MANAGE)], idem: Idem,
    request: Request,
) -> Response:  # fmt: skip
    """Make a new secret. Those before it go on for a day, so that nothing stands still meanwhile."""
    secret, ends = await service.rotate_secret(db, actor, application_id, request.app.state.house.secret, now())
    read = SecretCreated(id=application_id, client_secret=secret, former_expires_at=ends)
    entry = Entry("application", application_id, None, after={"former_secrets_expire_at": write_instant(ends)})
    location = f"/v1/applications/{encode('app', application_id)}"
    return await idem.respond_secret(read, entry, status=201, location=location, shown_once="client_secret")
