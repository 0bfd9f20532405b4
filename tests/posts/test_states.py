"""The publishing protocol as a state machine against a world that keeps its own ledger."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tenants.posts import moves, states
from tenants.posts.rollup import rollup
from tenants.posts.states import Decision, Delivery, NotAllowed, decide, problem

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

    def apply(self, event: moves.Event) -> Decision | None:
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
        self.apply(moves.Scheduled(START))

    @rule(seconds=st.integers(1, 4000))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(
        policy=st.sampled_from(["publish_late", "skip", "ask"]),
        starts=st.integers(1, 25),
        hindrance=st.sampled_from([None, "paused", "auth"]),
    )
    def a_worker_claims(self, policy: str, starts: int, hindrance: str | None) -> None:
        decision = self.apply(moves.Claimed(policy, WINDOW, starts, hindrance))
        if self.in_the_air is not None and self.row.state == "outcome_unknown":
            self.in_the_air = None
        if decision is not None and decision.work == "reconcile":
            self.look(lost=False)

    @precondition(lambda self: self.row.state in {"claimed", "preparing"})
    @rule()
    def a_step_is_done(self) -> None:
        self.apply(moves.StepDone())

    @precondition(lambda self: self.row.state in {"claimed", "preparing"})
    @rule(reaches=st.booleans())
    def the_call_is_made(self, reaches: bool) -> None:
        self.apply(moves.Armed())
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
            self.apply(moves.Ambiguous(ERROR))
        elif reached:
            self.apply(moves.Accepted("id", "https://n/1"))
        elif refusal == "not_sent":
            self.apply(moves.NotSent(ERROR, 0.5))
        else:
            self.apply(moves.Refused(refusal, ERROR))  # type: ignore[arg-type]  # drawn from the literal's values

    @precondition(lambda self: self.row.state == "outcome_unknown")
    @rule(lost=st.booleans())
    def look(self, lost: bool) -> None:
        if lost:
            self.apply(moves.SeenNothing("list is empty"))
        elif self.ledger:
            self.apply(moves.SeenThere("id", "https://n/1", "found"))
        else:
            self.apply(moves.SeenAbsent("not in the list", self.now, SETTLE))

    @precondition(lambda self: self.row.state in {"outcome_unknown", "needs_human"} and self.in_the_air is None)
    @rule()
    def a_person_looks(self) -> None:
        self.apply(moves.Resolved(self.ledger > 0))

    @rule(
        event=st.sampled_from(
            [moves.Cancelled(), moves.RetryAsked(), moves.Released(frozenset({"auth", "paused", "token", "permission"}))]
        )
    )
    def people_do_things(self, event: moves.Event) -> None:
        self.apply(event)

    @rule(hours=st.integers(0, 48))
    def people_reschedule(self, hours: int) -> None:
        self.apply(moves.Scheduled(self.now + timedelta(hours=hours)))

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
        moves.Scheduled(START),
        moves.Cancelled(),
        moves.Claimed("ask", WINDOW),
        moves.StepDone(),
        moves.Armed(),
        moves.Accepted("1", None),
        moves.Refused("rejected", ERROR),
        moves.NotSent(ERROR),
        moves.Ambiguous(ERROR),
        moves.SeenThere("1", None, "e"),
        moves.SeenAbsent("e", START, SETTLE),
        moves.SeenNothing("e"),
        moves.Resolved(True),
        moves.RetryAsked(),
        moves.Released(frozenset({"auth"})),
        moves.DeletionAsked(),
        moves.Deleted(),
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
            decide(Delivery(state), moves.Accepted("1", None), START)


def test_a_look_counts_only_if_it_began_after_the_settle_time_that_follows_the_call() -> None:
    row = Delivery("outcome_unknown", attempts=1, unknown_since=START)
    late = START + SETTLE + timedelta(hours=1)
    early = decide(row, moves.SeenAbsent("e", START + SETTLE - timedelta(seconds=1), SETTLE), late)
    assert (early.delivery.state, early.duty, early.attempt) == ("outcome_unknown", START + SETTLE, None)
    settled = decide(row, moves.SeenAbsent("e", START + SETTLE, SETTLE), late)
    assert (settled.delivery.state, settled.attempt) == ("retry_wait", "absent")


def test_an_outage_of_the_token_endpoint_is_outwaited_and_not_counted_as_failure() -> None:
    row, moment = Delivery("claimed", due_at=START), START
    while moment < START + WINDOW:
        decision = decide(row._replace(state="claimed"), moves.Refused("expired", ERROR), moment)
        assert decision.delivery.state == "retry_wait"
        row, moment = decision.delivery, decision.duty or moment
    assert row.retries < 100


def test_a_fresh_token_wakes_only_what_waits_for_one() -> None:
    waiting = Delivery("retry_wait", next_at=START + WINDOW, error=problem("token_expired", "x", "octavo", retryable=True))
    assert decide(waiting, moves.Released(frozenset({"token"})), START).duty == START
    with pytest.raises(NotAllowed):
        decide(waiting._replace(error=ERROR), moves.Released(frozenset({"token"})), START)


def test_an_answer_that_contradicts_what_is_known_is_a_question_to_a_person() -> None:
    assert decide(Delivery("publishing", attempts=1), moves.Conflicting("x"), START).delivery.state == "needs_human"


def test_the_looks_end_with_a_person() -> None:
    row = Delivery("outcome_unknown", attempts=1)
    for _ in states.LOOKS:
        row = decide(row, moves.SeenNothing("e"), START).delivery
    assert row.state == "needs_human"


def test_a_duplicate_answer_of_the_network_is_looked_up_and_not_believed_to_be_a_failure() -> None:
    assert decide(Delivery("publishing", attempts=1), moves.Ambiguous(ERROR), START).delivery.state == "outcome_unknown"


@pytest.mark.parametrize(("policy", "state"), [("publish_late", "claimed"), ("skip", "missed"), ("ask", "missed")])
def test_a_late_publication_follows_the_policy_of_its_workspace(policy: str, state: str) -> None:
    late = Delivery("scheduled", due_at=START - WINDOW - timedelta(seconds=1))
    assert decide(late, moves.Claimed(policy, WINDOW), START).delivery.state == state


def test_the_wait_between_retries_grows_and_stays_bounded() -> None:
    waits = [states.backoff(number, 1.0) for number in range(1, 60)]
    assert waits == sorted(waits)
    assert waits[-1] <= states.RETRY_LONGEST * 1.25


def test_a_row_that_ends_workers_is_failed_and_not_tried_for_ever() -> None:
    row = Delivery("claimed", due_at=START)
    assert decide(row, moves.Claimed("ask", WINDOW, starts=states.STARTS_MAX), START).delivery.state == "failed"


def test_a_deletion_that_is_refused_leaves_the_post_published() -> None:
    row = Delivery("unpublishing", external_id="1", published_at=START)
    assert decide(row, moves.Refused("forbidden", ERROR), START).delivery.state == "published"
    assert decide(row, moves.NotSent(ERROR), START).delivery.state == "unpublishing"
    assert decide(row._replace(retries=states.DELETIONS_MAX), moves.NotSent(ERROR), START).delivery.state == "published"


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
