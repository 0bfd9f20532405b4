"""Findings: everything that can be said about one content before its slot. Pure: rows in, findings out.

The network's own `check` says what it refuses; what stands here is what a reader or a person of the agency would stumble
over all the same: the fold, links that cannot be clicked, a token that dies before the slot, an account that is paused.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from core.patterns import GRAPHEME, pattern
from networks.base import Capabilities, Draft, Finding, Network, TextRule
from tenants.posts.drafts import REFUSING, Content
from tenants.posts.rows import instant

Severity = Literal["error", "warning", "info"]
RANKS: Mapping[str, int] = {"none": 0, "info": 1, "warning": 2, "error": 3}
"""Severities from good to bad; `none` stands for no finding."""
DAY = timedelta(hours=24)

LINK = re.compile(r"(?i)\bhttps?://[^\s<>\"]+")
PLAIN_HTTP = re.compile(r"(?i)\bhttp://[^\s<>\"]+")
HASHTAG = r"(?<![\p{L}\p{N}_&/])[#＃][\p{L}\p{N}_]*\p{L}[\p{L}\p{N}_]*"
MENTION = r"(?<![\p{L}\p{N}_./@])@[\p{L}\p{N}_][\p{L}\p{N}_.-]*"

FIXES: Mapping[str, str] = {
    "empty": "Write a text, or add a file.",
    "text_too_long": "Shorten the text, or give this account a variant of its own.",
    "text_too_many_bytes": "Shorten the text: emoji and letters outside ASCII take several bytes each.",
    "too_many_media": "Take files away, or give this account a variant with fewer.",
    "media_missing": "Upload the file again.",
    "media_type": "Upload the file in a format that the network takes.",
    "media_too_large": "Upload a smaller file.",
    "alt_text_too_long": "Shorten the alternative text.",
    "alt_text_missing": "Describe the image in `alt_text`.",
    "option_invalid": "Correct the option, or leave it out.",
    "past_fold": "Say what matters before the fold.",
    "too_many_hashtags": "Take hashtags away.",
    "too_many_mentions": "Take mentions away.",
    "link_not_live": "Put the link where it can be clicked, such as the profile.",
    "link_costs_reach": "Put the link into the first comment.",
    "link_not_secure": "Use the https address.",
    "token_expires_before": "Reconnect the account before the slot.",
    "account_paused": "Resume the account before the slot.",
    "account_needs_reconnect": "Reconnect the account.",
    "account_not_usable": "Choose another account, or reconnect this one.",
    "network_quota": "Move the post to another day.",
    "identical_at_several_accounts": "Write a variant for each account, or stagger the times.",
    "duplicate_content": "Change the text, or move the post to `stagger_at`.",
    "in_the_past": "Choose a time that is still to come.",
    "too_far_ahead": "Choose a nearer time.",
    "four_eyes": "Leave the schedule out, and let somebody else give the post its time.",
}
"""Code -> what a person can do about it. A code without one names its fix in its detail."""


@dataclass(frozen=True, slots=True)
class Found:
    """One thing said about a post. `pointer` leads into the post as it was sent; null members concern the whole post."""

    code: str
    severity: Severity
    pointer: str
    detail: str
    network: str | None = None
    account_id: UUID | None = None
    limit: int | None = None
    actual: int | None = None
    post_id: UUID | None = None
    similarity: float | None = None
    stagger_at: datetime | None = None

    @property
    def fix(self) -> str | None:
        """What a person can do about it."""
        return FIXES.get(self.code)

    @property
    def duplicate(self) -> "Found | None":
        """The other post, where it is about one."""
        return self if self.post_id is not None else None

    @property
    def key(self) -> str:
        """What makes it the same finding tomorrow, though its figures may have moved."""
        return f"{self.code} {self.account_id or ''} {self.pointer} {self.post_id or ''}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the parts of one account's content stand in the post: in the account's variant, or in the post itself."""

    account: str
    text: str = "/text"
    media: str = "/media"
    options: str = "/options"

    def of(self, pointer: str) -> str:
        """Turn a pointer relative to the content into one of the post."""
        for name, place in (("/text", self.text), ("/media", self.media), ("/options", self.options)):
            if pointer == name or pointer.startswith(name + "/"):
                return place + pointer.removeprefix(name)
        return pointer


