"""Stories about many posts at a time: a batch that is answered at once, a sheet that becomes an operation, and the nightly look."""

import asyncio
from typing import Any

import httpx2
import pytest

from core import duties
from core.errors import TemporarilyUnavailable
from core.ids import encode, new_id
from core.store import NotStoredError
from tests.conftest import Platform, TestAgency
from tests.events import told
from tests.flows.test_publishing import connect, read, schedule
from workers.duties import run_batch

LATER = {"at": "2027-06-01T09:00:00", "time_zone": "Europe/Berlin"}


def base(agency: TestAgency) -> str:
    return f"/v1/workspaces/{encode('wsp', agency.workspace.id)}"


async def how_many(client: httpx2.AsyncClient, agency: TestAgency) -> int:
    return len((await client.get(f"{base(agency)}/posts", params={"limit": 100})).json()["data"])


def item(account: str, number: int, **more: Any) -> dict[str, Any]:
    return {"client_ref": f"r{number}", "post": {"text": f"Text {number}", "account_ids": [account], "schedule": LATER} | more}


async def test_a_batch_answers_for_each_item_what_a_request_of_its_own_would(platform: Platform, agency: TestAgency) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, base(agency).rpartition("/")[2], "always_ok")
        foreign = encode("acc", new_id())
        items = [
            item(account, 0, external_ref="one"),
            item(account, 1, text="x" * 501),
            item(account, 2, txet="typo"),
            item(foreign, 3),
            item(account, 4, external_ref="one"),
            item(account, 5, schedule={"at": "2020-01-01T00:00:00Z"}),
            item(account, 6, schedule=None),
        ]
        singles = [(await client.post(f"{base(agency)}/posts/validate", json=one["post"])).status_code for one in items[2:4]]
        answer = await client.post(f"{base(agency)}/posts/bulk", json={"items": items})
        found = answer.json()
        assert (answer.status_code, found["succeeded"], found["failed"]) == (200, 2, 5)
        assert [one["client_ref"] for one in found["data"]] == [f"r{number}" for number in range(7)]
        codes = [one["problem"] and one["problem"]["code"] for one in found["data"]]
        refusals = ["post_invalid", "validation_failed", "validation_failed", "external_ref_exists", "in_the_past"]
        assert codes == [None, *refusals, None]
        assert [one["status"] for one in found["data"]] == [201, 422, 422, 422, 409, 422, 201]
        assert singles == [422, 422]
        assert found["data"][2]["problem"]["errors"][0]["pointer"] == "/txet"
        stored = found["data"][0]["post"]
        assert await read(client, stored) == stored
        assert await how_many(client, agency) == 2


async def test_an_atomic_batch_stores_all_or_none(platform: Platform, agency: TestAgency) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, base(agency).rpartition("/")[2], "always_ok")
        items = [item(account, 0), item(account, 1, text="x" * 501), item(account, 2)]
        found = (await client.post(f"{base(agency)}/posts/bulk", json={"items": items, "atomic": True})).json()
        codes = [one["problem"]["code"] for one in found["data"]]
        assert (found["succeeded"], codes) == (0, ["bulk_rolled_back", "post_invalid", "bulk_rolled_back"])
        assert await how_many(client, agency) == 0
        found = (await client.post(f"{base(agency)}/posts/bulk", json={"items": items[::2], "atomic": True})).json()
        assert (found["succeeded"], await how_many(client, agency)) == (2, 2)


