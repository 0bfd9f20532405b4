"""What the agency's members granted applications, and tokens for pages."""

from typing import Annotated, Any

from fastapi import Query, Request, Response

from api.dependencies import DB, Idem, can
from api.pagination import Page, PageQuery, page_of, read_cursor
from api.routing import v1
from core.clock import now
from core.ids import encode
from core.wire import GrantId
from tenants.applications import grants
from tenants.applications.models import Grant
from tenants.applications.schemas import EmbedTokenCreate, EmbedTokenCreated, GrantRead
from tenants.audit.entries import Entry, pick
from tenants.owned import find
from tenants.permissions import Actor, Permission

router = v1("Applications")


def _read(row: Grant) -> dict[str, Any]:
    return row.model_dump() | {"application": {"id": row.application_id, "name": row.application_name}}


@router.get("/grants", response_model=Page[GrantRead], summary="List grants")
async def list_grants(
    db: DB, actor: Annotated[Actor, can(Permission.APPLICATION_READ)], request: Request, response: Response,
    query: Annotated[PageQuery, Query()],
) -> dict[str, Any]:  # fmt: skip
    """What members of the agency allowed applications, its own and others', newest first, ended ones included for a month."""
    rows = await grants.list_grants(db, actor, after=read_cursor(request, actor, query), limit=query.limit + 1)
    return page_of(request, response, actor, query, [_read(row) for row in rows], [row.id for row in rows])


@router.get("/grants/{grant_id}", response_model=GrantRead, summary="Get a grant")
async def get_grant(grant_id: GrantId, db: DB, actor: Annotated[Actor, can(Permission.APPLICATION_READ)]) -> dict[str, Any]:
    """One grant."""
    return _read(await find(db, Grant, actor, grant_id))


@router.delete("/grants/{grant_id}", status_code=204, summary="Revoke a grant")
async def revoke_grant(
    grant_id: GrantId, db: DB, actor: Annotated[Actor, can(Permission.APPLICATION_MANAGE)], idem: Idem
) -> Response:  # fmt: skip
    """End a grant. Every token that came of it is refused from this answer on."""
    before = pick("grant", await find(db, Grant, actor, grant_id))
    row = await grants.revoke_grant(db, actor, grant_id, now())
    return await idem.respond(None, Entry("grant", grant_id, None, before, pick("grant", row)), status=204)


@router.post("/embed-tokens", responses={404: {}}, status_code=201, response_model=EmbedTokenCreated, summary="Make an embed token")
async def create_embed_token(
    db: DB, actor: Annotated[Actor, can(Permission.EMBED_CREATE)], idem: Idem, body: EmbedTokenCreate, request: Request
) -> Response:  # fmt: skip
    """Make a token for a page: it reads in one workspace for some minutes. It can hold no more than its maker, ends with it, and
    its requests count as its maker's."""
    row, text = await grants.create_embed_token(db, actor, body, request.app.state.house.secret, now())
    read = EmbedTokenCreated.model_validate(row.model_dump() | {"workspace_id": body.workspace_id, "token": text})
    entry = Entry("embed_token", row.id, body.workspace_id, after=pick("embed_token", row))
    return await idem.respond_secret(
        read, entry, status=201, location=f"/v1/embed-tokens/{encode('emb', row.id)}", shown_once="token"
    )