@dataclass(frozen=True, slots=True)
class Subject:
    """One account's content with what is known about the account. `due_at` is null for a draft."""

    content: Content
    draft: Draft
    place: Place
    network: Network
    state: str
    authorised: bool
    expires_at: datetime | None
    due_at: datetime | None
    posts_that_day: int = 0
    """Others of the account within 24 hours around the slot."""

    @property
    def facts(self) -> Capabilities:
        """The network as data."""
        return self.network.capabilities


def find(subject: Subject) -> list[Found]:
    """Say everything about one account's content. An account that takes nothing is judged no further."""
    if subject.state in REFUSING:
        return [_about(subject, Finding("account_not_usable", "error", "", "The account is disconnected."), subject.place.account)]
    checked = list(subject.network.check(subject.draft))
    known = {(one.code, one.pointer) for one in checked}
    said = [_about(subject, one) for one in checked]
    said += [one for one in _content(subject) if (one.code, _relative(subject.place, one.pointer)) not in known]
    said += _account(subject)
    return said


def _about(subject: Subject, finding: Finding, pointer: str | None = None, severity: Severity | None = None) -> Found:
    return Found(
        code=finding.code,
        severity=severity or finding.severity,
        pointer=subject.place.of(finding.pointer) if pointer is None else pointer,
        detail=finding.detail,
        network=subject.facts.name,
        account_id=subject.content.account_id,
        limit=finding.limit,
        actual=finding.actual,
    )


def _relative(place: Place, pointer: str) -> str:
    return "/media" + pointer.removeprefix(place.media) if pointer.startswith(place.media) else "/text"


def _content(subject: Subject) -> Iterator[Found]:
    """What a reader would stumble over."""
    text, rule, title = subject.draft.text, subject.facts.text, subject.facts.title
    for finding, severity in (*_fold(text, rule, title), *_tags(text, rule, title), *_links(text, rule, title)):
        yield _about(subject, finding, severity=severity)
    for number, one in enumerate(subject.draft.media):
        if one.content_type.startswith("image/") and not one.alt_text.strip():
            detail = "The image has no text for those who cannot see it."
            yield _about(subject, Finding("alt_text_missing", "warning", f"/media/{number}", detail))


def length_of(text: str, unit: str) -> int:
    """Count a text as a network counts it. X's weights are its connector's own; here a code point stands for one."""
    if unit == "utf16":
        return len(text.encode("utf-16-le", errors="surrogatepass")) // 2
    if unit == "utf8_bytes":
        return len(text.encode(errors="surrogatepass"))
    if unit == "graphemes":
        return sum(1 for _ in pattern(GRAPHEME).finditer(text))
    return len(text)


def _fold(text: str, rule: TextRule, title: str) -> Iterator[tuple[Finding, Severity]]:
    lines = text.rstrip().count("\n") + 1
    if rule.fold_lines is not None and lines > rule.fold_lines:
        detail = f"On {title} people see about the first {rule.fold_lines} lines; the rest stands behind a link."
        yield Finding("past_fold", "warning", "/text", detail, rule.fold_lines, lines), "info"
        return
    length = length_of(text, rule.unit) if rule.fold_length is not None else 0
    if rule.fold_length is not None and length > rule.fold_length:
        detail = f"On {title} people see about the first {rule.fold_length} characters; the rest stands behind a link."
        yield Finding("past_fold", "warning", "/text", detail, rule.fold_length, length), "info"


