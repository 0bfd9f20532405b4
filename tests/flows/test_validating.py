"""Stories about the pre-flight: what would become of a post is told before it is stored, and nothing is."""

from dataclasses import replace
from typing import Any

import httpx2

from core.ids import encode, new_id
from tests.conftest import Platform, TestAgency
from tests.flows.test_publishing import connect, schedule
from tests.media.files import picture

LATER = {"at": "2027-06-01T09:00:00", "time_zone": "Europe/Berlin"}


async def validate(client: httpx2.AsyncClient, workspace: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"/v1/workspaces/{workspace}/posts/validate", json={"text": "Hello", "schedule": LATER} | body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def codes(found: dict[str, Any]) -> dict[str, str]:
    return {one["code"]: one["severity"] for one in found["findings"]}


async def test_a_post_is_judged_for_each_account_and_nothing_is_stored(platform: Platform, agency: TestAgency) -> None:
    workspace = encode("wsp", agency.workspace.id)
    async with platform.client(agency.key) as client:
        accounts = [await connect(client, workspace, handle) for handle in ("always_ok", "slow")]
        asset = (
            await client.post(f"/v1/workspaces/{workspace}/media", files={"file": ("a.png", picture("PNG"), "image/png")})
        ).json()
        long = {"account_id": accounts[1], "text": "x" * 5_001}
        found = await validate(client, workspace, account_ids=accounts, variants=[long], media=[{"asset_id": asset["id"]}])
        assert found["valid"] is False
        (error,) = [one for one in found["findings"] if one["severity"] == "error"]
        assert (error["code"], error["pointer"], error["account_id"]) == ("text_too_long", "/variants/0/text", accounts[1])
        assert (error["network"], error["actual"], error["limit"] < 5_001) == ("sandbox", 5_001, True)
        assert error["fix"]
        assert [one["pointer"] for one in found["findings"] if one["code"] == "alt_text_missing"] == ["/media/0"] * 2
        assert [one["check"] for one in found["skipped"]] == ["network_quota"] * 2
        assert (await client.get(f"/v1/workspaces/{workspace}/posts")).json()["data"] == []


async def test_what_creating_accepts_is_valid_and_what_it_refuses_is_not(platform: Platform, agency: TestAgency) -> None:
    workspace = encode("wsp", agency.workspace.id)
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        await schedule(client, workspace, [account], text="Fresh rolls", schedule=LATER)
        for body, status in (
            ({"text": "Bread"}, 201),
            ({"text": ""}, 422),
            ({"text": "x" * 60_000}, 422),
            ({"schedule": {"at": "2020-01-01T00:00:00Z"}}, 422),
            ({"schedule": {"at": "2020-01-01T00:00:00"}}, 422),
            ({"schedule": {"at": "2099-01-01T00:00:00Z"}}, 422),
            ({"text": "fresh rolls", "duplicate_policy": "reject"}, 409),
            ({"text": "fresh rolls", "duplicate_policy": "warn"}, 201),
        ):
            wish = {"text": "Hello", "schedule": LATER, "account_ids": [account]} | body
            found = await validate(client, workspace, **wish)
            answer = await client.post(f"/v1/workspaces/{workspace}/posts", json=wish)
            assert (answer.status_code, found["valid"]) == (status, status == 201), (body, found, answer.text)


async def test_a_double_is_named_with_a_time_at_which_it_would_be_none(platform: Platform, agency: TestAgency) -> None:
    workspace = encode("wsp", agency.workspace.id)
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        post = await schedule(client, workspace, [account], text="Fresh rolls", schedule=LATER)
        found = await validate(client, workspace, account_ids=[account], text="FRESH rolls")
        (double,) = [one for one in found["findings"] if one["code"] == "duplicate_content"]
        assert (double["severity"], double["pointer"], double["duplicate"]["post_id"]) == ("warning", "/text", post["id"])
        at = {"at": double["duplicate"]["stagger_at"]}
        assert "duplicate_content" not in codes(
            await validate(client, workspace, account_ids=[account], text="FRESH rolls", schedule=at)
        )
        silent = await validate(client, workspace, account_ids=[account], text="FRESH rolls", duplicate_policy="allow")
        assert "duplicate_content" not in codes(silent)


async def test_an_account_that_will_not_publish_is_told_before(platform: Platform, agency: TestAgency) -> None:
    workspace = encode("wsp", agency.workspace.id)
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        path = f"/v1/workspaces/{workspace}/accounts/{account}"
        await client.post(f"{path}/pause")
        assert codes(await validate(client, workspace, account_ids=[account]))["account_paused"] == "warning"
        await client.delete(path)
        found = await validate(client, workspace, account_ids=[account])
        assert (found["valid"], codes(found)["account_not_usable"]) == (False, "error")


async def test_a_token_that_dies_and_a_day_that_is_full_are_told_before_the_slot(platform: Platform, agency: TestAgency) -> None:
    workspace = encode("wsp", agency.workspace.id)
    sandbox = platform.app.state.networks["sandbox"]
    sandbox.capabilities = replace(sandbox.capabilities, token="static", posts_per_day=2)
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        assert codes(await validate(client, workspace, account_ids=[account])) == {"token_expires_before": "warning"}
        for hour in (7, 8):
            await schedule(client, workspace, [account], text=f"Text {hour}", schedule={"at": f"2027-06-01T0{hour}:00:00Z"})
        found = await validate(client, workspace, account_ids=[account], schedule={"at": "2027-06-01T09:00:00Z"})
        quota = next(one for one in found["findings"] if one["code"] == "network_quota")
        assert (quota["limit"], quota["actual"], quota["pointer"], found["skipped"]) == (2, 3, "/account_ids/0", [])
        assert "network_quota" not in codes(
            await validate(client, workspace, account_ids=[account], schedule={"at": "2027-06-02T08:30:00Z"})
        )


async def test_what_is_somebody_elses_is_refused_as_what_never_was(
    platform: Platform, agency: TestAgency, other: TestAgency
) -> None:
    workspace, foreign = encode("wsp", agency.workspace.id), encode("wsp", other.workspace.id)
    async with platform.client(agency.key) as client, platform.client(other.key) as stranger:
        theirs = await connect(stranger, foreign, "always_ok")
        await schedule(stranger, foreign, [theirs], text="Fresh rolls", schedule=LATER)
        path = f"/v1/workspaces/{workspace}/posts/validate"
        answers = [await client.post(path, json={"account_ids": [id]}) for id in (theirs, encode("acc", new_id()))]
        assert [(answer.status_code, answer.json()["errors"]) for answer in answers] == [(422, answers[1].json()["errors"])] * 2
        assert (await client.post(f"/v1/workspaces/{foreign}/posts/validate", json={"account_ids": [theirs]})).status_code == 404
        own = await connect(client, workspace, "always_ok")
        assert "duplicate_content" not in codes(await validate(client, workspace, account_ids=[own], text="Fresh rolls"))


async def test_a_caller_without_the_right_to_create_is_refused(platform: Platform, agency: TestAgency) -> None:
    workspace = encode("wsp", agency.workspace.id)
    async with platform.client(agency.key) as client:
        key = (await client.post("/v1/api-keys", json={"name": "reads", "scopes": ["post:read"]})).json()["key"]
    async with platform.client(key) as reader:
        answer = await reader.post(f"/v1/workspaces/{workspace}/posts/validate", json={"account_ids": [encode("acc", new_id())]})
    assert (answer.status_code, answer.json()["required_permission"]) == (403, "post:create")
