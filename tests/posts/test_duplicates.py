"""The guard against doubles: what counts as the same, what is proposed, and who is refused."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from core.ids import encode
from tenants.posts.duplicates import SIMILARITY_MIN, TOLD_MAX, normalise, similarity, stagger, twins_among
from tests.conftest import Platform, TestAgency
from tests.flows.test_publishing import connect

NOW = datetime(2026, 12, 1, 9, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Fresh rolls!", "FRESH  rolls!\n"),
        ("Fresh rolls", "Fresh\u200b ro\u00adlls"),
        ("ﬁne ＡＢＣ", "fine abc"),
        ("See https://x.example/a?utm_source=vk&id=1", "See https://x.example/a?id=1&fbclid=zzz"),
        ("See https://x.example/a/", "See https://x.example/a"),
        ("❤️ love", "❤ love"),
    ],
)
def test_what_people_read_as_the_same_is_the_same(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Fresh rolls from six, this Monday only, at 5 euro", "Fresh rolls from six, this Monday only, at 6 euro", True),
        ("Свежие булочки каждое утро с шести часов на Тверской, 7", "Свежие булочки каждое утро с семи часов на Тверской, 7", True),
        ("Fresh rolls from six o'clock.", "Fresh bread from seven o'clock.", False),
        ("Good morning!", "Good evening!", False),
        ("https://x.example/a?id=1", "https://x.example/a?id=2", False),
        ("", "", False),
        ("a", "a", True),
    ],
)  # fmt: skip
def test_nearly_the_same_is_told_from_merely_alike(one: str, other: str, alike: bool) -> None:
    assert (similarity(normalise(one), normalise(other)) >= SIMILARITY_MIN) == alike


def test_a_post_for_fifty_accounts_among_two_hundred_of_the_longest_texts_is_compared_in_seconds() -> None:
    text = "".join(chr(0x410 + number % 64) + str(number) for number in range(20_000))[:63_206]
    own = {uuid4(): normalise(text) for _ in range(50)}
    begun = perf_counter()
    found = twins_among(own, NOW, [row(uuid4(), 0, f"{number} {text}") for number in range(200)])
    assert (len(found), perf_counter() - begun < 20) == (50 * TOLD_MAX, True)


def row(account: UUID, minutes: float, content: str = "Fresh rolls") -> dict[str, Any]:
    return {"post_id": uuid4(), "account_id": account, "due_at": NOW + timedelta(minutes=minutes), "content": content}


def test_one_account_has_a_day_between_and_several_have_a_minute() -> None:
    own, other = uuid4(), uuid4()
    cases = [
        (row(own, 23 * 60), True),
        (row(own, -23 * 60), True),
        (row(own, 24 * 60), False),
        (row(other, 0.4), True),
        (row(other, 1), False),
        (row(own, 1, "Something else entirely"), False),
    ]
    for candidate, expected in cases:
        assert bool(twins_among({own: normalise("fresh ROLLS")}, NOW, [candidate])) == expected, candidate


def test_the_proposed_time_is_free() -> None:
    own, other = uuid4(), uuid4()
    assert stagger(NOW, [(own, NOW - timedelta(hours=3))], own) > NOW + timedelta(hours=21)
    taken = [(other, NOW), (other, NOW + timedelta(minutes=15))]
    assert stagger(NOW, taken, own) == NOW + timedelta(minutes=30)


async def create(client: httpx2.AsyncClient, workspace: str, accounts: list[str], **more: Any) -> httpx2.Response:
    body = {"text": "Fresh rolls from six o'clock.", "account_ids": accounts, "schedule": {"at": "2027-06-01T09:00:00Z"}}
    return await client.post(f"/v1/workspaces/{workspace}/posts", json=body | more)


async def test_a_double_is_refused_told_or_let_through_as_the_post_wants(platform: Platform, agency: TestAgency) -> None:
    workspace = encode("wsp", agency.workspace.id)
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        first = (await create(client, workspace, [account])).json()
        # When it comes again and is to be refused
        refused = await create(client, workspace, [account], text="fresh  rolls from six o'clock", duplicate_policy="reject")
        # Then the answer names the other and proposes a time
        assert (refused.status_code, refused.json()["code"]) == (409, "duplicate_content")
        (double,) = refused.json()["duplicates"]
        assert (double["post_id"], double["account_id"], double["due_at"]) == (first["id"], account, "2027-06-01T09:00:00.000Z")
        assert double["similarity"] >= SIMILARITY_MIN
        # And that time is accepted
        late = await create(client, workspace, [account], schedule={"at": double["stagger_at"]}, duplicate_policy="reject")
        assert late.status_code == 201, late.text
        # And the other policies store it
        for policy in ("warn", "allow"):
            stored = await create(client, workspace, [account], duplicate_policy=policy)
            assert (stored.status_code, stored.json()["duplicate_policy"]) == (201, policy)


async def test_a_draft_meets_the_guard_when_it_gets_its_time_and_when_its_text_changes(
    platform: Platform, agency: TestAgency
) -> None:
    workspace = encode("wsp", agency.workspace.id)
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        await create(client, workspace, [account])
        draft = (await create(client, workspace, [account], schedule=None, duplicate_policy="reject")).json()
        path = f"/v1/workspaces/{workspace}/posts/{draft['id']}"
        at = {"schedule": {"at": "2027-06-01T10:00:00Z"}}
        assert (await client.post(f"{path}/schedule", json=at)).json()["code"] == "duplicate_content"
        await client.patch(path, json={"text": "Something else entirely"}, headers={"If-Match": "*"})
        assert (await client.post(f"{path}/schedule", json=at)).status_code == 200
        again = await client.patch(path, json={"text": "Fresh rolls from six o'clock."}, headers={"If-Match": "*"})
        assert again.json()["code"] == "duplicate_content"
        # And moving it, with itself as the only one alike, is no double
        assert (await client.post(f"{path}/schedule", json={"schedule": {"at": "2027-06-01T11:00:00Z"}})).status_code == 200


async def test_two_that_come_at_once_leave_one(platform: Platform, agency: TestAgency) -> None:
    workspace = encode("wsp", agency.workspace.id)
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        answers = await asyncio.gather(*(create(client, workspace, [account], duplicate_policy="reject") for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]


async def test_what_others_say_is_nobodys_double(platform: Platform, agency: TestAgency, other: TestAgency) -> None:
    for one in (agency, other):
        workspace = encode("wsp", one.workspace.id)
        async with platform.client(one.key) as client:
            account = await connect(client, workspace, "always_ok")
            answer = await create(client, workspace, [account], duplicate_policy="reject")
            assert answer.status_code == 201, answer.text


async def test_a_cancelled_post_is_no_double(platform: Platform, agency: TestAgency) -> None:
    workspace = encode("wsp", agency.workspace.id)
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        first = (await create(client, workspace, [account])).json()
        await client.post(f"/v1/workspaces/{workspace}/posts/{first['id']}/cancel")
        assert (await create(client, workspace, [account], duplicate_policy="reject")).status_code == 201
