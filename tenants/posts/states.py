"""How a Publication moves, as one pure function: (delivery, event, now) -> decision.

Nothing here reads a clock, a database or a network, so Hypothesis can walk it (tests/posts/test_states.py). The invariant:
for one publication at most one attempt is ever undecided, and a new one is armed only when every earlier one was proven
to be without effect.

docs/states.md draws it; reliability rests on these rules:
- what was armed and not answered is `outcome_unknown`, and only a look at the network or a person moves it on;
- an error is a failure only when the network proved that nothing was done;
- absence counts only after the network's settle time.
"""

from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

from tenants.posts.moves import (
    Accepted,
    Ambiguous,
    Armed,
    Cancelled,
    Claimed,
    Conflicting,
    Deleted,
    DeletionAsked,
    Event,
    Held,
    NotSent,
    Refused,
    Released,
    Resolved,
    RetryAsked,
    Scheduled,
    SeenAbsent,
    SeenNothing,
    SeenThere,
    StepDone,
)

PostState = Literal[
    "draft",
    "in_review",
    "changes_requested",
    "client_review",
    "approved",
    "scheduled",
    "rejected",
    "on_hold",
    "archived",
]
PublicationState = Literal[
    "planned",  # has account and time, its post is not scheduled yet: people move it on
    "scheduled",  # waits for its time: the scheduler moves it on
    "claimed",  # one worker owns it: that worker moves it on, or the end of its lease
    "preparing",  # repeatable steps are under way: as above
    "publishing",  # the one call is armed: its answer moves it on, or the end of the lease
    "outcome_unknown",  # the call may have worked: only `reconcile` or a person moves it on
    "needs_human",  # cannot be known: a person moves it on
    "retry_wait",  # proven not published, transient: the scheduler moves it on
    "blocked",  # `block_reason`: released in bulk when the cause is gone
    "missed",  # the lateness window passed: a person moves it on, or nobody
    "failed",  # permanent: a person may retry
    "published",  # external id known: deletion moves it on
    "unpublishing",  # a deletion is under way: the worker moves it on
    "removed",  # no longer on the network: final
    "cancelled",  # by people, before publishing: a new schedule moves it on
]
POST_STATES: tuple[str, ...] = get_args(PostState)
PUBLICATION_STATES: tuple[str, ...] = get_args(PublicationState)
IN_WORK = frozenset({"claimed", "preparing", "publishing"})
CANCELLABLE = frozenset({"planned", "scheduled", "retry_wait", "blocked", "missed"})
COMING = frozenset({"scheduled", "retry_wait", "blocked"})
"""What goes out by itself at its time, or once its account can."""
RETRIABLE = frozenset({"failed", "missed", "blocked", "retry_wait"})
SCHEDULABLE = frozenset({"planned", "scheduled", "cancelled", "missed", "failed", "blocked", "retry_wait"})
BUSY = IN_WORK | {"outcome_unknown", "unpublishing"}
"""While one is so, nothing of its post is changed."""
EDITABLE = frozenset({"planned", "scheduled", "retry_wait", "blocked", "missed", "failed", "cancelled"})

RETRY_FIRST = timedelta(seconds=5)
RETRY_LONGEST = timedelta(minutes=10)
RETRIES_MAX = 1_000
"""A far bound for loops, about a week of waits of ten minutes; the lateness window of the workspace is the near one."""
RATE_LIMIT_DEFAULT = timedelta(seconds=60)
RATE_LIMIT_LONGEST = timedelta(hours=24)
DELETIONS_MAX = 20
LOOKS = (timedelta(0), timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))
"""Delays between looks at the network after an unknown outcome; after the last inconclusive one a person is asked."""
STARTS_MAX = 20
"""A row begun this often without an end is poison: something about it ends workers."""

Proof = Literal["refused", "not_sent", "absent"]
Actor = Literal["client", "agency", "integrator", "network", "octavo"]


class Delivery(NamedTuple):
    """What the decisions are about: the moving columns of a Publication, by their names."""

    state: str
    due_at: datetime | None = None
    next_at: datetime | None = None
    attempts: int = 0
    retries: int = 0
    looks: int = 0
    unknown_since: datetime | None = None
    block_reason: str | None = None
    error: dict[str, Any] | None = None
    resolution: str | None = None
    external_id: str | None = None
    external_url: str | None = None
    published_at: datetime | None = None


