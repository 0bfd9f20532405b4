"""One publication never harms another, and nothing stays where it cannot leave: stories found by reading against the code."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from core import duties
from core.clock import now
from core.ids import decode, encode
from networks.base import Receipt, Unauthorized
from tests.conftest import Platform, TestAgency
from tests.flows.test_publishing import age, connect, read, schedule
from tests.media.files import picture
from workers import tasks


@pytest.fixture
def workspace(agency: TestAgency) -> str:
    return encode("wsp", agency.workspace.id)


async def upload(client: Any, workspace: str) -> dict[str, Any]:
    answer = await client.post(f"/v1/workspaces/{workspace}/media", files={"file": ("a.png", picture("PNG"), "image/png")})
    asset: dict[str, Any] = answer.json()
    return asset


async def test_a_store_that_fails_for_one_post_leaves_the_others_their_answers(
    platform: Platform, agency: TestAgency, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform.client(agency.key) as client:
        one, two = await connect(client, workspace, "always_ok-a"), await connect(client, workspace, "always_ok-b")
        asset = await upload(client, workspace)

        async def away(_key: str) -> bytes:
            raise OSError("the store is away")

        monkeypatch.setattr(platform.context.store, "get", away)
        bad = await schedule(client, workspace, [one], media=[{"asset_id": asset["id"]}])
        good = await schedule(client, workspace, [two])
        await platform.work()
        assert (await read(client, good))["publications"][0]["state"] == "published"
        assert (await read(client, bad))["publications"][0]["state"] == "retry_wait"
        monkeypatch.undo()
        await platform.let_pass(60)
        await platform.work()
        assert (await read(client, bad))["publications"][0]["state"] == "published"


async def test_an_error_of_the_database_between_two_steps_delays_one_post_by_one_try(
    platform: Platform, agency: TestAgency, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        asset = await upload(client, workspace)
        stored, failed = tasks.store_handles, []

        async def fails_once(*given: Any) -> None:
            await stored(*given)
            if not failed:
                failed.append(True)
                raise asyncpg.PostgresError("as if the answer could not be stored")

        monkeypatch.setattr(tasks, "store_handles", fails_once)
        post = await schedule(client, workspace, [account], media=[{"asset_id": asset["id"]}])
        await platform.work()
        assert failed
        assert (await read(client, post))["publications"][0]["state"] == "retry_wait"
        await platform.let_pass(60)
        await platform.work()
        assert (await read(client, post))["publications"][0]["state"] == "published"


async def test_a_new_time_uploads_the_files_anew(
    platform: Platform, agency: TestAgency, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "rate_limited")
        asset = await upload(client, workspace)
        network, steps = platform.context.networks["sandbox"], []
        prepare = network.prepare

        async def counted(step: str, call: Any) -> Any:
            steps.append(step)
            return await prepare(step, call)

        monkeypatch.setattr(network, "prepare", counted)
        post = await schedule(client, workspace, [account], media=[{"asset_id": asset["id"]}])
        await platform.work()
        # Given a post that the network has put off: the next try by itself uploads nothing again
        assert (await read(client, post))["publications"][0]["state"] == "retry_wait"
        assert len(steps) == 1
        path = f"/v1/workspaces/{workspace}/posts/{post['id']}"
        # When somebody gives it another time, by which the network may have swept the file away
        later = await client.post(f"{path}/schedule", json={"schedule": "now"}, headers={"If-Match": "*"})
        assert later.status_code == 200, later.text
        await platform.work()
        assert len(steps) == 2


async def test_an_account_that_is_added_goes_with_the_others_or_waits_for_a_time(
    platform: Platform, agency: TestAgency, workspace: str
) -> None:
    async with platform.client(agency.key) as client:
        bad, good = await connect(client, workspace, "rejects_content"), await connect(client, workspace, "always_ok")
        scopes = ["post:read", "post:create", "post:update"]
        key = (await client.post("/v1/api-keys", json={"name": "writer", "scopes": scopes})).json()["key"]
        # Given a post that failed, and one that is to go out tomorrow
        failed = await schedule(client, workspace, [bad])
        await platform.work()
        coming = await schedule(client, workspace, [bad], schedule={"at": (now() + timedelta(days=1)).isoformat()})
        added: list[tuple[str, dict[str, Any]]] = []
        async with platform.client(key) as writer:
            for caller, post in ((writer, failed), (writer, coming), (client, failed), (client, coming)):
                path = f"/v1/workspaces/{workspace}/posts/{post['id']}"
                wish = {"account_ids": [bad, good], "text": "Something else"}
                answer = await caller.patch(path, json=wish, headers={"If-Match": "*"})
                assert answer.status_code == 200, answer.text
                added.append(next((one["state"], one) for one in answer.json()["publications"] if one["account_id"] == good))
                await client.patch(path, json={"account_ids": [bad]}, headers={"If-Match": "*"})
        # Then nothing goes out at once, nor at all by who may not schedule
        assert [state for state, _ in added] == ["planned", "planned", "planned", "scheduled"]


async def test_what_a_post_allows_is_what_it_takes(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        post = await schedule(client, workspace, [await connect(client, workspace, "rejects_content")])
        await platform.work()
        found = await read(client, post)
        assert found["publications"][0]["state"] == "failed"
        assert "delete" not in found["allowed_actions"]
        path = f"/v1/workspaces/{workspace}/posts/{post['id']}"
        assert (await client.delete(path, headers={"If-Match": "*"})).status_code == 409
        two = [await connect(client, workspace, f"{name}-2") for name in ("ambiguous_absent", "down")]
        unknown = await schedule(client, workspace, two)
        await platform.work()
        found = await read(client, unknown)
        assert "outcome_unknown" in {one["state"] for one in found["publications"]}
        assert not {"schedule", "cancel", "archive", "delete"} & set(found["allowed_actions"])


async def test_a_queue_that_is_worked_on_is_ready_however_late(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        for number in range(2):
            await schedule(client, workspace, [account], text=f"Post {number}")
        await platform.let_pass(120)
        db = platform.context.duties_pool

        async def ready() -> bool:
            checks = (await client.get("/readyz")).json()["checks"]
            assert checks["publishing"]["oldest_due"] is not None
            return bool(checks["publishing"]["ok"])

        assert not await ready(), "nobody works"
        async with db.acquire() as one:
            claimed = await duties.claim(one, "publish", 10, timedelta(seconds=30), 1_000)
        assert len(claimed) == 1, "the other one waits for its account"
        assert await ready()
        async with db.acquire() as one:
            await one.execute("update duties set lease_until = now() - interval '1 second' where state = 'leased'")
        assert not await ready(), "whoever worked is gone"


async def test_a_file_that_is_gone_fails_its_post_and_no_other(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        one, two = await connect(client, workspace, "always_ok-a"), await connect(client, workspace, "always_ok-b")
        asset = await upload(client, workspace)
        bad = await schedule(client, workspace, [one], media=[{"asset_id": asset["id"]}])
        async with platform.context.database.connection(agency.tenant) as db:
            await db.execute("delete from asset_versions")
        good = await schedule(client, workspace, [two])
        await platform.work()
        assert (await read(client, good))["publications"][0]["state"] == "published"
        failed = (await read(client, bad))["publications"][0]
        assert (failed["state"], failed["error"]["class"]) == ("failed", "media_missing")


async def test_an_edit_between_tries_sends_the_new_content(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        # Given a post with a picture whose upload is stored, and whose call is refused for a while
        account = await connect(client, workspace, "rate_limited")
        first, second = await upload(client, workspace), await upload(client, workspace)
        post = await schedule(client, workspace, [account], media=[{"asset_id": first["id"], "alt_text": "old"}])
        await platform.work()
        assert (await read(client, post))["publications"][0]["state"] == "retry_wait"
        # When people change picture and words
        path = f"/v1/workspaces/{workspace}/posts/{post['id']}"
        media = [{"asset_id": second["id"], "alt_text": "new"}]
        edited = await client.patch(path, json={"text": "New words.", "media": media}, headers={"If-Match": "*"})
        assert edited.status_code == 200, edited.text
        for _ in range(3):
            await platform.let_pass(200)
            await platform.work()
        # Then what goes out is new, all of it
        found = (await read(client, post))["publications"][0]
        assert found["state"] == "published", found
        async with platform.context.database.session() as session:
            from sqlalchemy import text

            row = (await session.execute(text("select text, media from sandbox_posts where text = 'New words.'"))).one()
        assert [item["alt"] for item in row.media] == ["new"]


async def test_a_look_that_began_too_early_is_not_believed_however_late_the_call_was(
    platform: Platform, agency: TestAgency, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform.client(agency.key) as client:
        accounts = [await connect(client, workspace, f"late_visible-{number}") for number in range(3)]
        monkeypatch.setattr(platform.context.calls, "_value", 1)
        posts = [await schedule(client, workspace, [account], text=f"once {account}") for account in accounts]
        await platform.work()
        await age(platform, 25)  # visible, but not yet settled for everybody
        await platform.work()
        await age(platform, 40)
        await platform.work()
        for post in posts:
            found = (await read(client, post))["publications"][0]
            assert (found["state"], found["attempts"]) == ("published", 1), found


async def test_a_resume_that_crosses_the_claim_leaves_nothing_blocked(
    platform: Platform, agency: TestAgency, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers import publishing

    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        await client.post(f"/v1/workspaces/{workspace}/accounts/{account}/pause")
        post = await schedule(client, workspace, [account])
        real = publishing.load

        async def slow(*arguments: Any) -> Any:
            jobs = await real(*arguments)
            await client.post(f"/v1/workspaces/{workspace}/accounts/{account}/resume")
            return jobs

        monkeypatch.setattr(publishing, "load", slow)
        await platform.work()
        monkeypatch.undo()
        await platform.work()
        assert (await read(client, post))["publications"][0]["state"] == "published"


async def test_an_old_tokens_refusal_after_a_reconnect_blocks_nothing(
    platform: Platform, agency: TestAgency, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        network = platform.context.networks["sandbox"]

        async def refused(_call: Any) -> Receipt:
            body = {"credentials": {"handle": "always_ok"}}
            await client.post(f"/v1/workspaces/{workspace}/accounts/{account}/reconnect", json=body)
            raise Unauthorized("The old token is dead.")

        monkeypatch.setattr(network, "publish", refused)
        post = await schedule(client, workspace, [account])
        async with platform.context.duties_pool.acquire() as db:
            from core import duties
            from workers.duties import run_batch

            claimed = await duties.claim(db, "publish", 10, platform.context.settings.lease, 100)
        await run_batch(platform.context, "publish", claimed)
        monkeypatch.undo()
        await platform.work()
        assert (await read(client, post))["publications"][0]["state"] == "published"


async def test_pause_disconnect_reconnect_leaves_nothing_behind(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        path = f"/v1/workspaces/{workspace}/accounts/{account}"
        await client.post(f"{path}/pause")
        post = await schedule(client, workspace, [account])
        await platform.work()
        await client.delete(path)
        assert (await client.post(f"{path}/reconnect", json={"credentials": {"handle": "always_ok"}})).status_code == 201
        await platform.work()
        assert (await read(client, post))["publications"][0]["state"] == "published"


async def test_deleting_from_a_disconnected_account_ends(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        post = await schedule(client, workspace, [account])
        await platform.work()
        await client.delete(f"/v1/workspaces/{workspace}/accounts/{account}")
        publication = (await read(client, post))["publications"][0]["id"]
        assert (await client.delete(f"/v1/workspaces/{workspace}/publications/{publication}")).status_code == 202
        await platform.work()
        found = (await read(client, post))["publications"][0]
        assert (found["state"], found["error"]["class"]) == ("published", "authorisation_lost")


async def test_an_answer_that_names_another_publications_post_harms_nobody_else(
    platform: Platform, agency: TestAgency, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform.client(agency.key) as client:
        one, two = await connect(client, workspace, "always_ok-a"), await connect(client, workspace, "always_ok-b")
        first = await schedule(client, workspace, [one])
        await platform.work()
        known = (await read(client, first))["publications"][0]["external_id"]
        network = platform.context.networks["sandbox"]
        real = network.publish

        async def confused(call: Any) -> Receipt:
            return Receipt(known, None) if call.account.external_id.endswith("a") else await real(call)

        monkeypatch.setattr(network, "publish", confused)
        wrong, right = await schedule(client, workspace, [one], text="another"), await schedule(client, workspace, [two])
        await platform.work()
        assert (await read(client, right))["publications"][0]["state"] == "published"
        found = (await read(client, wrong))["publications"][0]
        assert (found["state"], found["error"]["class"]) == ("needs_human", "conflicting_answer")


async def test_an_archived_post_takes_no_retry(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        post = await schedule(client, workspace, [await connect(client, workspace, "rejects_content")])
        await platform.work()
        publication = (await read(client, post))["publications"][0]["id"]
        await client.post(f"/v1/workspaces/{workspace}/posts/{post['id']}/archive")
        answer = await client.post(f"/v1/workspaces/{workspace}/publications/{publication}/retry")
        assert (answer.status_code, answer.json()["code"]) == (409, "state_conflict")


async def test_a_publication_without_a_duty_is_found_and_goes_out(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        post = await schedule(client, workspace, [await connect(client, workspace, "always_ok")])
        id = decode("pub", post["publications"][0]["id"])
        async with platform.context.database.connection(agency.tenant) as db:
            await db.execute("delete from duties where subject_id = $1", id)
        assert await platform.work() == 0
        await platform.let_pass(timedelta(days=2).total_seconds())
        await platform.work("cleanup")
        await platform.work()
        assert (await read(client, post))["publications"][0]["state"] == "published"


async def test_fifty_requests_at_once_with_one_key_make_one_post(platform: Platform, agency: TestAgency, workspace: str) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        later = {"at": "2027-06-01T09:00:00", "time_zone": "UTC"}
        body = {"text": "once", "account_ids": [account], "schedule": later}
        path = f"/v1/workspaces/{workspace}/posts"
        answers = await asyncio.gather(*(client.post(path, json=body, headers={"Idempotency-Key": "k"}) for _ in range(50)))
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
        assert len((await client.get(path)).json()["data"]) == 1
        async with platform.context.database.connection(agency.tenant) as db:
            assert await db.fetchval("select count(*) from duties where kind = 'publish'") == 1
        again = await client.post(path, json=body, headers={"Idempotency-Key": '"k"'})
        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
        other = await client.post(path, json=body | {"text": "else"}, headers={"Idempotency-Key": "k"})
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
