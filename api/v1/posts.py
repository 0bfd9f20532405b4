"""Posts: content, its time, and its accounts."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import Query, Request, Response
from pydantic import Field

from api.conditions import IfMatch, IfMatchRequired
from api.dependencies import Bare, IdemBare, can_bare
from api.idempotency import Answer
from api.pagination import Page, PageQuery, page_of, read_cursor
from api.routing import v1
from core.clock import now
from core.db import Bare as BareConnection
from core.db import Row
from core.filters import Filter
from core.ids import encode
from core.wire import AccountId, Instant, PostId, WorkspaceId
from tenants.audit.entries import Entry, pick
from tenants.permissions import Actor, Permission
from tenants.posts import editing, preflight, queries, rows, service
from tenants.posts.schemas import PostCreate, PostRead, PostUpdate, ScheduleWish, ValidationRead
from tenants.posts.states import PostState

router = v1("Posts")
PATH = "/workspaces/{workspace_id}/posts"
ONE = PATH + "/{post_id:id}"


class PostQuery(PageQuery):
    """Filters of posts."""

    state: PostState | None = Field(None, examples=["scheduled"])
    account_id: AccountId | None = None
    external_ref: str | None = Field(None, max_length=255)
    due_at_gte: Instant | None = Field(None, alias="due_at[gte]")
    due_at_lt: Instant | None = Field(None, alias="due_at[lt]")


async def read_posts(db: BareConnection, actor: Actor, found: list[Row]) -> list[dict[str, Any]]:
    """Bring posts to the wire with their publications and variants: one statement for a whole page."""
    ids = [row["id"] for row in found]
    if not ids:
        return []
    publications: dict[UUID, list[Row]] = {id: [] for id in ids}
    for row in await queries.shown_of(db, actor.agency_id, ids):
        publications[row["post_id"]].append(row)
    return [rows.post(row, publications[row["id"]], actor) for row in found]


async def read_post(db: BareConnection, actor: Actor, workspace_id: UUID, post_id: UUID) -> dict[str, Any]:
    """Bring one post to the wire."""
    return (await read_posts(db, actor, [await queries.get_post(db, actor, workspace_id, post_id)]))[0]


def _told(row: Mapping[str, Any] | Row, account_ids: list[str]) -> dict[str, Any]:
    """What the audit log keeps of a post: no text, and to whom it goes."""
    return pick("post", row) | {"account_ids": sorted(account_ids)}


def _accounts(read: dict[str, Any]) -> list[str]:
    return [one["account_id"] for one in read["publications"]]


def _before(found: service.Found) -> dict[str, Any]:
    post, publications = found
    return _told(post, [encode("acc", row["account_id"]) for row in publications])


async def _answer(
    db: BareConnection, actor: Actor, idem: IdemBare, workspace_id: UUID, post_id: UUID, found: service.Found
) -> Response:
    row = await queries.get_post(db, actor, workspace_id, post_id)
    (read,) = await read_posts(db, actor, [row])
    entry = Entry("post", post_id, workspace_id, _before(found), _told(row, _accounts(read)))
    return await idem.respond(orjson.dumps(read), entry, etag=read["version"])


@router.post(PATH, status_code=201, response_model=PostRead, summary="Create a post")
async def create_post(
    workspace_id: WorkspaceId, actor: Annotated[Actor, can_bare(Permission.POST_CREATE)], idem: IdemBare, body: PostCreate,
    request: Request,
) -> Response:  # fmt: skip
    """Create a post for one or more accounts: a draft, at a time, or `now`.

    The answer comes after everything is stored: from then on the post goes out once, on time, also if every machine restarts.
    """
    if body.schedule is not None:
        actor.require(Permission.POST_SCHEDULE)
    new = await service.plan_post(idem.db, actor, request.app.state.networks, workspace_id, body, now())
    read = rows.post(new.row, new.publications, actor)
    location = f"/v1/workspaces/{encode('wsp', workspace_id)}/posts/{read['id']}"
    answer = Answer.of(orjson.dumps(read), status=201, location=location, etag=1)
    entry = Entry("post", new.id, workspace_id, after=_told(new.row, _accounts(read)))
    await service.store_post(idem.db, actor, new, idem.told(entry), idem.record(answer))
    return answer.response


@router.post(PATH + "/validate", response_model=ValidationRead, summary="Validate a post")
async def validate_post(
    workspace_id: WorkspaceId, db: Bare, actor: Annotated[Actor, can_bare(Permission.POST_CREATE)], body: PostCreate,
    request: Request,
) -> ValidationRead:  # fmt: skip
    """Say what would become of a post, account by account, and store nothing: the networks' limits, what readers see before
    "more", links, missing alternative texts, accounts and tokens that will not last, and posts that say nearly the same.

    An `error` is what creating with this schedule would refuse. The same is looked at every night for what is scheduled; when
    something turns bad there, the event is `post.findings_changed`.
    """
    verdict = await preflight.validate_post(db, actor, request.app.state.networks, workspace_id, body, now())
    return ValidationRead.model_validate(verdict)


@router.get(PATH, response_model=Page[PostRead], summary="List posts")
async def list_posts(
    workspace_id: WorkspaceId, db: Bare, actor: Annotated[Actor, can_bare(Permission.POST_READ)], request: Request,
    response: Response, query: Annotated[PostQuery, Query()],
) -> Response:  # fmt: skip
    """The workspace's posts with their deliveries, newest first."""
    wanted = Filter(actor.agency_id, workspace_id)
    wanted.add("p.id < ?", read_cursor(request, actor, query))
    wanted.add("p.state = ?", query.state)
    wanted.add("p.external_ref = ?", query.external_ref)
    wanted.add("p.due_at >= ?", query.due_at_gte)
    wanted.add("p.due_at < ?", query.due_at_lt)
    wanted.add(
        "exists (select 1 from publications d where d.agency_id = $1 and d.post_id = p.id and d.account_id = ?)",
        query.account_id,
    )
    found = await queries.list_posts(db, actor, workspace_id, wanted, query.limit + 1)
    if not found or found[0]["workspace_id"] != workspace_id:
        await queries.workspace_zone(db, actor, workspace_id, look=True)  # an empty page, or a workspace that is not there
    page = page_of(request, response, actor, query, found, [row["id"] for row in found])
    page["data"] = await read_posts(db, actor, page["data"])
    return Response(orjson.dumps(page), media_type="application/json", headers=dict(response.headers))