class NotAllowed(Exception):
    """The event does not fit the state; nothing changes."""


class Decision(NamedTuple):
    """What is to be written. `duty` says when to come back: a time, or None for never."""

    delivery: Delivery
    duty: datetime | None = None
    attempt: Literal["armed", "unknown", "published", "refused", "not_sent", "absent"] | None = None
    evidence: str | None = None
    emits: tuple[str, ...] = ()
    account_lost: bool = False
    refresh_token: bool = False
    work: Literal["publish", "reconcile", "delete"] | None = None


def backoff(retries: int, spread: float) -> timedelta:
    """The wait before retry number `retries` (from 1): doubling from 5 s up to 10 min, plus up to a quarter of spread."""
    doubled: timedelta = RETRY_FIRST * 2 ** min(retries - 1, 10)
    return min(doubled, RETRY_LONGEST) * (1 + spread / 4)


def problem(code: str, detail: str, actor: Actor, *, retryable: bool, maybe: bool = False, **more: Any) -> dict[str, Any]:
    """Write an error as the API shows it: class, who must act, whether a retry helps, whether it may be published."""
    return {
        "class": code, "detail": detail, "actor": actor, "retryable": retryable, "published_possible": maybe, **more
    }  # fmt: skip


def _emit(state: str) -> tuple[str, ...]:
    return (f"publication.{state}",)


def _retry(row: Delivery, error: dict[str, Any], at: datetime, outcome: Proof | None) -> Decision:
    if row.retries >= RETRIES_MAX:
        return _end(row._replace(retries=row.retries + 1), "failed", error, outcome)
    waiting = row._replace(state="retry_wait", next_at=at, retries=row.retries + 1, error=error, block_reason=None)
    return Decision(_known(waiting), duty=at, attempt=outcome, emits=_emit("retry_wait"))


def _known(row: Delivery) -> Delivery:
    return row._replace(looks=0, unknown_since=None)


def _end(row: Delivery, state: str, error: dict[str, Any] | None, outcome: Any = None, **more: Any) -> Decision:
    ended = _known(row._replace(state=state, error=error, next_at=None, block_reason=None))
    return Decision(ended, attempt=outcome, emits=_emit(state), **more)


def _block(row: Delivery, reason: str, error: dict[str, Any] | None, outcome: Any = None, **more: Any) -> Decision:
    blocked = _known(row._replace(state="blocked", block_reason=reason, error=error, next_at=None))
    return Decision(blocked, attempt=outcome, emits=_emit("blocked"), **more)


def decide(row: Delivery, event: Event, now: datetime) -> Decision:
    """Say what `event` does to `row` at `now`. Raises NotAllowed when it does not fit the state."""
    handler = _HANDLERS[type(event)]
    decision: Decision = handler(row, event, now)
    return decision


def _need(row: Delivery, states: frozenset[str] | set[str]) -> None:
    if row.state not in states:
        raise NotAllowed(row.state)


def _scheduled(row: Delivery, event: Scheduled, _now: datetime) -> Decision:
    _need(row, SCHEDULABLE)
    fresh = row._replace(
        state="scheduled", due_at=event.at, next_at=None, retries=0, error=None, block_reason=None, resolution=None
    )
    return Decision(fresh, duty=event.at, emits=_emit("scheduled"))


def _cancelled(row: Delivery, _event: Cancelled, _now: datetime) -> Decision:
    _need(row, CANCELLABLE)
    return _end(row, "cancelled", None)


def _poison() -> dict[str, Any]:
    return problem("poison", "Workers ended again and again on this post.", "octavo", retryable=True)


