"""What can happen to a Publication: the events that `tenants.posts.states.decide` takes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Scheduled:
    """People gave it a time."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Cancelled:
    """People took it back before it was published."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A worker holds its duty. `starts` counts beginnings without an end; `hindrance` is why its account cannot publish."""

    late_policy: str
    late_window: timedelta
    starts: int = 1
    hindrance: str | None = None


@dataclass(frozen=True, slots=True)
class StepDone:
    """A prepare step stored its handles."""


@dataclass(frozen=True, slots=True)
class Armed:
    """The attempt is about to be committed."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The network answered with its id."""

    external_id: str
    external_url: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The network proved that nothing was done."""

    kind: Literal["rejected", "unauthorized", "expired", "forbidden", "rate_limited"]
    error: dict[str, Any]
    until: datetime | None = None
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class NotSent:
    """The request surely never left, or a step without public effect failed for a while."""

    error: dict[str, Any]
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """The call may have worked."""

    error: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SeenThere:
    """A look proved that the post is on the network."""

    external_id: str
    external_url: str | None
    evidence: str


@dataclass(frozen=True, slots=True)
class SeenAbsent:
    """A look that began at `looked_at` proved that the post is not there; it counts `settle` after the call ended."""

    evidence: str
    looked_at: datetime
    settle: timedelta


@dataclass(frozen=True, slots=True)
class SeenNothing:
    """A look proved nothing; `retry_at` is when the network wants to be asked again, `expired` that the token ran out."""

    evidence: str
    retry_at: datetime | None = None
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Resolved:
    """A person looked and says how it ended."""

    published: bool
    external_url: str | None = None


@dataclass(frozen=True, slots=True)
class Conflicting:
    """The answer cannot be recorded, because it contradicts what is known."""

    detail: str


@dataclass(frozen=True, slots=True)
class Held:
    """The account may not publish now."""

    reason: str


@dataclass(frozen=True, slots=True)
class RetryAsked:
    """A person wants another try of what is proven not published."""


@dataclass(frozen=True, slots=True)
class Released:
    """The cause of a block is gone."""

    reasons: frozenset[str]


@dataclass(frozen=True, slots=True)
class DeletionAsked:
    """A person wants the published post taken away."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """The network has it no more."""


Event = (
    Scheduled | Cancelled | Claimed | StepDone | Armed | Accepted | Refused | NotSent | Ambiguous | SeenThere
    | SeenAbsent | SeenNothing | Resolved | Conflicting | Held | RetryAsked | Released | DeletionAsked | Deleted
)  # fmt: skip
