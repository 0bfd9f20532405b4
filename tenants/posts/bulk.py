"""Posts in bulk: up to a hundred in one request, each accepted or refused by itself, or all or none."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from pydantic import Field, StringConstraints, ValidatorFunctionWrapHandler, WrapValidator

from core.errors import Conflict, Problem
from core.filters import Filter
from core.wire import Input, Output
from networks.base import Network
from tenants.permissions import Actor
from tenants.posts import queries
from tenants.posts.schemas import PostCreate, PostRead
from tenants.posts.sheet import CLIENT_REF_LENGTH_MAX
from tenants.posts.wishes import Refused, create_wished, read_wish

ITEMS_MAX = 100
ClientRef = Annotated[str, StringConstraints(max_length=CLIENT_REF_LENGTH_MAX)]


def _by_itself(value: Any, _handler: ValidatorFunctionWrapHandler) -> PostCreate | Refused:
    return read_wish(value)


class BulkItem(Input):
    """One post of a batch."""

    client_ref: ClientRef | None = Field(None, description="Your own name for the item; it comes back.", examples=["row-7"])
    post: Annotated[PostCreate, WrapValidator(_by_itself)] = Field(description="The post, as creating one takes it.")


class BulkCreate(Input):
    """Posts to create together."""

    items: list[BulkItem] = Field(min_length=1, max_length=ITEMS_MAX)
    atomic: bool = Field(False, description="True: all or none.")


class ItemProblem(Output):
    """Why one item was refused: what a request of its own would have answered."""

    type: str = Field(description="The address of the code's page.", examples=["https://octavo.example/errors/post_invalid"])
    title: str
    status: int = Field(examples=[422])
    detail: str
    code: str
    errors: list[dict[str, str]] = Field(examples=[[{"pointer": "/text", "code": "text_too_long", "detail": "Too long."}]])


class BulkResult(Output):
    """What became of one item, in the order of the request."""

    client_ref: str | None = Field(description="Your own name for the item.", examples=["row-7"])
    status: int = Field(description="What a request of its own would have answered.", examples=[201])
    post: PostRead | None = Field(description="The post, if it was stored.")
    problem: ItemProblem | None = Field(description="Why it was not.")


class BulkRead(Output):
    """What became of a batch. It is 200 whenever the batch was understood: look at each item."""

    succeeded: int = Field(ge=0, examples=[97])
    failed: int = Field(ge=0, examples=[3])
    data: list[BulkResult] = Field(max_length=ITEMS_MAX)


async def create_posts(
    db: asyncpg.Connection, actor: Actor, networks: Mapping[str, Network], workspace_id: UUID,
    wishes: Sequence[PostCreate | Refused], now: datetime, *, atomic: bool,
) -> list[UUID | Problem]:  # fmt: skip
    """Create posts, each by itself; `atomic` undoes all when one is refused. Raises Missing for a foreign workspace."""
    await queries.workspace_zone(db, actor, workspace_id)
    await db.execute("savepoint bulk")
    made = [await create_wished(db, actor, networks, workspace_id, wish, now) for wish in wishes]
    if atomic and any(isinstance(one, Problem) for one in made):
        await db.execute("rollback to savepoint bulk")
        made = [one if isinstance(one, Problem) else Conflict(code="bulk_rolled_back") for one in made]
    await db.execute("release savepoint bulk")
    return made


async def posts_by_id(db: asyncpg.Connection, actor: Actor, workspace_id: UUID, ids: Sequence[UUID]) -> list[asyncpg.Record]:
    """The rows of posts that were just created."""
    wanted = Filter(actor.agency_id, workspace_id)
    wanted.add("p.id = any(?::uuid[])", list(ids))
    return await queries.list_posts(db, actor, workspace_id, wanted, len(ids))
