"""The record of a write's answer, as statements look for it and write it: alone, or together with something else."""

from datetime import timedelta
from typing import NamedTuple

from core.errors import Conflict

LOCKED = "pg_try_advisory_xact_lock(hashtextextended($3, 7))"
"""Takes the key for the transaction. $3 is the agency with the key."""
LIVING = "r.agency_id = $1 and r.key = $2 and r.expires_at > now()"
LOOKED = "r.fingerprint, r.status, r.headers::text headers, r.body"
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
