"""The agency's API keys."""

from typing import Annotated, Any

from fastapi import Query, Request, Response

from api.dependencies import DB, Idem, can
from api.pagination import Page, PageQuery, page_of, read_cursor
from api.routing import v1
from core.clock import now
from core.ids import encode
from core.wire import KeyId
from tenants.agencies.keys import create_key, list_keys, revoke_key
from tenants.agencies.models import ApiKey
from tenants.agencies.schemas import KeyCreate, KeyCreated, KeyRead
from tenants.audit.entries import Entry, pick
from tenants.owned import find
from tenants.permissions import Actor, Permission

router = v1("Agency")


@router.post("/api-keys", status_code=201, response_model=KeyCreated, summary="Create an API key")
async def create_api_key(db: DB, actor: Annotated[Actor, can(Permission.KEY_MANAGE)], idem: Idem, body: KeyCreate) -> Response:
    """Create a key. Its text is in this answer and nowhere else. It cannot hold a scope or workspace that its maker lacks."""
    row, text = await create_key(db, actor, body, now())
    read = KeyCreated.model_validate(row.model_dump() | {"key": text})
    entry = Entry("key", row.id, None, after=pick("key", row))
    return await idem.respond_secret(read, entry, status=201, location=f"/v1/api-keys/{read.model_dump(mode='json')['id']}")


@router.get("/api-keys", response_model=Page[KeyRead], summary="List API keys")
async def list_api_keys(
    db: DB, actor: Annotated[Actor, can(Permission.KEY_READ)], request: Request, response: Response,
    query: Annotated[PageQuery, Query()],
) -> dict[str, Any]:  # fmt: skip
    """The agency's keys, newest first, revoked ones included."""
    rows = await list_keys(db, actor, after=read_cursor(request, actor, query), limit=query.limit + 1)
    return page_of(request, response, actor, query, rows, [row.id for row in rows])


@router.get("/api-keys/{key_id}", response_model=KeyRead, summary="Get an API key")
async def get_api_key(key_id: KeyId, db: DB, actor: Annotated[Actor, can(Permission.KEY_READ)]) -> ApiKey:
    """One key, without its text."""
    return await find(db, ApiKey, actor, key_id)


@router.delete("/api-keys/{key_id}", status_code=204, summary="Revoke an API key")
async def revoke_api_key(key_id: KeyId, db: DB, actor: Annotated[Actor, can(Permission.KEY_MANAGE)], idem: Idem) -> Response:
    """End a key at once, and with it every key that it made."""
    before = pick("key", await find(db, ApiKey, actor, key_id))
    row, *others = await revoke_key(db, actor, key_id, now())
    after = pick("key", row)
    if others:
        after["ended_key_ids"] = [encode("key", one.id) for one in others]
    return await idem.respond(None, Entry("key", key_id, None, before, after), status=204)
