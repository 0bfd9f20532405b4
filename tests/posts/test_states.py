"""The publishing protocol as a state machine against a world that keeps its own ledger."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tenants.posts import states
from tenants.posts.states import Decision, Delivery, NotAllowed, decide, problem, rollup

START = datetime(2026, 12, 1, 9, tzinfo=UTC)
SETTLE = timedelta(seconds=30)
ERROR = problem("x", "x", "network", retryable=True)
WINDOW = timedelta(hours=6)


class World(RuleBasedStateMachine):
    """One publication, one network, any number of crashes, lost answers, looks, and people."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.row = Delivery("planned")
        self.undecided = 0
        self.ledger = 0
        self.in_the_air: str | None = None
        self.armed_at = START

    def apply(self, event: states.Event) -> Decision | None:
        try:
            decision = decide(self.row, event, self.now)
        except NotAllowed:
            return None
        self.row = decision.delivery
        if decision.attempt == "armed":
            assert self.undecided == 0, "a second attempt was armed while one is undecided"
            self.undecided = 1
        elif decision.attempt not in {None, "unknown"}:
            assert self.undecided == 1
            self.undecided = 0
        return decision

    @initialize()
    def scheduled(self) -> None:
        self.apply(states.Scheduled(START))

    @rule(seconds=st.integers(1, 4000))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(
        policy=st.sampled_from(["publish_late", "skip", "ask"]),
        starts=st.integers(1, 25),
        hindrance=st.sampled_from([None, "paused", "auth"]),
    )
    def a_worker_claims(self, policy: str, starts: int, hindrance: str | None) -> None:
        decision = self.apply(states.Claimed(policy, WINDOW, starts, hindrance))
        if self.in_the_air is not None and self.row.state == "outcome_unknown":
            self.in_the_air = None
        if decision is not None and decision.work == "reconcile":
            self.look(lost=False)

    @precondition(lambda self: self.row.state in {"claimed", "preparing"})
    @rule()
    def a_step_is_done(self) -> None:
        self.apply(states.StepDone())

    @precondition(lambda self: self.row.state in {"claimed", "preparing"})
    @rule(reaches=st.booleans())
    def the_call_is_made(self, reaches: bool) -> None:
        self.apply(states.Armed())
        self.armed_at = self.now
        self.in_the_air = "done" if reaches else "lost"
        self.ledger += reaches

    @precondition(lambda self: self.in_the_air is not None and self.row.state == "publishing")
    @rule(
        kind=st.sampled_from(["answer", "cut", "crash"]),
        refusal=st.sampled_from(["rejected", "unauthorized", "expired", "forbidden", "rate_limited", "not_sent"]),
    )
    def the_call_ends(self, kind: str, refusal: str) -> None:
        reached, self.in_the_air = self.in_the_air == "done", None
        if kind == "crash":
            return
        if kind == "cut":
            self.apply(states.Ambiguous(ERROR))
        elif reached:
            self.apply(states.Accepted("id", "https://n/1"))
        elif refusal == "not_sent":
            self.apply(states.NotSent(ERROR, 0.5))
        else:
            self.apply(states.Refused(refusal, ERROR))  # type: ignore[arg-type]  # drawn from the literal's values

    @precondition(lambda self: self.row.state == "outcome_unknown")
    @rule(lost=st.booleans())
    def look(self, lost: bool) -> None:
        if lost:
            self.apply(states.SeenNothing("list is empty"))
        elif self.ledger:
            self.apply(states.SeenThere("id", "https://n/1", "found"))
        else:
            self.apply(states.SeenAbsent("not in the list", self.armed_at + SETTLE))

    @precondition(lambda self: self.row.state in {"outcome_unknown", "needs_human"} and self.in_the_air is None)
    @rule()
    def a_person_looks(self) -> None:
        self.apply(states.Resolved(self.ledger > 0))

    @rule(
        event=st.sampled_from(
            [states.Cancelled(), states.RetryAsked(), states.Released(frozenset({"auth", "paused", "token", "permission"}))]
        )
    )
    def people_do_things(self, event: states.Event) -> None:
        self.apply(event)

    @rule(hours=st.integers(0, 48))
    def people_reschedule(self, hours: int) -> None:
        self.apply(states.Scheduled(self.now + timedelta(hours=hours)))

    @invariant()
    def it_is_published_at_most_once(self) -> None:
        assert self.ledger <= 1

    @invariant()
    def what_we_say_is_true(self) -> None:
        if self.row.state == "published":
            assert self.ledger == 1
        if self.row.state in {
            "failed",
            "cancelled",
            "missed",
            "retry_wait",
            "scheduled",
            "blocked",
            "planned",
            "claimed",
            "preparing",
        }:
            assert self.ledger == 0, f"{self.row.state} though it is on the network"

    @invariant()
    def an_undecided_attempt_is_in_an_undecided_state(self) -> None:
        if self.undecided:
            assert self.row.state in {"publishing", "outcome_unknown", "needs_human"}


