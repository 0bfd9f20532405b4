"""The record of a write's answer, as statements write it: alone, or together with the effect."""

from datetime import timedelta
from typing import NamedTuple

from core.errors import Conflict

UNLESS_KEPT = """on conflict (agency_id, key) do update set fingerprint = excluded.fingerprint, expires_at = excluded.expires_at,
  status = excluded.status, headers = excluded.headers, body = excluded.body, created_at = now() where r.expires_at <= now()"""
"""A record that lives is never written over; see `check_written`."""


class Record(NamedTuple):
    """A key, what tells its request, and the answer: status, headers as JSON, body."""

    key: str
    fingerprint: bytes
    keep: timedelta
    status: int
    headers: str
    body: bytes


def check_written(written: int, count: int = 1) -> None:
    """Undo the work when another request with the same key has committed since this one looked.

    A statement looks at what was committed before it waited for its lock, so the lock alone does not tell: the record does.
    """
    if written != count:
        raise Conflict(code="idempotency_in_flight", headers={"Retry-After": "1"})
