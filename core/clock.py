"""The only clock of the project: everything that asks for the time asks here."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Return the present instant in UTC."""
    return datetime.now(UTC)


def seconds() -> float:
    """Return the same as seconds since the epoch, for counters that are asked at every request."""
    return time.time()