def _claimed(row: Delivery, event: Claimed, now: datetime) -> Decision:
    if row.state == "publishing":
        error = problem("worker_lost", "The worker ended during the call.", "octavo", retryable=False, maybe=True)
        unknown = row._replace(state="outcome_unknown", error=error, unknown_since=now, looks=0, next_at=now)
        return Decision(unknown, duty=now, attempt="unknown", emits=_emit("outcome_unknown"), work="reconcile")
    if row.state == "outcome_unknown":
        if event.starts >= STARTS_MAX:
            return Decision(row._replace(state="needs_human", next_at=None), emits=_emit("needs_human"), evidence="poison")
        return Decision(row, duty=row.next_at or now, work="reconcile")
    if row.state == "unpublishing":
        if event.starts >= STARTS_MAX:
            return _not_deleted(row, _poison(), now, again=False)
        return Decision(row, duty=now, work="delete")
    if row.state not in {"scheduled", "retry_wait", "claimed", "preparing"}:
        return Decision(row)
    if event.starts >= STARTS_MAX:
        return _end(row, "failed", _poison())
    if event.hindrance is not None:
        return _block(row, event.hindrance, row.error)
    if row.due_at is not None and now - row.due_at > event.late_window and event.late_policy != "publish_late":
        detail = "Its time passed by more than the workspace allows; nothing was published."
        return _end(row, "missed", problem("missed", detail, "agency", retryable=event.late_policy == "ask"))
    return Decision(row._replace(state="claimed", next_at=None), duty=now, work="publish")


def _step_done(row: Delivery, _event: StepDone, now: datetime) -> Decision:
    _need(row, {"claimed", "preparing"})
    return Decision(row._replace(state="preparing"), duty=now)


def _armed(row: Delivery, _event: Armed, now: datetime) -> Decision:
    _need(row, {"claimed", "preparing"})
    return Decision(row._replace(state="publishing", attempts=row.attempts + 1, error=None), duty=now, attempt="armed")


def _accepted(row: Delivery, event: Accepted, now: datetime) -> Decision:
    _need(row, {"publishing"})
    done = row._replace(external_id=event.external_id, external_url=event.external_url, published_at=now)
    return _end(done, "published", None, "published", evidence="the network's answer")


def _refused(row: Delivery, event: Refused, now: datetime) -> Decision:
    if row.state == "unpublishing":
        until = event.until or now + RATE_LIMIT_DEFAULT
        decision = _not_deleted(row, event.error, until, event.kind in {"expired", "rate_limited"})
        return decision._replace(refresh_token=event.kind == "expired")
    _need(row, IN_WORK)
    outcome: Literal["refused"] | None = "refused" if row.state == "publishing" else None
    if event.kind == "rejected":
        return _end(row, "failed", event.error, outcome)
    if event.kind == "unauthorized":
        return _block(row, "auth", event.error, outcome, account_lost=True)
    if event.kind == "forbidden":
        return _block(row, "permission", event.error, outcome)
    again = now + backoff(row.retries + 1, event.spread)
    if event.kind == "expired":
        return _retry(row, event.error, again, outcome)._replace(refresh_token=True)
    until = event.until or max(again, now + RATE_LIMIT_DEFAULT)
    return _retry(row, event.error, min(max(until, now), now + RATE_LIMIT_LONGEST), outcome)


def _not_deleted(row: Delivery, error: dict[str, Any], at: datetime, again: bool) -> Decision:
    """A deletion may be repeated, so an unknown outcome is only a delay; a refusal leaves the post published."""
    if again and row.retries < DELETIONS_MAX:
        return Decision(row._replace(retries=row.retries + 1, next_at=at, error=error), duty=at)
    return Decision(row._replace(state="published", next_at=None, error=error), emits=_emit("not_removed"))


def _not_sent(row: Delivery, event: NotSent, now: datetime) -> Decision:
    if row.state == "unpublishing":
        return _not_deleted(row, event.error, now + backoff(row.retries + 1, event.spread), True)
    _need(row, IN_WORK)
    outcome: Literal["not_sent"] | None = "not_sent" if row.state == "publishing" else None
    return _retry(row, event.error, now + backoff(row.retries + 1, event.spread), outcome)


def _ambiguous(row: Delivery, event: Ambiguous, now: datetime) -> Decision:
    _need(row, {"publishing"})
    at = now + LOOKS[0]
    unknown = row._replace(state="outcome_unknown", error=event.error, unknown_since=now, looks=0, next_at=at)
    return Decision(unknown, duty=at, attempt="unknown", emits=_emit("outcome_unknown"))