async def test_a_batch_whose_answer_was_lost_is_repeated_whole_or_by_item_without_doubles(
    platform: Platform, agency: TestAgency
) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, base(agency).rpartition("/")[2], "always_ok")
        body = {"items": [item(account, number) for number in range(3)]}
        path, key = f"{base(agency)}/posts/bulk", {"Idempotency-Key": "batch-1"}
        answers = await asyncio.gather(*(client.post(path, json=body, headers=key) for _ in range(5)))
        assert {answer.status_code for answer in answers} <= {200, 409}
        first = await client.post(path, json=body, headers=key)
        assert first.headers["Idempotent-Replayed"] == "true"
        # An item of it, as a post of its own
        single = await client.post(f"{base(agency)}/posts", json=body["items"][1]["post"], headers={"Idempotency-Key": "batch-1:1"})
        assert (single.status_code, single.headers["Idempotent-Replayed"]) == (201, "true")
        assert single.json() == first.json()["data"][1]["post"]
        assert single.headers["Location"].endswith(single.json()["id"])
        # And the other way round: a post of its own, then the batch
        alone = await client.post(f"{base(agency)}/posts", json=item(account, 9)["post"], headers={"Idempotency-Key": "batch-2:1"})
        body = {"items": [item(account, 8), item(account, 9), item(account, 10)]}
        second = (await client.post(path, json=body, headers={"Idempotency-Key": "batch-2"})).json()
        assert (second["succeeded"], second["data"][1]["post"]["id"]) == (3, alone.json()["id"])
        other = {"Idempotency-Key": "batch-1"}
        assert (await client.post(path, json={"items": [item(account, 5)]}, headers=other)).json()["code"] == "idempotency_mismatch"
        assert await how_many(client, agency) == 6


async def test_a_hundred_fit_and_more_do_not_and_who_may_not_schedule_makes_drafts(platform: Platform, agency: TestAgency) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, base(agency).rpartition("/")[2], "always_ok")
        path = f"{base(agency)}/posts/bulk"
        hundred = {"items": [item(account, number, text=f"{number} " + "ж" * 480) for number in range(100)]}
        assert (await client.post(path, json=hundred)).json()["succeeded"] == 100
        assert (await client.post(path, json={"items": hundred["items"] * 2})).status_code == 422
        assert (await client.post(path, json={"items": []})).status_code == 422
        key = (await client.post("/v1/api-keys", json={"name": "drafts", "scopes": ["post:create", "post:read"]})).json()["key"]
    async with platform.client(key) as drafter:
        found = (await drafter.post(path, json={"items": [item(account, 0), item(account, 1, schedule=None)]})).json()
        assert [one["status"] for one in found["data"]] == [403, 201]


async def send(client: httpx2.AsyncClient, agency: TestAgency, text: str, **more: Any) -> httpx2.Response:
    headers = {"Content-Type": "text/csv; charset=utf-8"} | more.pop("headers", {})
    return await client.post(f"{base(agency)}/posts/import", content=text.encode(), headers=headers, **more)


async def test_a_sheet_becomes_an_operation_that_tells_about_each_row(
    platform: Platform, agency: TestAgency, other: TestAgency
) -> None:
    async with platform.client(agency.key) as client, platform.client(other.key) as stranger:
        account = await connect(client, base(agency).rpartition("/")[2], "always_ok")
        rows = [
            "client_ref,text,account_ids,at,time_zone",
            f"a,=1+1,{account},2027-06-01T09:00,Europe/Berlin",
            f'b,"Two\nlines",{account},,',
            f"c,x,{account},2020-01-01T09:00,Europe/Berlin",
            "d,x,nonsense,,",
            f"e,x,{encode('acc', new_id())},,",
            f"f,x,{account},,,,too,many",
        ]
        taken = await send(client, agency, "\r\n".join(rows))
        assert (taken.status_code, taken.json()["state"], taken.json()["progress"]) == (202, "queued", 0)
        path = taken.headers["Location"]
        await platform.work("operation")
        done = (await client.get(path)).json()
        assert (done["state"], done["progress"], done["problem"]) == ("succeeded", 100, None)
        found = {row["client_ref"]: row for row in done["result"]["rows"]}
        assert {name: row["status"] for name, row in found.items()} == {"a": 201, "b": 201, "c": 422, "d": 422, "e": 422, "f": 422}
        assert (found["a"]["row"], found["c"]["problem"]["code"]) == (2, "in_the_past")
        assert (done["result"]["succeeded"], done["result"]["failed"]) == (2, 4)
        post = (await client.get(f"{base(agency)}/posts/{found['a']['post_id']}")).json()
        assert (post["text"], post["state"]) == ("=1+1", "scheduled")
        events = await told(client, "operation.completed")
        assert [(event["subject"], event["data"]["succeeded"]) for event in events] == [(done["id"], 2)]
        # Somebody else finds no operation there
        assert (await stranger.get(path)).status_code == 404
        never = await stranger.get(f"/v1/operations/{encode('opr', new_id())}")
        assert never.status_code == 404