World.TestCase.settings = settings(max_examples=400, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
TestWorld = World.TestCase


@pytest.mark.parametrize("state", states.PUBLICATION_STATES)
def test_no_event_leads_to_an_unknown_state(state: str) -> None:
    events = [
        states.Scheduled(START),
        states.Cancelled(),
        states.Claimed("ask", WINDOW),
        states.StepDone(),
        states.Armed(),
        states.Accepted("1", None),
        states.Refused("rejected", ERROR),
        states.NotSent(ERROR),
        states.Ambiguous(ERROR),
        states.SeenThere("1", None, "e"),
        states.SeenAbsent("e", START),
        states.SeenNothing("e"),
        states.Resolved(True),
        states.RetryAsked(),
        states.Released(frozenset({"auth"})),
        states.DeletionAsked(),
        states.Deleted(),
    ]
    for event in events:
        try:
            decision = decide(Delivery(state, external_id="1"), event, START)
        except NotAllowed:
            continue
        assert decision.delivery.state in states.PUBLICATION_STATES


def test_only_an_armed_publication_can_be_accepted() -> None:
    for state in set(states.PUBLICATION_STATES) - {"publishing"}:
        with pytest.raises(NotAllowed):
            decide(Delivery(state), states.Accepted("1", None), START)


def test_absence_before_the_settle_time_proves_nothing() -> None:
    row = Delivery("outcome_unknown", attempts=1)
    early = decide(row, states.SeenAbsent("e", START + SETTLE), START)
    assert (early.delivery.state, early.duty, early.attempt) == ("outcome_unknown", START + SETTLE, None)
    settled = decide(row, states.SeenAbsent("e", START + SETTLE), START + SETTLE)
    assert (settled.delivery.state, settled.attempt) == ("retry_wait", "absent")


def test_the_looks_end_with_a_person() -> None:
    row = Delivery("outcome_unknown", attempts=1)
    for _ in states.LOOKS:
        row = decide(row, states.SeenNothing("e"), START).delivery
    assert row.state == "needs_human"


def test_a_duplicate_answer_of_the_network_is_looked_up_and_not_believed_to_be_a_failure() -> None:
    assert decide(Delivery("publishing", attempts=1), states.Ambiguous(ERROR), START).delivery.state == "outcome_unknown"


@pytest.mark.parametrize(("policy", "state"), [("publish_late", "claimed"), ("skip", "missed"), ("ask", "missed")])
def test_a_late_publication_follows_the_policy_of_its_workspace(policy: str, state: str) -> None:
    late = Delivery("scheduled", due_at=START - WINDOW - timedelta(seconds=1))
    assert decide(late, states.Claimed(policy, WINDOW), START).delivery.state == state


def test_the_wait_between_retries_grows_and_stays_bounded() -> None:
    waits = [states.backoff(number, 1.0) for number in range(1, 60)]
    assert waits == sorted(waits)
    assert waits[-1] <= states.RETRY_LONGEST * 1.25


def test_a_row_that_ends_workers_is_failed_and_not_tried_for_ever() -> None:
    row = Delivery("claimed", due_at=START)
    assert decide(row, states.Claimed("ask", WINDOW, starts=states.STARTS_MAX), START).delivery.state == "failed"


def test_a_deletion_that_is_refused_leaves_the_post_published() -> None:
    row = Delivery("unpublishing", external_id="1", published_at=START)
    assert decide(row, states.Refused("forbidden", ERROR), START).delivery.state == "published"
    assert decide(row, states.NotSent(ERROR), START).delivery.state == "unpublishing"
    assert decide(replace(row, retries=states.DELETIONS_MAX), states.NotSent(ERROR), START).delivery.state == "published"


@pytest.mark.parametrize(
    ("each", "whole"),
    [
        (["planned"], None),
        (["scheduled", "scheduled"], "scheduled"),
        (["published", "scheduled"], "partially_published"),
        (["published", "publishing"], "publishing"),
        (["published", "published"], "published"),
        (["published", "failed"], "partially_published"),
        (["failed"], "failed"),
        (["needs_human", "published"], "needs_attention"),
        (["cancelled", "cancelled"], "cancelled"),
        (["removed"], "removed"),
    ],
)
def test_delivery_is_derived_from_the_publications(each: list[str], whole: str | None) -> None:
    assert rollup(each) == whole
