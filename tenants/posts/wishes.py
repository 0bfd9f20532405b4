"""Posts that come many at a time: one that is wrong is refused by itself, and the others go on."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from pydantic import ValidationError

from core.errors import Fault, InvalidInput, Problem, deepest, token
from networks.base import Network
from tenants.permissions import Actor, Permission
from tenants.posts import service
from tenants.posts.schemas import PostCreate, Schedule

Result = TypeVar("Result")
UNIONS = frozenset({Schedule.__name__, "literal['now']"})
"""What pydantic puts into a place to name a branch of a union: it is no field."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A post whose input breaks the rules of the schema."""

    problem: InvalidInput


def refusal_of(error: ValidationError) -> InvalidInput:
    """Say what is wrong with one post, without what was sent."""
    faults: dict[str, Fault] = {}
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        pointer = "".join(f"/{token(part)}" for part in one["loc"] if part not in UNIONS)
        unknown = one["type"] == "extra_forbidden"
        detail = "It does not exist" if unknown else one["msg"].removeprefix("Value error, ")
        code = "unknown_field" if unknown else "validation_failed"
        faults.setdefault(pointer, Fault(pointer, code, f"{detail[:1].upper()}{detail[1:]}."))
    found = deepest(list(faults.values()))
    return InvalidInput(f"{len(found)} field(s) are invalid.", faults=found)


def read_wish(value: Any) -> PostCreate | Refused:
    """Read one post, or say why it is none."""
    try:
        return PostCreate.model_validate(value)
    except ValidationError as error:
        return Refused(refusal_of(error))


async def in_savepoint(db: asyncpg.Connection, work: Callable[[], Awaitable[Result]]) -> Result:
    """Do `work` so that a refusal undoes it alone. The transaction goes on."""
    await db.execute("savepoint wish")
    try:
        result = await work()
    except Problem:
        await db.execute("rollback to savepoint wish")
        raise
    await db.execute("release savepoint wish")
    return result


async def create_wished(
    db: asyncpg.Connection, actor: Actor, networks: Mapping[str, Network], workspace_id: UUID, wish: PostCreate | Refused,
    now: datetime,
) -> UUID | Problem:  # fmt: skip
    """Create one post of many, or say why not: what a request of its own would have answered."""
    if isinstance(wish, Refused):
        return wish.problem
    try:
        if wish.schedule is not None:
            actor.require(Permission.POST_SCHEDULE)
        return (await in_savepoint(db, lambda: service.create_post(db, actor, networks, workspace_id, wish, now))).id
    except Problem as problem:
        return problem
