"""When a token is renewed and what may be done with one whose renewal got no answer: pure decisions.

What happened to others: one rotating token refreshed by two at once, or far too often, ends the whole family of tokens; a
rotation whose answer was lost leaves a token that nobody knows to be alive or dead.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from networks.base import Capabilities, Credentials

KIND = "refresh_token"
"""Kind of the duty; its subject is the connection."""
REFRESH_AT = 0.8
"""Share of its life after which a token is renewed."""
REFRESH_SPREAD = 0.05
"""Plus or minus this share of its life, so that accounts connected together are not renewed together."""
REFRESH_INTERVAL_MIN = timedelta(minutes=10)
"""No token is renewed sooner than this after the last time, unless the network says that it ran out."""
RETRY_FIRST = timedelta(seconds=15)
RETRY_LONGEST = timedelta(minutes=15)
REPEATABLE = frozenset({"refresh_stable", "sliding"})
"""Kinds of token whose renewal may be repeated: the old one stays good."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a connection when its refresh is due."""

    state: str
    issued_at: datetime
    expires_at: datetime | None
    presented_digest: bytes | None = None
    presented_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do: `gone` and `idle` end the duty, `wait` and `keep` come back at `at`, `lose`, or `present` (again)."""

    kind: Literal["gone", "idle", "wait", "keep", "lose", "present"]
    at: datetime | None = None
    again: bool = False


def digest(credentials: Credentials) -> bytes:
    """Digest what a refresh presents: the refresh token, or everything where a network has none."""
    values = credentials.values
    presented = values.get("refresh_token") or "\0".join(f"{name}={values[name]}" for name in sorted(values))
    return hashlib.sha256(presented.encode()).digest()


def digest_again(first: bytes) -> bytes:
    """The mark of the one retry: it differs from the first, so that no crash brings a third."""
    return hashlib.sha256(b"again" + first).digest()


def due_at(issued_at: datetime, expires_at: datetime, spread: float) -> datetime:
    """When to renew; `spread` is between -1 and 1."""
    life = expires_at - issued_at
    return max(issued_at + life * (REFRESH_AT + REFRESH_SPREAD * spread), issued_at + REFRESH_INTERVAL_MIN)


def judge(standing: Standing, mark: bytes, facts: Capabilities, now: datetime) -> Verdict:
    """Say what to do with a refresh that is due. `mark` is the digest of what would be presented."""
    if standing.state != "active":
        return Verdict("gone")
    if facts.token == "static":  # the name of a kind
        return _without_hope(standing, now)
    if standing.presented_digest is not None and facts.token not in REPEATABLE:
        fresh = standing.presented_at is not None and now < standing.presented_at + facts.refresh_grace
        if fresh and standing.presented_digest != digest_again(mark):
            return Verdict("present", again=True)
        return _without_hope(standing, now)
    if standing.expires_at is None:
        return Verdict("idle")
    if now < standing.expires_at and now < due_at(standing.issued_at, standing.expires_at, -1.0):
        return Verdict("wait", due_at(standing.issued_at, standing.expires_at, 0.0))
    return Verdict("present")


def _without_hope(standing: Standing, now: datetime) -> Verdict:
    """It cannot be renewed: use the access token until its end, which is known or told by an Expired answer."""
    if standing.expires_at is None:
        return Verdict("idle")
    if standing.expires_at <= now:
        return Verdict("lose")
    return Verdict("keep", standing.expires_at)


def backoff(claims: int, spread: float) -> timedelta:
    """The wait after try number `claims` (from 1): doubling, bounded, plus up to a quarter of spread."""
    doubled: timedelta = RETRY_FIRST * (1 << min(max(claims, 1) - 1, 10))
    return min(doubled, RETRY_LONGEST) * (1 + spread / 4)


def merged(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Lay a network's answer over what is stored: an empty value never overwrites one that is there."""
    return {**old, **{name: value for name, value in new.items() if value or not old.get(name)}}
