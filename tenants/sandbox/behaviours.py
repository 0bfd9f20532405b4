"""What the sandbox network's handles mean, and its limits: shared by its server, the demo and the documentation.

A handle is a behaviour, or a behaviour with a suffix after a dot or a dash (`always_ok-shop`), so that one behaviour
can have many accounts. Whoever knows a handle can open it, as with a demo account without a password; each opening is a
grant of its own, with its own counters and its own list, so two agencies that use one handle do not see each other.
"""

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

BEHAVIOURS: dict[str, str] = {
    "always_ok": "Accepts every post.",
    "slow": "Accepts after three seconds.",
    "rate_limited": "Refuses the first two calls with 429 and Retry-After, then accepts.",
    "token_expired": "Answers 401 token_expired until the token is refreshed.",
    "token_revoked": "Answers 401 token_revoked, and refuses to refresh.",
    "rejects_content": "Refuses every post for its content.",
    "down": "Answers 503 and says that nothing was done.",
    "ambiguous_published": "Accepts the post, then cuts the connection.",
    "ambiguous_absent": "Cuts the connection before accepting, at the first try of each post.",
    "late_visible": "Accepts and cuts the connection; its list shows the post 20 seconds later.",
    "duplicate_error": "Accepts the post, then answers that it has it already.",
    "blind": "Accepts and cuts the connection, and gives no right to read back.",
    "many": "Accepts every post; offers three profiles to choose from.",
}
SUBJECT_BEHAVIOUR = "always_ok"
"""What profiles do that were opened by an OAuth subject."""
CUTS_AFTER_ACCEPTING = frozenset({"ambiguous_published", "late_visible", "blind"})

TEXT_LENGTH_MAX = 500
MEDIA_COUNT_MAX = 4
MEDIA_BYTES_MAX = 5 * 1024 * 1024
MEDIA_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"})
MEDIA_KEPT_MAX = 100
"""Uploads that a profile remembers; the oldest are forgotten first."""
ALT_LENGTH_MAX = 2_000
MARKER_LENGTH_MAX = 200
MARKERS_KEPT_MAX = 100
"""First tries that an `ambiguous_absent` profile remembers."""
HANDLE_LENGTH_MAX = 64
SUBJECT_LENGTH_MAX = 200
MANY_TARGETS = 3
SUBJECT_TARGETS = 2
ACCESS_LIFE = timedelta(hours=1)
SLOW_S = 3.0
LATE_VISIBLE = timedelta(seconds=20)
RATE_LIMITED_CALLS = 2
RETRY_AFTER_S = 2
PAGE_SIZE_MAX = 100

_SUFFIX = re.compile(r"[-.][A-Za-z0-9._-]+")

VIEWS_LEAST, VIEWS_SPREAD = 200, 9_800
GROWTH_HOURS = 30.0
"""After this time a post has reached about two thirds of the views that it will ever get."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a post has earned by now."""

    views: int
    likes: int
    comments: int
    shares: int


def behaviour_of(handle: str) -> str | None:
    """Read the behaviour out of a handle; None for a handle that means nothing."""
    if len(handle) > HANDLE_LENGTH_MAX:
        return None
    name = re.split(r"[-.]", handle, maxsplit=1)[0]
    rest = handle[len(name) :]
    if name not in BEHAVIOURS or (rest and not _SUFFIX.fullmatch(rest)):
        return None
    return name


def targets_of_handle(handle: str, behaviour: str) -> list[str]:
    """List the profiles that a handle offers, by their ids."""
    if behaviour == "many":
        return [f"{handle}-{number}" for number in range(1, MANY_TARGETS + 1)]
    return [handle]


def targets_of_subject(subject: str) -> list[str]:
    """List the pages that an OAuth subject may choose from."""
    return [f"{subject}-page-{number}" for number in range(1, SUBJECT_TARGETS + 1)]


def figures(post_id: UUID, age: timedelta) -> Figures:
    """Say what a post has earned at this age. Pure: the id is the seed, and no figure ever falls."""
    seed = post_id.int & ((1 << 64) - 1)
    hours = max(age.total_seconds(), 0.0) / 3600
    reach = VIEWS_LEAST + seed % VIEWS_SPREAD
    views = int(reach * (1 - math.exp(-hours / GROWTH_HOURS)))
    per_mille = {name: (seed >> shift) & 0xFF for name, shift in (("likes", 16), ("comments", 24), ("shares", 32))}
    return Figures(
        views=views,
        likes=views * (20 + per_mille["likes"] // 4) // 1_000,
        comments=views * (2 + per_mille["comments"] // 24) // 1_000,
        shares=views * (1 + per_mille["shares"] // 32) // 1_000,
    )