def _seen_there(row: Delivery, event: SeenThere, now: datetime) -> Decision:
    _need(row, {"outcome_unknown"})
    done = row._replace(external_id=event.external_id, external_url=event.external_url, published_at=now, resolution="reconciled")
    return _end(done, "published", None, "published", evidence=event.evidence)


def _seen_absent(row: Delivery, event: SeenAbsent, now: datetime) -> Decision:
    _need(row, {"outcome_unknown"})
    settled_at = (row.unknown_since or event.looked_at) + event.settle
    if event.looked_at < settled_at:
        return Decision(row._replace(looks=row.looks + 1, next_at=settled_at), duty=settled_at)
    error = problem("not_published", "The network proves that the call had no effect.", "network", retryable=True)
    return _retry(row, error, now, "absent")._replace(evidence=event.evidence)


def _seen_nothing(row: Delivery, event: SeenNothing, now: datetime) -> Decision:
    _need(row, {"outcome_unknown"})
    looks = row.looks + 1
    if looks >= len(LOOKS):
        asked = row._replace(state="needs_human", looks=looks, next_at=None)
        return Decision(asked, emits=_emit("needs_human"), evidence=event.evidence)
    at = max(now + LOOKS[looks], event.retry_at or now)
    return Decision(row._replace(looks=looks, next_at=at), duty=at, refresh_token=event.expired)


def _resolved(row: Delivery, event: Resolved, now: datetime) -> Decision:
    _need(row, {"needs_human", "outcome_unknown"})
    if event.published:
        done = row._replace(external_url=event.external_url, published_at=now, resolution="person")
        return _end(done, "published", None, "published", evidence="a person looked")
    error = problem("not_published", "A person looked: it is not there.", "agency", retryable=True)
    return _end(row._replace(resolution="person"), "failed", error, "absent", evidence="a person looked")


def _retry_asked(row: Delivery, _event: RetryAsked, now: datetime) -> Decision:
    _need(row, RETRIABLE)
    return _scheduled(row, Scheduled(now), now)


def _released(row: Delivery, event: Released, now: datetime) -> Decision:
    if row.state == "retry_wait" and "token" in event.reasons and (row.error or {}).get("class") == "token_expired":
        return Decision(row._replace(next_at=now), duty=now)
    _need(row, {"blocked"})
    if row.block_reason not in event.reasons:
        raise NotAllowed(str(row.block_reason))
    at = max(row.due_at or now, now)
    return Decision(row._replace(state="scheduled", block_reason=None, error=None), duty=at, emits=_emit("scheduled"))


def _conflicting(row: Delivery, event: Conflicting, _now: datetime) -> Decision:
    """What the network answered belongs to another publication: nothing can be believed, so a person looks."""
    error = problem("conflicting_answer", event.detail, "octavo", retryable=False, maybe=True)
    asked = row._replace(state="needs_human", next_at=None, error=error)
    return Decision(asked, attempt="unknown" if row.state == "publishing" else None, emits=_emit("needs_human"))


def _held(row: Delivery, event: Held, _now: datetime) -> Decision:
    _need(row, {"scheduled", "retry_wait"})
    return _block(row, event.reason, row.error)


def _deletion_asked(row: Delivery, _event: DeletionAsked, now: datetime) -> Decision:
    _need(row, {"published"})
    if row.external_id is None:
        raise NotAllowed("published without a known id")
    return Decision(row._replace(state="unpublishing", next_at=now, retries=0), duty=now, emits=_emit("unpublishing"))


def _deleted(row: Delivery, _event: Deleted, _now: datetime) -> Decision:
    _need(row, {"unpublishing"})
    return _end(row, "removed", None)


_HANDLERS: dict[type, Any] = {
    Scheduled: _scheduled,
    Cancelled: _cancelled,
    Claimed: _claimed,
    StepDone: _step_done,
    Armed: _armed,
    Accepted: _accepted,
    Refused: _refused,
    NotSent: _not_sent,
    Ambiguous: _ambiguous,
    SeenThere: _seen_there,
    SeenAbsent: _seen_absent,
    SeenNothing: _seen_nothing,
    Resolved: _resolved,
    Conflicting: _conflicting,
    Held: _held,
    RetryAsked: _retry_asked,
    Released: _released,
    DeletionAsked: _deletion_asked,
    Deleted: _deleted,
}
