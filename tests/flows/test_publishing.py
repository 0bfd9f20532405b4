"""Stories over the whole system: an agency schedules, workers publish, and the truth is told about every delivery."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from tests.conftest import Platform, TestAgency
from tests.events import told

SETTLED_S = 45
"""Longer than the sandbox's call deadline and settle time together."""


async def connect(client: httpx2.AsyncClient, workspace: str, handle: str) -> str:
    answer = await client.post(
        f"/v1/workspaces/{workspace}/connect-sessions",
        json={"network": "sandbox", "credentials": {"handle": handle}, "targets": "all"},
    )
    assert answer.status_code == 201, answer.text
    account: str = answer.json()["accounts"][0]["id"]
    return account


async def schedule(client: httpx2.AsyncClient, workspace: str, accounts: list[str], **more: Any) -> dict[str, Any]:
    answer = await client.post(
        f"/v1/workspaces/{workspace}/posts",
        json={"text": "Fresh rolls from six o'clock.", "account_ids": accounts, "schedule": "now"} | more,
    )
    assert answer.status_code == 201, answer.text
    post: dict[str, Any] = answer.json()
    return post


async def read(client: httpx2.AsyncClient, post: dict[str, Any]) -> dict[str, Any]:
    answer = await client.get(f"/v1/workspaces/{post['workspace_id']}/posts/{post['id']}")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def workspace(agency: TestAgency) -> str:
    from core.ids import encode

    return encode("wsp", agency.workspace.id)


async def on_sandbox(platform: Platform, external_url: str) -> dict[str, Any]:
    async with httpx2.AsyncClient() as anybody:
        answer = await anybody.get(external_url, headers={"Accept": "application/json"})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def test_a_post_goes_out_and_can_be_read_on_the_network(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        # Given a connected account
        account = await connect(client, workspace, "always_ok")
        # When a post is made for now and the workers have worked
        post = await schedule(client, workspace, [account])
        assert (post["state"], post["delivery"], post["publications"][0]["state"]) == ("scheduled", "scheduled", "scheduled")
        await platform.work()
        # Then it is published, with its address, and everybody can read it there
        found = await read(client, post)
        publication = found["publications"][0]
        assert (found["delivery"], publication["state"], publication["attempts"]) == ("published", "published", 1)
        assert (await on_sandbox(platform, publication["external_url"]))["text"] == "Fresh rolls from six o'clock."
        assert 0 <= publication["lateness_ms"] < 30_000


@pytest.mark.parametrize(
    ("handle", "waits", "state", "tries"),
    [
        ("slow", 0, "published", ["published"]),
        ("ambiguous_published", 0, "published", ["published"]),
        ("ambiguous_absent", SETTLED_S, "published", ["absent", "published"]),
        ("late_visible", SETTLED_S, "published", ["published"]),
        ("duplicate_error", 0, "published", ["published"]),
        ("rejects_content", 0, "failed", ["refused"]),
        ("token_revoked", 0, "blocked", ["refused"]),
    ],
)
async def test_every_behaviour_of_a_network_ends_in_the_truth(
    platform: Platform, agency: TestAgency, workspace: str, handle: str, waits: int, state: str, tries: list[str]
) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, handle)
        post = await schedule(client, workspace, [account])
        await platform.work()
        if waits:
            assert (await read(client, post))["publications"][0]["state"] == "outcome_unknown"
            await age(platform, waits)
            await platform.work()
        found = (await read(client, post))["publications"][0]
        assert found["state"] == state, found
        detail = await client.get(f"/v1/workspaces/{workspace}/publications/{found['id']}")
        assert [each["outcome"] for each in detail.json()["tries"]] == tries


async def age(platform: Platform, seconds: float) -> None:
    """Let time pass for what waits, for what was tried, and for what the sandbox hides."""
    import asyncpg

    await platform.let_pass(seconds)
    db = await asyncpg.connect(platform.context.settings.database_url)
    for statement in (
        "alter table attempts no force row level security",
        "alter table publications no force row level security",
        f"update attempts set started_at = started_at - interval '{seconds} s'",
        f"update publications set next_at = next_at - interval '{seconds} s',"
        f" unknown_since = unknown_since - interval '{seconds} s'",
        f"update sandbox_posts set visible_at = visible_at - interval '{seconds} s',"
        f" created_at = created_at - interval '{seconds} s'",
        "alter table attempts force row level security",
        "alter table publications force row level security",
    ):
        await db.execute(statement)
    await db.close()


async def test_a_network_that_is_down_costs_time_and_no_post(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "down")
        post = await schedule(client, workspace, [account])
        await platform.work()
        found = (await read(client, post))["publications"][0]
        assert found["state"] == "retry_wait"
        assert found["error"]["published_possible"] is False
        assert found["next_at"] > found["due_at"]


async def test_a_rate_limit_is_waited_for(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "rate_limited")
        post = await schedule(client, workspace, [account])
        for _ in range(3):
            await platform.work()
            await platform.let_pass(120)
        assert (await read(client, post))["publications"][0]["state"] == "published"


async def test_an_expired_token_is_refreshed_and_the_post_goes_out(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "token_expired")
        post = await schedule(client, workspace, [account])
        await platform.work()
        await platform.let_pass(1)
        await platform.work()
        found = (await read(client, post))["publications"][0]
        assert found["state"] == "published", found


