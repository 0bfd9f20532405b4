"""Posts, many at a time: a batch that is answered at once, and a sheet that becomes an operation."""

import asyncio
import hashlib
from typing import Annotated, Any, cast
from uuid import UUID

import orjson
from fastapi import Query, Request, Response
from pydantic import Field

from api.dependencies import Bare, IdemApart, IdemBare, can_apart, can_bare
from api.idempotency import Item
from api.routing import v1
from api.v1.posts import PATH, read_posts
from core.clock import now
from core.db import raw
from core.errors import Malformed, Problem, TooLarge, UnsupportedMedia
from core.ids import encode, new_id
from core.wire import Input, QueryFlag, WorkspaceId
from tenants.audit.entries import Entry, pick
from tenants.operations import service as operations
from tenants.operations.models import Operation
from tenants.operations.schemas import OperationRead
from tenants.owned import find
from tenants.permissions import Actor, Permission
from tenants.posts import bulk, importing, queries, sheet
from tenants.posts.bulk import BulkCreate, BulkRead
from tenants.posts.schemas import PostCreate
from tenants.posts.wishes import Refused

router = v1("Posts")
SHEET_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": (
            f"CSV in UTF-8 with up to {sheet.ROWS_MAX} rows and {sheet.BYTES_MAX} bytes; the first line names the columns: "
            f"{', '.join(sheet.COLUMNS)}. Several ids in one cell are separated by spaces."
        ),
        "content": {
            "text/csv": {
                "schema": {"type": "string", "minLength": 1, "maxLength": sheet.BYTES_MAX},
                "example": "text,account_ids,at,time_zone\r\nFresh rolls,acc_01kazm3v9sfa4t2tq9gk1x7c5e,now,\r\n",
            }
        },
    }
}


class ImportQuery(Input):
    """How to import."""

    dry_run: QueryFlag = Field(False, description="True: every row is validated and none is stored.")


@router.post(PATH + "/bulk", response_model=BulkRead, summary="Create many posts")
async def create_posts(
    workspace_id: WorkspaceId, db: Bare, actor: Annotated[Actor, can_bare(Permission.POST_CREATE)], idem: IdemBare,
    body: BulkCreate, request: Request,
) -> Response:  # fmt: skip
    """Create up to a hundred posts. Each is accepted or refused by itself, unless the batch is `atomic`.

    With an `Idempotency-Key` of `K`, item 3 (counted from 0) has the key `K:3`: if the answer was lost, send the same batch
    again, or single items of it as posts of their own under those keys. Nothing is created twice.
    """
    path = f"/v1/workspaces/{encode('wsp', workspace_id)}/posts"
    sent = (await request.json())["items"]
    items = await idem.items(path, [one["post"] for one in sent])
    left = [position for position, item in enumerate(items) if item.answer is None and item.problem is None]
    wishes = [cast("PostCreate | Refused", body.items[position].post) for position in left]
    networks = request.app.state.networks
    made: dict[int, UUID | Problem] = {position: one.problem for position, one in enumerate(items) if one.problem is not None}
    created = await bulk.create_posts(db, actor, networks, workspace_id, wishes, now(), atomic=body.atomic)
    made |= dict(zip(left, created, strict=True))
    answers = await _answers(db, actor, workspace_id, items, made, path, request.app.state.settings.public_url)
    await idem.store_items(items)
    data = [{"client_ref": wish.client_ref, **answer} for wish, answer in zip(body.items, answers, strict=True)]
    succeeded = sum(1 for one in data if one["post"] is not None)
    fresh = [encode("pst", one) for one in created if not isinstance(one, Problem)]
    # One request, one entry, however many posts; a batch of which nothing was stored has none.
    entry = Entry("workspace", workspace_id, workspace_id, after={"post_ids": fresh}) if fresh else None
    return await idem.respond(orjson.dumps({"succeeded": succeeded, "failed": len(data) - succeeded, "data": data}), entry)


async def _answers(
    db: Bare, actor: Actor, workspace_id: UUID, items: list[Item], made: dict[int, UUID | Problem], path: str,
    public_url: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """Write what became of each item, and into the items what a request of its own would have answered."""
    ids = [one for one in made.values() if not isinstance(one, Problem)]
    rows = await bulk.posts_by_id(db, actor, workspace_id, ids) if ids else []
    posts = {row["id"]: post for row, post in zip(rows, await read_posts(db, actor, rows), strict=True)}
    answers = []
    for position, item in enumerate(items):
        one = made.get(position)
        if isinstance(one, Problem):
            answers.append({"status": one.status, "post": None, "problem": one.describe(public_url)})
            continue
        if one is not None:
            post = posts[one]
            headers = {"Content-Type": "application/json", "Location": f"{path}/{post['id']}", "ETag": f'"{post["version"]}"'}
            item.answer = (201, headers, orjson.dumps(post))
        assert item.answer is not None
        answers.append({"status": item.answer[0], "post": orjson.loads(item.answer[2]), "problem": None})
    return answers


@router.post(
    PATH + "/import", status_code=202, response_model=OperationRead, summary="Import a sheet of posts", openapi_extra=SHEET_BODY
)
async def import_posts(
    workspace_id: WorkspaceId, actor: Annotated[Actor, can_apart(Permission.POST_CREATE)], idem: IdemApart, request: Request,
    query: Annotated[ImportQuery, Query()],
) -> Response:  # fmt: skip
    """Take a CSV of up to ten thousand posts. The answer names an operation, whose `result` tells what became of each row.

    A file that cannot be read with certainty is refused at once. Cells are text: a formula is published as it stands.
    """
    state, id = request.app.state, new_id()
    async with state.database.connection(actor.tenant) as db:
        await queries.workspace_zone(db, actor, workspace_id)
    data = await _sheet(request)
    key = importing.storage_key(actor.agency_id, workspace_id, id)
    await state.store.put(key, data)
    written = False
    try:
        async with state.database.session(actor.tenant) as session:
            actor = await idem.begin(session, hashlib.sha256(data).digest())
            written = True  # from here on a failure may be a commit whose answer was lost, so the bytes must stay
            about = {"dry_run": query.dry_run}
            await operations.accept(raw(session), actor, workspace_id, id, importing.KIND, about, key, now())
            read = OperationRead.model_validate(await find(session, Operation, actor, id))
            entry = Entry("operation", id, workspace_id, after=pick("operation", read) | about)
            return await idem.respond_in(session, read, entry, status=202, location=operations.location(id))
    except BaseException:
        if not written:
            await state.store.discard(key)
        raise


async def _sheet(request: Request) -> bytes:
    """The bytes of a sheet that can be read."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia(code="unsupported_encoding")
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if kind.strip().lower() != "text/csv" or charset not in {"", "charset=utf-8", "header=present"}:
        raise UnsupportedMedia("The body must be text/csv in UTF-8.")
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > sheet.BYTES_MAX:
            raise TooLarge(f"A sheet may have {sheet.BYTES_MAX} bytes.", headers={"Connection": "close"})
    if not data:
        raise Malformed(code="body_required")
    await asyncio.to_thread(sheet.read, bytes(data))
    return bytes(data)
