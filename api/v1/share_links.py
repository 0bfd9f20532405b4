"""Links for people without an account: made, listed and ended by the agency's own people; and opened by whoever holds one.

Here a token travels in a body and never in an address, so no log, history or referrer of anybody's has it. Opening is a POST also
because programs that look at every link of a mail send none, and so spend no opening. The page is `api/pages/people/shared.py`.
"""

from typing import Annotated, Any

from fastapi import Query, Request, Response

from api import sharing
from api.dependencies import DB, Idem, can
from api.pagination import Page, PageQuery, page_of, read_cursor
from api.routing import v1
from core.clock import now
from core.wire import ShareLinkId, WorkspaceId, encode_known
from tenants.audit.entries import Entry, pick
from tenants.permissions import Actor, Permission
from tenants.sharing import service
from tenants.sharing.models import ShareLink
from tenants.sharing.schemas import LinkMedia, LinkOpen, Shared, ShareLinkCreate, ShareLinkCreated, ShareLinkRead
from tenants.sharing.tokens import link_address

router = v1("Share links")
PATH = "/workspaces/{workspace_id}/share-links"
FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The bytes",
        "content": {
            kind: {"schema": {"type": "string", "contentMediaType": kind}}
            for kind in ("image/jpeg", "image/png", "image/webp", "image/gif")
        },
    },
    404: {"description": "It is not there, or its link is dead"},
}
DEAD: dict[int | str, dict[str, Any]] = {404: {"description": "The link is dead, or never was"}}


@router.post(PATH, status_code=201, response_model=ShareLinkCreated, summary="Create a share link")
async def create_share_link(
    workspace_id: WorkspaceId, db: DB, actor: Annotated[Actor, can(Permission.LINK_MANAGE)], idem: Idem, body: ShareLinkCreate,
    request: Request,
) -> Response:  # fmt: skip
    """Make a link that shows one post to whoever holds it: by its page, or by its token. Both are in this answer and nowhere else.

    It ends with its time, with its last opening, when it is revoked, with the key that made it, when its maker
    may make none any more in that workspace, and with the grant by which an application made it.
    """
    row, token = await service.create_link(db, actor, workspace_id, body, now())
    url = link_address(request.app.state.settings.public_url, token)
    read = ShareLinkCreated.model_validate(row.model_dump() | {"token": token, "url": url})
    entry = Entry("share_link", row.id, workspace_id, after=pick("share_link", row))
    location = f"/v1/workspaces/{encode_known('workspace', workspace_id)}/share-links/{encode_known('share_link', row.id)}"
    return await idem.respond_secret(read, entry, status=201, location=location, shown_once=("token", "url"))


@router.get(PATH, response_model=Page[ShareLinkRead], summary="List share links")
async def list_share_links(
    workspace_id: WorkspaceId, db: DB, actor: Annotated[Actor, can(Permission.LINK_READ)], request: Request,
    response: Response, query: Annotated[PageQuery, Query()],
) -> dict[str, Any]:  # fmt: skip
    """The links of a workspace with their counts, newest first, ended ones included."""
    after = read_cursor(request, actor, query)
    rows = await service.list_links(db, actor, workspace_id, after=after, limit=query.limit + 1)
    return page_of(request, response, actor, query, rows, [row.id for row in rows])


@router.get(PATH + "/{share_link_id}", response_model=ShareLinkRead, summary="Get a share link")
async def get_share_link(
    workspace_id: WorkspaceId, share_link_id: ShareLinkId, db: DB, actor: Annotated[Actor, can(Permission.LINK_READ)]
) -> ShareLink:  # fmt: skip
    """One link, without its token."""
    return await service.get_link(db, actor, workspace_id, share_link_id)


@router.delete(PATH + "/{share_link_id}", status_code=204, summary="Revoke a share link")
async def revoke_share_link(
    workspace_id: WorkspaceId, share_link_id: ShareLinkId, db: DB, actor: Annotated[Actor, can(Permission.LINK_MANAGE)],
    idem: Idem,
) -> Response:  # fmt: skip
    """End a link. It holds from this answer on."""
    row = await service.get_link(db, actor, workspace_id, share_link_id, lock=True)
    before = pick("share_link", row)
    await service.revoke_link(db, row, now())
    return await idem.respond(None, Entry("share_link", row.id, workspace_id, before, pick("share_link", row)), status=204)


@router.post("/shared", response_model=Shared, responses=DEAD, summary="Open a share link")
async def open_shared(request: Request, response: Response, body: LinkOpen) -> Shared:
    """Show what a link is for, to whoever holds it, without a key. Each call counts as an opening.

    A link that is dead, for whatever reason, and one that never was are answered alike.
    """
    presented = sharing.present(request, body.token.get_secret_value())
    response.headers.update(sharing.UNLISTED)
    return (await sharing.ask(request, presented, service.open_link)).shared


@router.post("/shared/media", response_class=Response, responses=FILE, summary="Download a file of a share link")
async def open_shared_media(request: Request, body: LinkMedia) -> Response:
    """The bytes of a file that the link's post carries, once the link was opened, and until it ends."""
    presented = sharing.present(request, body.token.get_secret_value())
    return await sharing.send_file(request, presented, body.asset_version_id, "attachment")