async def test_a_dry_run_judges_every_row_and_stores_none(platform: Platform, agency: TestAgency) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, base(agency).rpartition("/")[2], "always_ok")
        sheet = f"text,account_ids,at\nfine,{account},now\n{'x' * 501},{account},now\nx,nonsense,\n"
        path = (await send(client, agency, sheet, params={"dry_run": "true"})).headers["Location"]
        await platform.work("operation")
        rows = (await client.get(path)).json()["result"]["rows"]
        assert [row["status"] for row in rows] == [200, 422, 422]
        assert rows[1]["findings"][0]["code"] == "text_too_long"
        assert await how_many(client, agency) == 0


async def test_the_same_sheet_under_one_key_is_one_operation(platform: Platform, agency: TestAgency) -> None:
    async with platform.client(agency.key) as client:
        account = await connect(client, base(agency).rpartition("/")[2], "always_ok")
        key = {"Idempotency-Key": "sheet-1"}
        sheet = f"text,account_ids\nfine,{account}\n"
        first, second = [await send(client, agency, sheet, headers=key) for _ in range(2)]
        assert (first.json(), second.headers["Idempotent-Replayed"]) == (second.json(), "true")
        assert (await send(client, agency, sheet + "more,x\n", headers=key)).json()["code"] == "idempotency_mismatch"
        await platform.work("operation")
        assert await how_many(client, agency) == 1


