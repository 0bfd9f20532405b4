"""Wire shapes of operations."""

from typing import Any

from pydantic import Field

from core.wire import Instant, OperationId, Output, WorkspaceId


class OperationRead(Output):
    """Long work that was accepted. Ask again until its state is one of the last three."""

    id: OperationId
    workspace_id: WorkspaceId | None = Field(description="Id of the workspace; null: it is of the whole agency.")
    kind: str = Field(examples=["posts_import"], description="May grow.")
    state: str = Field(examples=["running"], description="queued, running, succeeded, failed or canceled; may grow.")
    progress: int = Field(ge=0, le=100, description="How far it is, in percent.")
    result: dict[str, Any] | None = Field(description="What it brought, as its kind describes; it fills while it runs.")
    problem: dict[str, Any] | None = Field(description="Why it failed, as an error of this API.")
    created_at: Instant
    expires_at: Instant = Field(description="It is forgotten then.")
