"""Which duties there are and how urgent they are. What runs them stands in `workers.duties`, which the scheduler needs not."""

QUEUES: dict[str, str] = {
    "publish": "publish",
    "refresh_token": "default",
    "heartbeat": "default",
    "audit": "default",
    "mail": "default",
    "cleanup": "bulk",
    "operation": "bulk",
    "erase": "bulk",
    "findings": "bulk",
}
"""Kind of duty -> Dramatiq queue."""
SYSTEM_KINDS = ("heartbeat",)
"""Duties of the system itself: one row each, made by the scheduler."""
