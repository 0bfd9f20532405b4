"""The rule of four eyes as a walk: whoever writes, sends, takes back and fails, nothing is on its way that one alone has seen."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants.permissions import Actor
from tenants.posts.eyes import FourEyes, alone, refuse_alone, refuse_change, refuse_new
from tenants.posts.states import COMING, EDITABLE

EYES = st.sampled_from([None, *(UUID(int=number) for number in (1, 2, 3))])
"""None: a caller of whom nobody knows who it is, or content that is older than the rule."""
STEPS = st.lists(st.tuples(st.sampled_from(["write", "send", "create", "cancel", "hold", "fail"]), EYES), max_size=30)


def caller(eyes: UUID | None) -> Actor:
    return Actor(UUID(int=0), "", False, None, "", eyes=eyes)


@dataclass
class Walk:
    """One post, and whose eyes saw what is on its way."""

    content_by: UUID | None
    four_eyes: bool = True
    state: str = "planned"
    sent_by: UUID | None = None
    refused: list[str] = field(default_factory=list)

    @property
    def row(self) -> dict[str, Any]:
        return {"content_by": self.content_by, "four_eyes": self.four_eyes}

    def step(self, act: str, eyes: UUID | None) -> None:
        try:
            if act == "create":
                refuse_new(four_eyes=self.four_eyes, scheduled=True)
                self.content_by, self.sent_by, self.state = eyes, eyes, "scheduled"
            elif act == "write":
                refuse_change(self.row, [{"state": self.state}], {"text"})
                self.content_by = eyes
            elif act == "send":
                refuse_alone(self.row, caller(eyes))
                self.sent_by, self.state = eyes, "scheduled"
        except FourEyes:
            self.refused.append(act)
        if act in {"cancel", "fail", "hold"} and self.state in COMING:
            self.state = {"cancel": "cancelled", "fail": "failed", "hold": "blocked"}[act]


@given(STEPS, EYES)
def test_what_is_on_its_way_was_seen_by_two_who_are_known(steps: list[tuple[str, UUID | None]], first: UUID | None) -> None:
    walk = Walk(first)
    for act, eyes in steps:
        walk.step(act, eyes)
        assert walk.state in EDITABLE
        if walk.state in COMING:
            assert None not in {walk.content_by, walk.sent_by}
            assert walk.content_by != walk.sent_by


@given(STEPS, EYES)
def test_without_the_rule_nothing_is_refused(steps: list[tuple[str, UUID | None]], first: UUID | None) -> None:
    walk = Walk(first, four_eyes=False)
    for act, eyes in steps:
        walk.step(act, eyes)
    assert walk.refused == []


@given(EYES, EYES)
def test_the_rule_looks_at_who_and_not_at_the_order(one: UUID | None, two: UUID | None) -> None:
    assert alone(True, one, two) == alone(True, two, one)
    assert not alone(False, one, two)
    assert not alone(None, one, two)


def test_a_refusal_points_at_every_field_that_it_is_about() -> None:
    with pytest.raises(FourEyes) as refusal:
        refuse_change({"four_eyes": True, "content_by": UUID(int=1)}, [{"state": "blocked"}], {"text", "media"})
    assert [(fault.pointer, fault.code) for fault in refusal.value.faults] == [("/media", "four_eyes"), ("/text", "four_eyes")]
