"""The pure parts of the Bluesky connector: counting, facets by bytes, record keys, the frozen record."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from networks.base import Call, Credentials, Draft, Media, Target
from networks.bluesky import Bluesky
from networks.client import Client
from networks.richtext import facets, graphemes, mentioned_handles, tid, timestamp

START = datetime(2026, 11, 24, 12, 0, 0, 123_456, tzinfo=UTC)
FAMILY = "👩‍👩‍👧"
FLAG = "🇩🇪"
BOB = {"bob.test": "did:plc:bob"}


@pytest.fixture
def network() -> Bluesky:
    return Bluesky(Client(), default_service_url="https://bsky.social/")


def call_with(draft: Draft, **about: object) -> Call:
    account = Target("did:plc:alice", "alice.test")
    return Call(Credentials({}), account, draft, key="pub_1", started_at=START, **about)  # type: ignore[arg-type]  # tests


def pieces(text: str, dids: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """Each facet as the text under it, cut by its byte offsets, and what it means."""
    raw = text.encode()
    made = []
    for one in facets(text, dids or {}):
        index, (feature,) = one["index"], one["features"]
        kind = feature["$type"].rpartition("#")[2]
        value = feature.get("uri") or feature.get("tag") or feature.get("did")
        made.append((raw[index["byteStart"] : index["byteEnd"]].decode(), f"{kind} {value}"))
    return made


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("abc", 3),
        ("й" * 300, 300),
        (FAMILY, 1),
        (FLAG * 2, 2),
        ("e\u0301", 1),
        ("\r\n", 1),
        ("a\nb", 3),
        ("👍🏽", 1),
    ],
)
def test_graphemes(text: str, count: int) -> None:
    assert graphemes(text) == count


def test_both_limits_of_a_text_count(network: Bluesky) -> None:
    def found(text: str) -> list[tuple[str, int | None, int | None]]:
        return [(one.code, one.limit, one.actual) for one in network.check(Draft(text))]

    assert found("й" * 300) == []
    assert found("й" * 301) == [("text_too_long", 300, 301)]
    assert found(FAMILY * 166) == []
    assert found(FAMILY * 170) == [("text_too_many_bytes", 3_000, 3_060)]


@pytest.mark.parametrize("langs", [["de"], ["en-GB", "ru", "zh-Hant"], []])
def test_languages_that_fit(network: Bluesky, langs: list[str]) -> None:
    assert network.check(Draft("a", options={"langs": langs})) == []


@pytest.mark.parametrize("langs", ["de", ["de", "en", "ru", "fr"], ["not a language"], [1]])
def test_languages_that_do_not_fit(network: Bluesky, langs: object) -> None:
    assert [one.pointer for one in network.check(Draft("a", options={"langs": langs}))] == ["/options/langs"]


def test_a_missing_alternative_text_is_a_warning(network: Bluesky) -> None:
    findings = network.check(Draft("", (Media("v", "image/png", 1, 1, 1),)))
    assert [(one.code, one.severity, one.pointer) for one in findings] == [("alt_text_missing", "warning", "/media/0")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"Привет {FAMILY} https://example.com #тег",
            [("https://example.com", "link https://example.com"), ("#тег", "tag тег")],
        ),
        ("(see https://e.com/a_(b)).", [("https://e.com/a_(b)", "link https://e.com/a_(b)")]),
        ("https://e.com/#frag, ok", [("https://e.com/#frag", "link https://e.com/#frag")]),
        ("https://e.com/?a=1&b=ü!", [("https://e.com/?a=1&b=ü", "link https://e.com/?a=1&b=ü")]),
        ("xhttps://e.com ftp://e.com https:// e.com", []),
        ("HTTP://E.com", [("HTTP://E.com", "link HTTP://E.com")]),
        ("#one #two, #3 #4th # #", [("#one", "tag one"), ("#two", "tag two"), ("#4th", "tag 4th")]),
        ("no#tag ＃wide #️⃣", [("＃wide", "tag wide")]),
        ("#" + "x" * 64, [("#" + "x" * 64, "tag " + "x" * 64)]),
        ("#" + "x" * 65, []),
        ("😀 @Bob.test: hi (@bob.test)", [("@Bob.test", "mention did:plc:bob"), ("@bob.test", "mention did:plc:bob")]),
        ("mail@bob.test @bob.testing @nobody.test", []),
        ("https://e.com/(@bob.test)", [("https://e.com/(@bob.test)", "link https://e.com/(@bob.test)")]),
        ("ends @bob.test.", [("@bob.test", "mention did:plc:bob")]),
    ],
)
def test_facets(text: str, expected: list[tuple[str, str]]) -> None:
    assert pieces(text, BOB) == expected


@given(st.text(st.sampled_from("aé😀й #@.:/()https bob.test\n\u0301"), max_size=80))
def test_facets_never_overlap_and_never_split_a_character(text: str) -> None:
    end = 0
    for one in facets(text, BOB):
        assert end <= one["index"]["byteStart"] < one["index"]["byteEnd"] <= len(text.encode())
        end = one["index"]["byteEnd"]
    pieces(text, BOB)


def test_mentioned_handles_are_looked_up_once() -> None:
    assert mentioned_handles("@Bob.test @bob.test @a-b.example.com @nodot a@b.c") == ["bob.test", "a-b.example.com"]


def test_steps(network: Bluesky) -> None:
    image = Media("v", "image/png", 1, 1, 1, "x")
    assert network.plan(Draft("plain #tag https://e.com")) == []
    assert network.plan(Draft("hi @bob.test", (image, image))) == ["mentions", "image_0", "image_1"]


def test_record_keys_are_tids_that_sort_by_time() -> None:
    keys = [tid(START + timedelta(seconds=n), f"pub_{n}") for n in range(100)]
    assert keys == sorted(keys)
    assert all(len(one) == 13 and one[0] in "234567abcdefghij" for one in keys)
    assert tid(START, "a") == tid(START, "a") == tid(START.astimezone(timezone(timedelta(hours=5))), "a")
    assert len({tid(START, f"pub_{n}") for n in range(20_000)}) == 20_000


def test_timestamps() -> None:
    assert timestamp(START) == "2026-11-24T12:00:00.123Z"
    assert timestamp(START.astimezone(timezone(timedelta(hours=5)))) == "2026-11-24T12:00:00.123Z"


def test_the_frozen_record_holds_everything_and_stays_the_same(network: Bluesky) -> None:
    blob = {"$type": "blob", "ref": {"$link": "b"}, "mimeType": "image/png", "size": 3}
    images = (Media("v1", "image/png", 3, 20, 10, "A square"), Media("v2", "image/gif", 3, 0, 0))
    draft = Draft("Hi @bob.test", images, {"langs": ["de"]})
    call = call_with(draft, handles={"mentions": BOB, "image_0": blob, "image_1": blob})
    frozen = network.freeze(call)
    assert frozen["record"] == {
        "$type": "app.bsky.feed.post",
        "text": "Hi @bob.test",
        "createdAt": "2026-11-24T12:00:00.123Z",
        "facets": [
            {
                "index": {"byteStart": 3, "byteEnd": 12},
                "features": [{"$type": "app.bsky.richtext.facet#mention", "did": "did:plc:bob"}],
            }
        ],
        "langs": ["de"],
        "embed": {
            "$type": "app.bsky.embed.images",
            "images": [
                {"alt": "A square", "image": blob, "aspectRatio": {"width": 20, "height": 10}},
                {"alt": "", "image": blob},
            ],
        },
    }
    stored = json.loads(json.dumps(frozen))
    # An attempt of another day keeps the key, under which nothing else may stand, and says when it was made itself
    later = dataclasses.replace(call, handles=call.handles | stored, started_at=call.started_at + timedelta(days=7))
    again = network.freeze(later)
    assert again["rkey"] == frozen["rkey"]
    assert again["record"] == frozen["record"] | {"createdAt": timestamp(later.started_at)}
