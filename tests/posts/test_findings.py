"""Findings, as pure rules: what is said about one content, and where it points."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from networks.base import Capabilities, Draft, Finding, Media, MediaRule, TextRule
from tenants.posts.drafts import Content
from tenants.posts.duplicates import normalise
from tenants.posts.findings import FIXES, Found, Place, Subject, find, skipped, together, worst

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
VK = Capabilities(
    name="vk", title="VK", connect=frozenset(), credentials=(), text=TextRule(16_384, "code_points", fold_lines=5),
    media=MediaRule(), dedupe="key", settle=timedelta(0), call_deadline=timedelta(seconds=10), token="static",
)  # fmt: skip


class Fake:
    """A network that says what it was told to say."""

    issuer = None

    def __init__(self, facts: Capabilities = VK, says: tuple[Finding, ...] = ()) -> None:
        self.capabilities, self.says = facts, says

    def check(self, _draft: Draft) -> tuple[Finding, ...]:
        return self.says


def subject(text: str = "Hello", *, facts: Capabilities = VK, says: tuple[Finding, ...] = (), **more: Any) -> Subject:
    media = more.pop("media", ())
    known: dict[str, Any] = {"state": "active", "authorised": True, "expires_at": None, "due_at": NOW, **more}
    place = known.pop("place", Place("/account_ids/0"))
    account = known.pop("account", uuid4())
    return Subject(Content(account, text, [], {}), Draft(text, media), place, Fake(facts, says), **known)  # type: ignore[arg-type]  # a fake


def codes(found: list[Found]) -> dict[str, str]:
    return {one.code: one.severity for one in found}


def with_text(**rule: Any) -> Capabilities:
    return replace(VK, text=replace(VK.text, **rule))


@pytest.mark.parametrize(
    ("text", "facts", "expected"),
    [
        ("one\ntwo\nthree\nfour\nfive", VK, {}),
        ("one\ntwo\nthree\nfour\nfive\n\n", VK, {}),
        ("one\ntwo\nthree\nfour\nfive\nsix", VK, {"past_fold": "info"}),
        ("x" * 126, with_text(fold_lines=None, fold_length=125), {"past_fold": "info"}),
        ("👨‍👩‍👧" * 125, with_text(fold_lines=None, fold_length=125, unit="graphemes"), {}),
        ("😀" * 63, with_text(fold_lines=None, fold_length=125, unit="utf16"), {"past_fold": "info"}),
        ("#a1 #хлеб #b", with_text(hashtags_max=2), {"too_many_hashtags": "warning"}),
        ("see https://x.example/#part and #b", with_text(hashtags_max=1), {}),
        ("@anna @ben mail@x.example", with_text(mentions_max=2), {}),
        ("@anna @ben @cleo", with_text(mentions_max=2), {"too_many_mentions": "warning"}),
        ("https://x.example", with_text(links="plain"), {"link_not_live": "warning"}),
        ("https://x.example", with_text(links="costly"), {"link_costs_reach": "info"}),
        ("http://x.example", VK, {"link_not_secure": "info"}),
        ("no link at all", with_text(links="plain"), {}),
    ],
)
def test_what_a_reader_would_stumble_over_is_told(text: str, facts: Capabilities, expected: dict[str, str]) -> None:
    assert codes(find(subject(text, facts=facts))) == expected


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"state": "paused"}, {"account_paused": "warning"}),
        ({"state": "needs_reconnect"}, {"account_needs_reconnect": "warning"}),
        ({"authorised": False}, {"account_needs_reconnect": "warning"}),
        ({"state": "disconnected"}, {"account_not_usable": "error"}),
        ({"expires_at": NOW - timedelta(hours=1)}, {"token_expires_before": "warning"}),
        ({"expires_at": NOW + timedelta(hours=1)}, {}),
        ({"expires_at": NOW - timedelta(hours=1), "due_at": None}, {}),
        ({"expires_at": NOW - timedelta(hours=1), "facts": replace(VK, token="refresh_rotating")}, {}),
        ({"facts": replace(VK, posts_per_day=3), "posts_that_day": 3}, {"network_quota": "warning"}),
        ({"facts": replace(VK, posts_per_day=3), "posts_that_day": 2}, {}),
        ({"facts": replace(VK, posts_per_day=3), "posts_that_day": 3, "due_at": None}, {}),
    ],
)
def test_what_the_account_will_do_at_the_slot_is_told(about: dict[str, Any], expected: dict[str, str]) -> None:
    assert codes(find(subject(**about))) == expected


def test_a_finding_points_to_where_its_text_stands_in_the_post() -> None:
    place = Place("/account_ids/3", text="/variants/1/text", options="/variants/1/options")
    says = (Finding("option_invalid", "error", "/options/langs", "x"), Finding("text_too_long", "error", "/text", "x", 1, 5))
    found = find(subject("http://x.example", says=says, place=place, state="paused"))
    assert {one.code: one.pointer for one in found} == {
        "option_invalid": "/variants/1/options/langs",
        "text_too_long": "/variants/1/text",
        "link_not_secure": "/variants/1/text",
        "account_paused": "/account_ids/3",
    }


def test_a_missing_alternative_text_is_told_once_also_when_the_network_tells_it_itself() -> None:
    media = (Media("asv", "image/png", 1, 1, 1), Media("asv", "image/png", 1, 1, 1, "A loaf"))
    own = (Finding("alt_text_missing", "warning", "/media/0", "x"),)
    place = Place("/account_ids/0", media="/variants/0/media")
    for says in ((), own):
        found = find(subject(media=media, says=says, place=place))
        assert [(one.code, one.pointer) for one in found] == [("alt_text_missing", "/variants/0/media/0")]


def test_the_same_text_at_the_same_minute_is_a_warning_at_one_network_and_a_hint_between_two() -> None:
    other = replace(VK, name="ok", title="OK")
    subjects = [subject("Bread!"), subject("bread!"), subject("Bread! ", facts=other), subject("Rolls")]
    keys = {one.content.account_id: normalise(one.content.text) for one in subjects}
    found = list(together(subjects, keys))
    assert [(one.network, one.severity) for one in found] == [("vk", "warning"), ("ok", "info")]
    assert found[0].account_id == subjects[1].content.account_id


def test_every_code_that_is_found_here_has_a_fix_and_what_was_not_looked_at_is_said() -> None:
    assert all(FIXES.values())
    assert skipped([subject()])[0]["check"] == "network_quota"
    assert skipped([subject(facts=replace(VK, posts_per_day=1))]) == []
    assert [worst([]), worst(find(subject("http://x", state="paused")))] == ["none", "warning"]


def test_the_key_of_a_finding_outlives_its_figures() -> None:
    one = Found("network_quota", "warning", "/account_ids/0", "x", account_id=UUID(int=1), actual=3)
    assert one.key == replace(one, actual=4, detail="y").key != replace(one, account_id=UUID(int=2)).key
