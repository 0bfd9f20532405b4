"""What the events of operations carry."""

from pydantic import Field

from core.wire import Output


class OperationEvent(Output):
    """How long work ended."""

    kind: str = Field(description="Which work it was. The set is open.", examples=["posts_import"])
    state: str = Field(description="How it ended. The set is open.", examples=["succeeded"])
    succeeded: int = Field(0, description="How many of its parts succeeded.", examples=[97])
    failed: int = Field(0, description="How many of its parts failed.", examples=[3])


EVENTS: dict[str, tuple[type[Output], str]] = {
    "operation.completed": (OperationEvent, "Long work ended: read the operation for what it brought."),
}
"""Type -> the shape of its `data`, and what it tells. A test holds it against every event that is emitted."""