def _tags(text: str, rule: TextRule, title: str) -> Iterator[tuple[Finding, Severity]]:
    for code, form, most, what in (
        ("too_many_hashtags", HASHTAG, rule.hashtags_max, "hashtags"),
        ("too_many_mentions", MENTION, rule.mentions_max, "mentions"),
    ):
        count = len(pattern(form).findall(text)) if most is not None else 0
        if most is not None and count > most:
            yield Finding(code, "warning", "/text", f"{title} takes fewer {what}.", most, count), "warning"


def _links(text: str, rule: TextRule, title: str) -> Iterator[tuple[Finding, Severity]]:
    if LINK.search(text) is None:
        return
    if rule.links == "plain":
        yield Finding("link_not_live", "warning", "/text", f"Links in a text cannot be clicked on {title}."), "warning"
    if rule.links == "costly":
        yield Finding("link_costs_reach", "warning", "/text", f"{title} shows posts with links to fewer people."), "info"
    if PLAIN_HTTP.search(text) is not None:
        yield Finding("link_not_secure", "warning", "/text", "A link begins with http: browsers warn before they open it."), "info"


def _account(subject: Subject) -> Iterator[Found]:
    """What the account will do at the slot, as far as it is known now."""
    where, title = subject.place.account, subject.facts.title
    if subject.state == "paused":
        yield _about(subject, Finding("account_paused", "warning", "", "The account is paused: the post will wait."), where)
    elif subject.state in {"needs_reconnect", "pending"} or not subject.authorised:
        detail = "The account has lost its authorisation: the post will wait until somebody reconnects it."
        yield _about(subject, Finding("account_needs_reconnect", "warning", "", detail), where)
    elif subject.expires_at is not None and subject.due_at is not None and _dies_before(subject):
        detail = f"The authorisation ends at {instant(subject.expires_at)}, before the slot, and {title} renews none by itself."
        yield _about(subject, Finding("token_expires_before", "warning", "", detail), where)
    quota = subject.facts.posts_per_day
    if quota is not None and subject.due_at is not None and subject.posts_that_day + 1 > quota:
        detail = f"{title} takes {quota} posts of one account within 24 hours."
        yield _about(subject, Finding("network_quota", "warning", "", detail, quota, subject.posts_that_day + 1), where)


def _dies_before(subject: Subject) -> bool:
    assert subject.expires_at is not None
    assert subject.due_at is not None
    return subject.facts.token == "static" and subject.expires_at <= subject.due_at  # the name of a kind, not a token


def together(subjects: Iterable[Subject], keys: Mapping[UUID, str]) -> Iterator[Found]:
    """Find one text that goes to several accounts at the same minute. `keys` are the normalised texts, by account.

    At one network the same people see it twice, so it is a warning there, and a hint between networks.
    """
    first: dict[tuple[str, str], Subject] = {}
    seen: dict[str, Subject] = {}
    for subject in subjects:
        key = keys[subject.content.account_id]
        if not key:
            continue
        network = subject.facts.name
        if (network, key) in first:
            detail = f"Another {subject.facts.title} account gets the same text at the same minute."
            found = Finding("identical_at_several_accounts", "warning", "/text", detail)
            yield _about(subject, found)
        elif key in seen:
            detail = f"The {seen[key].facts.title} account gets the same text at the same minute."
            yield _about(subject, Finding("identical_at_several_accounts", "warning", "/text", detail), severity="info")
        first.setdefault((network, key), subject)
        seen.setdefault(key, subject)


def worst(found: Iterable[Found]) -> str:
    """The worst severity of some findings; `none` for none."""
    return max((one.severity for one in found), key=lambda severity: RANKS[severity], default="none")


def skipped(subjects: Iterable[Subject]) -> list[dict[str, Any]]:
    """What was not looked at, and why: silence must not read as consent."""
    return [
        {
            "check": "network_quota",
            "network": subject.facts.name,
            "account_id": subject.content.account_id,
            "detail": f"{subject.facts.title} names no figure for a day.",
        }
        for subject in subjects
        if subject.facts.posts_per_day is None
    ]
