"""Events: what happened, in the order of commits."""

from typing import Annotated, Any

import orjson
from fastapi import Query
from pydantic import Field

from api.dependencies import Bare, can_bare
from api.routing import v1
from core.wire import EventId, Input, Instant, Output, QueryNumber, WorkspaceId, encode_known
from tenants.events.service import list_events as read_events
from tenants.permissions import Actor, Permission

router = v1("Events")
LIMIT_MAX = 100


class EventQuery(Input):
    """From where, and of which type."""

    after: EventId | None = Field(None, description="The last event that you have; nothing: from the beginning.")
    type: str | None = Field(None, max_length=64, examples=["publication.published"])
    limit: QueryNumber = Field(25, ge=1, le=LIMIT_MAX)


class EventRead(Output):
    """One event."""

    id: EventId
    workspace_id: WorkspaceId
    type: str = Field(examples=["publication.published"])
    subject: str = Field(description="The id of what it is about.")
    data: dict[str, Any]
    created_at: Instant


class EventList(Output):
    """Events after the one asked for. Empty: nothing new yet."""

    data: list[EventRead]


@router.get("/events", response_model=EventList, summary="Read events")
async def list_events(
    db: Bare, actor: Annotated[Actor, can_bare(Permission.EVENT_READ)], query: Annotated[EventQuery, Query()]
) -> EventList:
    """What happened after the event `after`, in order and without gaps: poll it with the last id that you have."""
    rows = await read_events(db, actor, after=query.after, type=query.type, limit=query.limit)
    return EventList(
        data=[
            EventRead(
                id=row["id"],
                workspace_id=row["workspace_id"],
                type=row["type"],
                subject=encode_known(row["type"].partition(".")[0], row["subject_id"]),
                data=orjson.loads(row["data"]),
                created_at=row["created_at"],
            )
            for row in rows
        ]
    )
