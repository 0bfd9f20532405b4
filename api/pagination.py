"""Keyset pages: opaque cursors, signed and bound to the agency, the route and its filters."""

import base64
import binascii
from typing import Any, Generic, TypeVar
from uuid import UUID

from fastapi import Request, Response
from pydantic import Field

from core.crypto import same, sign
from core.errors import Malformed
from core.wire import Input, Output, QueryNumber
from tenants.permissions import Actor

LIMIT_MAX = 100
LIMIT_DEFAULT = 25
TAG_BYTES = 16
CURSOR_LENGTH_MAX = 200
CURSOR = r"^[A-Za-z0-9_-]*$"
"""URL-safe base64 without padding."""
Item = TypeVar("Item")


class Page(Output, Generic[Item]):
    """One page of a list."""

    data: list[Item] = Field(max_length=LIMIT_MAX)
    next_cursor: str | None = Field(
        max_length=CURSOR_LENGTH_MAX,
        pattern=CURSOR,
        description="Give it as `cursor` to get what follows; null at the end.",
        examples=["AZIuq3Vqf6qEcVSAPPbKBDr5EMfnKkY2l0sBq4dNcVo"],
    )

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name the list of `PostRead` `PostList`: generated clients show it."""
        return str(params[0].__name__).removesuffix("Read") + "List"


class PageQuery(Input):
    """Paging; filters of a list inherit from it."""

    limit: QueryNumber = Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MAX)
    cursor: str | None = Field(None, max_length=CURSOR_LENGTH_MAX, examples=["AZIuq3Vqf6qEcVSAPPbKBDr5EMfnKkY2l0sBq4dNcVo"])


def _tag(request: Request, actor: Actor, query: PageQuery, key: bytes) -> bytes:
    filters = query.model_dump_json(exclude={"limit", "cursor"})
    message = f"{actor.agency_id}\n{request.url.path}\n{filters}\n".encode() + key
    return sign(request.app.state.house.secret, "cursor", message)[:TAG_BYTES]


def read_cursor(request: Request, actor: Actor, query: PageQuery) -> UUID | None:
    """The id after which the page begins. Raises Malformed for a cursor of another list, caller or filter."""
    if query.cursor is None:
        return None
    try:
        blob = base64.urlsafe_b64decode(query.cursor + "=" * (-len(query.cursor) % 4))
    except (binascii.Error, ValueError) as error:
        raise Malformed(code="invalid_cursor") from error
    key, tag = blob[:-TAG_BYTES], blob[-TAG_BYTES:]
    if len(key) != 16 or not same(tag, _tag(request, actor, query, key)):
        raise Malformed(code="invalid_cursor")
    return UUID(bytes=key)


def write_cursor(request: Request, actor: Actor, query: PageQuery, last: UUID) -> str:
    """The cursor of the page that follows `last`."""
    return base64.urlsafe_b64encode(last.bytes + _tag(request, actor, query, last.bytes)).decode().rstrip("=")


def page_of(
    request: Request, response: Response, actor: Actor, query: PageQuery, rows: list[Any], ids: list[UUID]
) -> dict[str, Any]:
    """Cut `limit` + 1 rows to a page and write its cursor, also as `Link: rel="next"`."""
    cursor = write_cursor(request, actor, query, ids[query.limit - 1]) if len(rows) > query.limit else None
    if cursor is not None:
        base = request.app.state.settings.public_url.rstrip("/")
        url = f"{base}{request.url.path}?{request.url.include_query_params(cursor=cursor).query}"
        response.headers["Link"] = f'<{url}>; rel="next"'
    return {"data": rows[: query.limit], "next_cursor": cursor}