@router.get(ONE, response_model=PostRead, summary="Get a post")
async def get_post(
    workspace_id: WorkspaceId, post_id: PostId, db: Bare, actor: Annotated[Actor, can_bare(Permission.POST_READ)]
) -> Response:
    """One post with its deliveries."""
    read = await read_post(db, actor, workspace_id, post_id)
    return Response(orjson.dumps(read), media_type="application/json", headers={"ETag": f'"{read["version"]}"'})


@router.patch(ONE, response_model=PostRead, summary="Change a post")
async def update_post(
    workspace_id: WorkspaceId, post_id: PostId, db: Bare, actor: Annotated[Actor, can_bare(Permission.POST_UPDATE)],
    idem: IdemBare, expected: IfMatchRequired, body: PostUpdate, request: Request,
) -> Response:  # fmt: skip
    """Change a post by JSON merge patch, while nothing of it has begun to go out. `If-Match` is required."""
    networks = request.app.state.networks
    found = await editing.update_post(db, actor, networks, workspace_id, post_id, body, expected, now())
    return await _answer(db, actor, idem, workspace_id, post_id, found)


@router.delete(ONE, status_code=204, summary="Delete a post")
async def delete_post(
    workspace_id: WorkspaceId, post_id: PostId, db: Bare, actor: Annotated[Actor, can_bare(Permission.POST_DELETE)],
    idem: IdemBare, expected: IfMatch,
) -> Response:  # fmt: skip
    """Delete a post that never reached a network; one that did keeps its history and can be archived."""
    found = await service.delete_post(db, actor, workspace_id, post_id, expected, now())
    return await idem.respond(None, Entry("post", post_id, workspace_id, before=_before(found)), status=204)


@router.post(ONE + "/schedule", response_model=PostRead, summary="Schedule a post")
async def schedule_post(
    workspace_id: WorkspaceId, post_id: PostId, db: Bare, actor: Annotated[Actor, can_bare(Permission.POST_SCHEDULE)],
    idem: IdemBare, expected: IfMatch, body: ScheduleWish, request: Request,
) -> Response:  # fmt: skip
    """Give a post its time, or another one. What is published already stays as it is."""
    networks = request.app.state.networks
    found = await service.schedule_post(db, actor, networks, workspace_id, post_id, body.schedule, expected, now())
    return await _answer(db, actor, idem, workspace_id, post_id, found)


async def _act(
    verb: Literal["cancel", "archive"], db: BareConnection, actor: Actor, idem: IdemBare, workspace_id: UUID,
    post_id: UUID, expected: int | None,
) -> Response:  # fmt: skip
    action = service.cancel_post if verb == "cancel" else service.archive_post
    found = await action(db, actor, workspace_id, post_id, expected, now())
    return await _answer(db, actor, idem, workspace_id, post_id, found)


@router.post(ONE + "/cancel", response_model=PostRead, summary="Cancel a post")
async def cancel_post(
    workspace_id: WorkspaceId, post_id: PostId, db: Bare, actor: Annotated[Actor, can_bare(Permission.POST_SCHEDULE)],
    idem: IdemBare, expected: IfMatch,
) -> Response:  # fmt: skip
    """Take back every delivery that has not begun. While one is under way the answer is 409 `publish_in_progress`."""
    return await _act("cancel", db, actor, idem, workspace_id, post_id, expected)


@router.post(ONE + "/archive", response_model=PostRead, summary="Archive a post")
async def archive_post(
    workspace_id: WorkspaceId, post_id: PostId, db: Bare, actor: Annotated[Actor, can_bare(Permission.POST_UPDATE)],
    idem: IdemBare, expected: IfMatch,
) -> Response:  # fmt: skip
    """Put a post away. Its history stays."""
    return await _act("archive", db, actor, idem, workspace_id, post_id, expected)
