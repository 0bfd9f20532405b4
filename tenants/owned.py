"""Queries of SQLModel for what is the caller's: each begins here. Bare statements begin with `permissions.owned_sql`."""

from typing import TypeVar
from uuid import UUID

from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from core.errors import Missing
from tenants.permissions import Actor

Model = TypeVar("Model", bound=SQLModel)


def owned(model: type[Model], actor: Actor) -> SelectOfScalar[Model]:
    """Begin every query of tenant data: the agency's rows, within the caller's workspaces."""
    query = select(model).where(model.agency_id == actor.agency_id)  # type: ignore[attr-defined]  # every tenant table has it
    if actor.workspace_ids is None:
        return query
    allowed = list(actor.workspace_ids)
    bound = getattr(model, "workspace_ids", None)
    if bound is not None:
        return query.where(col(bound).op("<@")(allowed))  # the keys that reach no further than the caller
    column = model.id if model.__tablename__ == "workspaces" else getattr(model, "workspace_id", None)  # type: ignore[attr-defined]  # as above
    return query if column is None else query.where(col(column).in_(allowed))


async def find(
    session: AsyncSession, model: type[Model], actor: Actor, id: UUID, *, workspace_id: UUID | None = None,
    lock: bool = False,
) -> Model:  # fmt: skip
    """Get one row of the caller's. Raises Missing for what is not there and for what is not theirs, alike."""
    query = owned(model, actor).where(model.id == id)  # type: ignore[attr-defined]  # every table that is looked up has an id
    if workspace_id is not None:
        query = query.where(model.workspace_id == workspace_id)  # type: ignore[attr-defined]  # asked for workspace tables only
    row = (await session.exec(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise Missing
    return row