async def test_a_sheet_that_cannot_be_read_is_refused_at_once(platform: Platform, agency: TestAgency) -> None:
    async with platform.client(agency.key) as client:
        cases: list[tuple[str, dict[str, str], int, str]] = [
            ('text,account_ids\n"never closed', {}, 400, "invalid_csv"),
            ("", {}, 400, "body_required"),
            ("text,account_ids\n", {"Content-Type": "application/json"}, 415, "unsupported_content_type"),
            ("text,account_ids\n", {"Content-Type": "text/csv; charset=utf-16"}, 415, "unsupported_content_type"),
            ("text,account_ids\n", {"Content-Encoding": "gzip"}, 415, "unsupported_encoding"),
            ("x" * (5 * 1024 * 1024 + 1), {}, 413, "body_too_large"),
        ]
        for text, headers, status, code in cases:
            answer = await send(client, agency, text, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (status, code), headers


async def test_an_operation_goes_on_after_a_crash_and_a_second_delivery_repeats_nothing(
    platform: Platform, agency: TestAgency, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers import operations

    monkeypatch.setattr(operations, "STEP_MAX", 5)
    async with platform.client(agency.key) as client:
        account = await connect(client, base(agency).rpartition("/")[2], "always_ok")
        sheet = "text,account_ids\n" + "".join(f"Text {number},{account}\n" for number in range(23))
        path = (await send(client, agency, sheet)).headers["Location"]
        # Given a worker that dies in its third step
        real, calls = operations.move, 0

        async def dying(*arguments: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise asyncio.CancelledError
            await real(*arguments)

        monkeypatch.setattr(operations, "move", dying)
        async with platform.context.duties_pool.acquire() as db:
            claimed = await duties.claim(db, "operation", 100, platform.context.settings.lease, 100)
        with pytest.raises(asyncio.CancelledError):
            await run_batch(platform.context, "operation", claimed)
        half = (await client.get(path)).json()
        assert (half["state"], half["progress"], await how_many(client, agency)) == ("running", 43, 10)
        # When its lease is over, and the old message comes once more beside the new one
        async with platform.context.duties_pool.acquire() as db:
            await db.execute("update duties set lease_until = now() - interval '1 s' where kind = 'operation'")
            again = await duties.claim(db, "operation", 100, platform.context.settings.lease, 100)
        await asyncio.gather(*(run_batch(platform.context, "operation", rows) for rows in (claimed, again, again)))
        # Then every row was done once
        done = (await client.get(path)).json()
        assert (done["state"], done["result"]["succeeded"], await how_many(client, agency)) == ("succeeded", 23, 23)
        assert [row["row"] for row in done["result"]["rows"]] == list(range(2, 25))
        assert len(await told(client, "operation.completed")) == 1


async def test_an_operation_waits_for_the_store_and_fails_when_its_bytes_are_gone(
    platform: Platform, agency: TestAgency, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform.client(agency.key) as client:
        path = (await send(client, agency, "text,account_ids\nx,y\n")).headers["Location"]
        store = type(platform.context.store)
        real = store.get

        async def away(_self: Any, _key: str) -> bytes:
            raise TemporarilyUnavailable

        monkeypatch.setattr(store, "get", away)
        await platform.work("operation")
        assert (await client.get(path)).json()["state"] == "queued"
        monkeypatch.setattr(store, "get", real)
        async with platform.context.database.connection(agency.tenant) as db:
            await platform.context.store.delete(await db.fetchval("select storage_key from operations"))
        await platform.let_pass(60)
        await platform.work("operation")
        failed = (await client.get(path)).json()
        assert (failed["state"], failed["problem"]["code"]) == ("failed", "internal_error")


async def test_an_operation_that_ends_workers_is_given_up_and_its_bytes_are_deleted(platform: Platform, agency: TestAgency) -> None:
    async with platform.client(agency.key) as client:
        path = (await send(client, agency, "text,account_ids\nx,y\n")).headers["Location"]
        async with platform.context.database.connection(agency.tenant) as db:
            key = await db.fetchval("select storage_key from operations")
        async with platform.context.duties_pool.acquire() as worker:
            await worker.execute("update duties set starts = 5 where kind = 'operation'")
        await platform.work("operation")
        failed = (await client.get(path)).json()
        assert (failed["state"], failed["problem"]["code"]) == ("failed", "internal_error")
        with pytest.raises(NotStoredError):
            await platform.context.store.get(key)
        async with platform.context.duties_pool.acquire() as worker:
            assert await worker.fetchval("select count(*) from duties where kind = 'operation'") == 0


async def test_what_turns_bad_overnight_is_told_once(platform: Platform, agency: TestAgency, other: TestAgency) -> None:
    async with platform.client(agency.key) as client, platform.client(other.key) as stranger:
        accounts = [await connect(client, base(agency).rpartition("/")[2], handle) for handle in ("always_ok", "slow")]
        post = await schedule(client, base(agency).rpartition("/")[2], accounts, schedule=LATER)
        fine = await schedule(client, base(agency).rpartition("/")[2], accounts[:1], schedule=LATER, text="Something else entirely")

        async def night(at_least: int = 1) -> list[dict[str, Any]]:
            await platform.let_pass(86_400)
            await platform.work("findings")
            return await told(client, "post.findings_changed", at_least=at_least)

        first = await night()
        assert [event["subject"] for event in first] == [post["id"]]  # one text at one network twice
        assert await night() == first
        # When an account is paused, its post turns bad, and that is told, once
        await client.post(f"{base(agency)}/accounts/{accounts[1]}/pause")
        second = await night(2)
        assert [event["subject"] for event in second[1:]] == [post["id"]]
        paused = next(one for one in second[1]["data"]["findings"] if one["code"] == "account_paused")
        assert (paused["account_id"], paused["severity"]) == (accounts[1], "warning")
        place = int(paused["pointer"].rpartition("/")[2])
        assert post["publications"][place]["account_id"] == accounts[1]
        assert await night() == second
        # When it is well again nothing is told, and when it is paused again it is
        await client.post(f"{base(agency)}/accounts/{accounts[1]}/resume")
        assert await night() == second
        await client.post(f"{base(agency)}/accounts/{accounts[1]}/pause")
        assert len(await night(3)) == 3
        assert fine["id"] not in {event["subject"] for event in await night()}
        assert (await stranger.get("/v1/events", params={"type": "post.findings_changed"})).json()["data"] == []


async def test_every_agency_and_its_twin_have_their_nightly_look(platform: Platform, agency: TestAgency) -> None:
    assert agency.sibling is not None
    async with platform.context.duties_pool.acquire() as db:
        found = await db.fetch("select agency_id from duties where kind = 'findings'")
    assert {row["agency_id"] for row in found} == {agency.actor.agency_id, agency.sibling.actor.agency_id}
