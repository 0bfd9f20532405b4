"""What a workspace that is closed does not take. Apart from the models, for who publishes."""

from datetime import datetime

from core.errors import Conflict


def require_open(closed_at: datetime | None) -> None:
    """Refuse what would begin something in a workspace that is closed. Raises Conflict."""
    if closed_at is not None:
        raise Conflict("The workspace is closed.")
