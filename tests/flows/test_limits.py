"""What a network still takes of an account: counted from what really went out, and from what is due."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx2

from core.clock import now
from core.db import Database
from core.ids import encode, new_id
from core.wire import write_instant
from tests.conftest import Platform, TestAgency, client_of
from tests.flows.test_publishing import connect, schedule

QUOTA = 5
DAY = timedelta(hours=24)


async def limits_of(client: httpx2.AsyncClient, workspace: str, account: str) -> dict[str, Any]:
    answer = await client.get(f"/v1/workspaces/{workspace}/accounts/{account}/limits")
    assert answer.status_code == 200, answer.text
    read: dict[str, Any] = answer.json()
    return read


async def test_what_went_out_and_what_is_due_is_taken_off_the_networks_quota(
    platform: Platform, agency: TestAgency, database: Database
) -> None:
    workspace = encode("wsp", agency.workspace.id)
    sandbox = platform.app.state.networks["sandbox"]
    sandbox.capabilities = replace(sandbox.capabilities, posts_per_day=QUOTA)
    async with platform.client(agency.key) as client:
        account, other = [await connect(client, workspace, handle) for handle in ("always_ok", "slow")]
        fresh = (await limits_of(client, workspace, account))["posts"]
        assert fresh == {
            "quota": 5, "window_s": 86_400, "used": 0, "scheduled": 0, "remaining": 5, "free": 5, "resets_at": None,
        }  # fmt: skip
        posts = [await schedule(client, workspace, [account], text=text, schedule="now") for text in ("One", "Two")]
        await platform.work("publish")
        for later in (timedelta(hours=3), timedelta(days=3)):
            at = {"at": write_instant(now() + later)}
            await schedule(client, workspace, [account], text=f"In {later}", schedule=at)
        await schedule(client, workspace, [other], text="Elsewhere", schedule={"at": write_instant(now() + timedelta(hours=1))})
        seen = await limits_of(client, workspace, account)
        used = [(await client.get(f"/v1/workspaces/{workspace}/posts/{post['id']}")).json() for post in posts]
        first = min(datetime.fromisoformat(post["publications"][0]["published_at"]) for post in used)
        assert seen["posts"] == fresh | {
            "used": 2, "scheduled": 1, "remaining": 3, "free": 2, "resets_at": write_instant(first + DAY),
        }  # fmt: skip
        assert (seen["account_id"], seen["network"], seen["text"]["max_length"]) == (account, "sandbox", 500)
        async with database.connection(agency.tenant) as db:
            await db.execute("update publications set published_at = published_at - interval '25 hours'")
        later = (await limits_of(client, workspace, account))["posts"]
        assert later == fresh | {"scheduled": 1, "free": 4}


async def test_what_may_stand_there_is_counted_as_if_it_did(platform: Platform, agency: TestAgency) -> None:
    workspace = encode("wsp", agency.workspace.id)
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "late_visible")
        post = await schedule(client, workspace, [account], text="Perhaps", schedule="now")
        await platform.work("publish")
        seen = (await client.get(f"/v1/workspaces/{workspace}/posts/{post['id']}")).json()
        assert seen["publications"][0]["state"] == "outcome_unknown"
        counted = (await limits_of(client, workspace, account))["posts"]
        assert (counted["used"], counted["scheduled"], counted["resets_at"] is None) == (1, 0, False)


async def test_a_network_that_names_no_figure_leaves_none(platform: Platform, agency: TestAgency) -> None:
    workspace = encode("wsp", agency.workspace.id)
    async with platform.client(agency.key) as client:
        account = await connect(client, workspace, "always_ok")
        posts = (await limits_of(client, workspace, account))["posts"]
        assert (posts["quota"], posts["remaining"], posts["free"], posts["used"]) == (None, None, None, 0)
        networks = {one["name"]: one["posts_per_day"] for one in (await client.get("/v1/networks")).json()["data"]}
        assert networks == {"bluesky": 17_500, "sandbox": None}


async def test_a_bluesky_account_has_its_networks_points_and_rules(
    platform: Platform, agency: TestAgency, database: Database
) -> None:
    live = agency.sibling
    assert live is not None
    account = new_id()
    async with database.connection(live.tenant) as db:
        await db.execute(
            "insert into accounts (agency_id, workspace_id, id, network, external_id, name)"
            " values ($1, $2, $3, 'bluesky', 'did:plc:bakery', 'Bakery')",
            live.actor.agency_id, live.workspace.id, account,
        )  # fmt: skip
    async with client_of(platform.app, live.key) as client:
        seen = await limits_of(client, encode("wsp", live.workspace.id), encode("acc", account))
    assert (seen["posts"]["quota"], seen["posts"]["remaining"]) == (17_500, 17_500)
    assert (seen["text"]["max_length"], seen["text"]["unit"], seen["media"]["max_count"]) == (300, "graphemes", 4)