async def test_a_blind_network_asks_a_person_and_believes_what_they_say(
    platform: Platform, agency: TestAgency, workspace: str
) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "blind")
        post = await schedule(client, workspace, [account])
        for _ in range(7):
            await platform.work()
            await age(platform, 700)
        found = (await read(client, post))["publications"][0]
        assert found["state"] == "needs_human"
        assert "resolve" in found["allowed_actions"]
        assert "retry" not in found["allowed_actions"]
        path = f"/v1/workspaces/{workspace}/publications/{found['id']}"
        assert (await client.post(f"{path}/retry")).status_code == 409
        answer = await client.post(f"{path}/resolve", json={"outcome": "published", "external_url": "https://example.com/1"})
        assert (answer.status_code, answer.json()["state"], answer.json()["resolution"]) == (200, "published", "person")


async def test_a_lost_authorisation_holds_the_queue_and_a_reconnect_lets_it_go(
    platform: Platform, agency: TestAgency, workspace: str
) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "token_revoked")
        first = await schedule(client, workspace, [account])
        await platform.work()
        seen = (await client.get(f"/v1/workspaces/{workspace}/accounts/{account}")).json()
        assert seen["state"] == "needs_reconnect"
        second = await schedule(client, workspace, [account])
        await platform.work()
        assert [(await read(client, post))["publications"][0]["block_reason"] for post in (first, second)] == ["auth", "auth"]
        again = await client.post(
            f"/v1/workspaces/{workspace}/accounts/{account}/reconnect", json={"credentials": {"handle": "token_revoked"}}
        )
        assert again.status_code == 201, again.text
        assert again.json()["accounts"][0]["id"] == account
        assert {(await read(client, post))["publications"][0]["state"] for post in (first, second)} == {"scheduled"}


async def test_a_paused_account_publishes_nothing_until_it_is_resumed(
    platform: Platform, agency: TestAgency, workspace: str
) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        await client.post(f"/v1/workspaces/{workspace}/accounts/{account}/pause")
        post = await schedule(client, workspace, [account])
        await platform.work()
        assert (await read(client, post))["publications"][0]["block_reason"] == "paused"
        await client.post(f"/v1/workspaces/{workspace}/accounts/{account}/resume")
        await platform.work()
        assert (await read(client, post))["publications"][0]["state"] == "published"


async def test_cancel_edit_and_reschedule_before_the_time(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
        post = await schedule(client, workspace, [account], schedule={"at": later}, external_ref="order-7")
        path = f"/v1/workspaces/{workspace}/posts/{post['id']}"
        assert (await client.patch(path, json={"text": "x"})).status_code == 428
        assert (await client.patch(path, json={"text": "x"}, headers={"If-Match": '"99"'})).status_code == 412
        edited = await client.patch(path, json={"text": "Better words."}, headers={"If-Match": f'"{post["version"]}"'})
        assert (edited.status_code, edited.json()["text"]) == (200, "Better words.")
        cancelled = await client.post(f"{path}/cancel")
        assert cancelled.json()["delivery"] == "cancelled"
        assert await platform.work() == 0
        again = await client.post(f"{path}/schedule", json={"schedule": "now"})
        assert again.json()["delivery"] == "scheduled", again.text
        await platform.work()
        found = await read(client, post)
        assert found["publications"][0]["state"] == "published"
        assert (await client.patch(path, json={"text": "late"}, headers={"If-Match": "*"})).status_code == 409
        assert (await client.delete(path)).status_code == 409


async def test_a_published_post_is_deleted_from_the_network(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        post = await schedule(client, workspace, [await connect(client, workspace, "always_ok")])
        await platform.work()
        publication = (await read(client, post))["publications"][0]
        answer = await client.delete(f"/v1/workspaces/{workspace}/publications/{publication['id']}")
        assert (answer.status_code, answer.json()["state"]) == (202, "unpublishing")
        await platform.work()
        assert (await read(client, post))["publications"][0]["state"] == "removed"
        async with httpx2.AsyncClient() as anybody:
            assert (await anybody.get(publication["external_url"])).status_code == 404


async def test_events_tell_the_story_in_order(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        await schedule(client, workspace, [await connect(client, workspace, "always_ok")])
        await platform.work()
        await told(client, "publication.published")
        seen: list[str] = []
        after = None
        while True:
            page = (await client.get("/v1/events", params={"limit": 2} | ({"after": after} if after else {}))).json()["data"]
            if not page:
                break
            seen += [event["type"] for event in page]
            after = page[-1]["id"]
        assert seen.index("post.created") < seen.index("publication.published")
        assert len(seen) == len(set(seen))


async def test_the_answer_to_a_creation_is_what_reading_gives(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        one, two = await connect(client, workspace, "always_ok-a"), await connect(client, workspace, "always_ok-b")
        at = {"at": "2027-03-28T02:30:00", "time_zone": "Europe/Berlin"}
        variants = [{"account_id": two, "text": "Other words.", "options": {"x": 1}}]
        for more in ({"schedule": at}, {"schedule": None}):
            post = await schedule(
                client, workspace, [one, two], variants=variants, metadata={"week": "12"}, external_ref=None, **more
            )
            assert post == await read(client, post)
