"""Publications: one post at one account, and what people can do when it did not simply go out."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query, Request, Response
from pydantic import Field

from api.dependencies import Bare, IdemBare, can_bare
from api.pagination import Page, PageQuery, page_of, read_cursor
from api.routing import v1
from core.clock import now
from core.db import Bare as BareConnection
from core.db import Row
from core.filters import Filter
from core.ids import encode
from core.wire import AccountId, Instant, PublicationId, WorkspaceId
from tenants.audit.entries import Entry, pick
from tenants.permissions import Actor, Permission
from tenants.posts import people, queries, rows
from tenants.posts.eyes import alone_with
from tenants.posts.moves import Cancelled, DeletionAsked, Resolved, RetryAsked
from tenants.posts.schemas import PublicationDetail, PublicationRead, Resolution
from tenants.posts.states import PublicationState

router = v1("Publications")
PATH = "/workspaces/{workspace_id}/publications/{publication_id}"


class PublicationQuery(PageQuery):
    """Filters of publications."""

    state: PublicationState | None = Field(None, examples=["needs_human"])
    workspace_id: WorkspaceId | None = None
    account_id: AccountId | None = None
    network: str | None = Field(None, max_length=32, examples=["bluesky"])
    due_at_gte: Instant | None = Field(None, alias="due_at[gte]")
    due_at_lt: Instant | None = Field(None, alias="due_at[lt]")


@router.get("/publications", response_model=Page[PublicationRead], summary="List publications")
async def list_publications(
    db: Bare, actor: Annotated[Actor, can_bare(Permission.PUBLICATION_READ)], request: Request, response: Response,
    query: Annotated[PublicationQuery, Query()],
) -> Response:  # fmt: skip
    """Deliveries of every workspace that the caller reaches, newest first."""
    wanted = Filter(actor.agency_id, actor.reach)
    wanted.add("d.id < ?", read_cursor(request, actor, query))
    wanted.add("d.state = ?", query.state)
    wanted.add("d.workspace_id = ?", query.workspace_id)
    wanted.add("d.account_id = ?", query.account_id)
    wanted.add("d.network = ?", query.network)
    wanted.add("d.due_at >= ?", query.due_at_gte)
    wanted.add("d.due_at < ?", query.due_at_lt)
    found = await queries.list_publications(db, actor, wanted, query.limit + 1)
    page = page_of(request, response, actor, query, found, [row["id"] for row in found])
    page["data"] = [rows.publication(row, actor, alone=alone_with(row, actor)) for row in page["data"]]
    return Response(orjson.dumps(page), media_type="application/json", headers=dict(response.headers))


async def read_publication(db: BareConnection, actor: Actor, row: Row) -> dict[str, Any]:
    """Bring one publication to the wire, with its attempts."""
    tries = await queries.attempts_of(db, actor.agency_id, row["id"])
    return rows.publication(row, actor, alone=alone_with(row, actor)) | {
        "workspace_id": encode("wsp", row["workspace_id"]),
        "tries": [rows.attempt(each) for each in tries],
    }


@router.get(PATH, response_model=PublicationDetail, summary="Get a publication")
async def get_publication(
    workspace_id: WorkspaceId, publication_id: PublicationId, db: Bare,
    actor: Annotated[Actor, can_bare(Permission.PUBLICATION_READ)],
) -> Response:  # fmt: skip
    """One delivery with every attempt at it, and what proves how each ended."""
    read = await read_publication(db, actor, await queries.get_publication(db, actor, workspace_id, publication_id))
    return Response(orjson.dumps(read), media_type="application/json")


async def _act(
    db: BareConnection, actor: Actor, idem: IdemBare, workspace_id: UUID, publication_id: UUID, event: Any, status: int = 200
) -> Response:
    networks = idem.request.app.state.networks
    before = await people.act(db, actor, networks, workspace_id, publication_id, event, now())
    after = await queries.get_publication(db, actor, workspace_id, publication_id)
    entry = Entry("publication", publication_id, workspace_id, pick("publication", before), pick("publication", after))
    return await idem.respond(orjson.dumps(await read_publication(db, actor, after)), entry, status=status)


@router.post(PATH + "/retry", response_model=PublicationDetail, summary="Retry a publication")
async def retry_publication(
    workspace_id: WorkspaceId, publication_id: PublicationId, db: Bare,
    actor: Annotated[Actor, can_bare(Permission.POST_SCHEDULE)], idem: IdemBare,
) -> Response:  # fmt: skip
    """Try again what is proven not published. What may be published is refused: resolve it first."""
    return await _act(db, actor, idem, workspace_id, publication_id, RetryAsked())


@router.post(PATH + "/cancel", response_model=PublicationDetail, summary="Cancel a publication")
async def cancel_publication(
    workspace_id: WorkspaceId, publication_id: PublicationId, db: Bare,
    actor: Annotated[Actor, can_bare(Permission.POST_SCHEDULE)], idem: IdemBare,
) -> Response:  # fmt: skip
    """Take one delivery back before it begins."""
    return await _act(db, actor, idem, workspace_id, publication_id, Cancelled())


@router.post(PATH + "/resolve", response_model=PublicationDetail, summary="Resolve a publication")
async def resolve_publication(
    workspace_id: WorkspaceId, publication_id: PublicationId, db: Bare,
    actor: Annotated[Actor, can_bare(Permission.PUBLICATION_RESOLVE)], idem: IdemBare, body: Resolution,
) -> Response:  # fmt: skip
    """Say how a delivery ended that nobody but a person can know. `not_published` makes it retriable."""
    event = Resolved(body.outcome == "published", body.external_url)
    return await _act(db, actor, idem, workspace_id, publication_id, event)


@router.delete(PATH, response_model=PublicationDetail, status_code=202, summary="Delete a published post")
async def delete_publication(
    workspace_id: WorkspaceId, publication_id: PublicationId, db: Bare,
    actor: Annotated[Actor, can_bare(Permission.POST_DELETE)], idem: IdemBare,
) -> Response:  # fmt: skip
    """Take the post away from the network. The publication is `unpublishing`, then `removed`."""
    return await _act(db, actor, idem, workspace_id, publication_id, DeletionAsked(), status=202)
