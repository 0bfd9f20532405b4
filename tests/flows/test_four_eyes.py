"""Four eyes, through the door: who writes and who sends, as a member, by its keys and tokens, and by keys of the operator."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from core.db import Database
from core.ids import decode
from tenants.permissions import Permission
from tests.applications.flow import workspace_of
from tests.applications.issuing import issue
from tests.applications.test_alone import alone, own_token
from tests.conftest import Platform, TestAgency, client_of
from tests.people.cast import Cast, Someone
from tests.walls.things import an_account

LATER = {"at": "2027-06-01T09:00:00", "time_zone": "Europe/Berlin"}
WRITES = ("post:read", "post:create", "post:update", "post:schedule", "publication:read")
Client = httpx2.AsyncClient
Opens = Callable[[str], Awaitable[Client]]


@pytest.fixture
async def cast(app: FastAPI, database: Database, agency: TestAgency) -> Cast:
    """Makes members of the first agency."""
    return Cast(app, database, agency)


@pytest.fixture
async def ada(cast: Cast) -> Someone:
    """Writes, in person."""
    return await cast.add("ada", "owner")


@pytest.fixture
async def ben(cast: Cast) -> Someone:
    """Looks, in person."""
    return await cast.add("ben", "owner")


@pytest.fixture
async def opens(app: FastAPI) -> AsyncIterator[Opens]:
    """Opens clients by keys and tokens, and closes them."""
    async with AsyncExitStack() as stack:

        async def open_one(text: str) -> Client:
            return await stack.enter_async_context(client_of(app, text))

        yield open_one


@pytest.fixture
async def account(database: Database, agency: TestAgency) -> str:
    """An account of the workspace."""
    return await an_account(database, agency.tenant, agency.workspace.id)


async def ask_for_four_eyes(client: Client, agency: TestAgency, *, on: bool = True) -> None:
    """Switch the rule of the agency's workspace."""
    answer = await client.patch(f"/v1/workspaces/{workspace_of(agency)}", json={"four_eyes": on})
    assert (answer.status_code, answer.json()["four_eyes"]) == (200, on), answer.text


@pytest.fixture
async def posts(client: Client, agency: TestAgency) -> str:
    """Where posts of the workspace are, which asks for four eyes."""
    await ask_for_four_eyes(client, agency)
    return f"/v1/workspaces/{workspace_of(agency)}/posts"


async def draft(client: Client, posts: str, account: str, **more: Any) -> str:
    """Write a post without a time. Returns its address."""
    answer = await client.post(posts, json={"text": "Fresh rolls", "account_ids": [account]} | more)
    assert answer.status_code == 201, answer.text
    return f"{posts}/{answer.json()['id']}"


async def send(client: Client, post: str, when: Any = LATER) -> httpx2.Response:
    """Send a post on its way."""
    return await client.post(f"{post}/schedule", json={"schedule": when})


async def change(client: Client, post: str, **wish: Any) -> httpx2.Response:
    """Change a post as it stands now."""
    version = (await client.get(post)).headers["etag"]
    return await client.patch(post, json=wish, headers={"If-Match": version})


def refused(answer: httpx2.Response, *pointers: str) -> bool:
    """Whether it is the rule's refusal, at these places."""
    told = answer.json()
    return (answer.status_code, told.get("code")) == (403, "four_eyes") and [
        (one["pointer"], one["code"]) for one in told["errors"]
    ] == [(pointer, "four_eyes") for pointer in pointers]


async def actions(client: Client, post: str) -> set[str]:
    """What the caller is offered, which a page of posts offers as well."""
    one = (await client.get(post)).json()
    (listed,) = [each for each in (await client.get(post.rpartition("/")[0])).json()["data"] if each["id"] == one["id"]]
    assert listed == one
    return set(one["allowed_actions"])


async def key_of(client: Client, *scopes: str) -> str:
    """Make a key. Returns its text."""
    answer = await client.post("/v1/api-keys", json={"name": "k", "scopes": list(scopes or WRITES)})
    assert answer.status_code == 201, answer.text
    text: str = answer.json()["key"]
    return text


@pytest.mark.parametrize("when", [LATER, "now"], ids=["later", "now"])
async def test_who_wrote_a_post_does_not_send_it_and_somebody_else_does(
    ada: Someone, ben: Someone, posts: str, account: str, when: Any
) -> None:
    post = await draft(ada.client, posts, account)
    assert "schedule" not in await actions(ada.client, post)
    assert {"schedule", "update"} <= await actions(ben.client, post)
    assert refused(await send(ada.client, post, when), "/schedule")
    assert (await ada.client.get(post)).json()["state"] == "draft"
    assert (await send(ben.client, post, when)).status_code == 200
    # Nor does she give it another time, and he does
    assert refused(await send(ada.client, post), "/schedule")
    assert (await send(ben.client, post)).status_code == 200


async def test_nobody_creates_a_post_with_its_time_and_nothing_of_it_is_stored(
    client: Client, ada: Someone, posts: str, account: str, database: Database, agency: TestAgency
) -> None:
    wish = {"text": "Fresh rolls", "account_ids": [account]}
    for caller in (client, ada.client):
        for when in (LATER, "now"):
            answer = await caller.post(posts, json=wish | {"schedule": when}, headers={"Idempotency-Key": "once"})
            assert refused(answer, "/schedule"), answer.text
            verdict = (await caller.post(f"{posts}/validate", json=wish | {"schedule": when})).json()
            found = [(one["code"], one["severity"], one["pointer"]) for one in verdict["findings"]]
            assert (verdict["valid"], found[0]) == (False, ("four_eyes", "error", "/schedule"))
        assert (await caller.post(f"{posts}/validate", json=wish)).json()["valid"] is True
    assert (await client.get(posts)).json()["data"] == []
    async with database.connection(agency.tenant) as db:
        assert await db.fetchval("select count(*) from events where type like 'post.%'") == 0
        assert await db.fetchval("select count(*) from idempotency_records where key = 'once'") == 0
    # The key is unused, so it can bring the draft
    draft = await client.post(posts, json=wish, headers={"Idempotency-Key": "once"})
    assert draft.status_code == 201


async def test_a_member_is_one_pair_of_eyes_with_its_keys_and_theirs_and_its_tokens(
    app: FastAPI, database: Database, agency: TestAgency, ada: Someone, ben: Someone, posts: str, account: str, opens: Opens
) -> None:
    hers = await key_of(ada.client, *WRITES, "key:manage")
    child = await key_of(await opens(hers), *WRITES)
    token = await issue(app, database, agency, "oat", ada.member_id, WRITES, [agency.workspace.id])
    everyone = [ada.client, *[await opens(text) for text in (hers, child, token)]]
    his = await opens(await key_of(ben.client))
    for author in everyone:
        post = await draft(author, posts, account)
        for sender in everyone:
            assert refused(await send(sender, post), "/schedule")
            assert "schedule" not in await actions(sender, post)
        assert (await send(his, post)).status_code == 200
    post = await draft(his, posts, account)
    assert refused(await send(ben.client, post), "/schedule")
    for sender in everyone:
        assert (await send(sender, post)).status_code == 200


async def test_an_operators_key_is_a_pair_of_eyes_with_the_keys_that_it_made(
    client: Client, ada: Someone, posts: str, account: str, opens: Opens
) -> None:
    child = await opens(await key_of(client))
    post = await draft(client, posts, account)
    assert refused(await send(client, post), "/schedule")
    assert refused(await send(child, post), "/schedule")
    assert (await send(ada.client, post)).status_code == 200
    post = await draft(ada.client, posts, account)
    assert (await send(child, post)).status_code == 200


async def test_an_application_by_itself_has_the_eyes_of_who_made_its_secret(
    app: FastAPI, agency: TestAgency, client: Client, ada: Someone, posts: str, account: str, opens: Opens
) -> None:
    application = await alone(app, agency, scopes=WRITES)  # its first secret is the operator's key's
    program = await opens((await own_token(application)).json()["access_token"])
    post = await draft(program, posts, account)
    assert refused(await send(program, post), "/schedule")
    assert refused(await send(client, post), "/schedule")
    assert (await send(ada.client, post)).status_code == 200
    application.secret = (await ada.client.post(f"/v1/applications/{application.id}/secrets")).json()["client_secret"]
    program = await opens((await own_token(application)).json()["access_token"])
    post = await draft(program, posts, account)
    assert refused(await send(ada.client, post), "/schedule")
    assert (await send(client, post)).status_code == 200
    await application.door.aclose()


async def test_what_is_on_its_way_is_changed_by_nobody_before_it_is_cancelled(
    ada: Someone, ben: Someone, posts: str, account: str, database: Database, agency: TestAgency
) -> None:
    more = await an_account(database, agency.tenant, agency.workspace.id)
    post = await draft(ada.client, posts, account)
    assert (await send(ben.client, post)).status_code == 200
    wishes: dict[str, Any] = {
        "text": "Other", "media": [], "account_ids": [account, more], "variants": [{"account_id": account, "text": "Own"}],
    }  # fmt: skip
    for someone in (ada, ben):
        assert "update" not in await actions(someone.client, post)
        for field, value in wishes.items():
            assert refused(await change(someone.client, post, **{field: value}), f"/{field}")
        assert refused(await change(someone.client, post, **wishes), *sorted(f"/{field}" for field in wishes))
        # What is no content changes, and makes nobody an author
        assert (await change(someone.client, post, metadata={"by": someone.id})).status_code == 200
    found = (await ada.client.get(post)).json()
    assert (found["text"], len(found["publications"]), found["variants"]) == ("Fresh rolls", 1, [])
    assert (await ada.client.post(f"{post}/cancel")).status_code == 200
    assert {"update", "schedule"} <= await actions(ben.client, post)
    # Whoever changes it now is its author
    assert (await change(ben.client, post, **wishes)).status_code == 200
    assert refused(await send(ben.client, post), "/schedule")
    assert (await send(ada.client, post)).status_code == 200


async def test_every_part_of_the_content_makes_an_author(
    ada: Someone, ben: Someone, posts: str, account: str, database: Database, agency: TestAgency
) -> None:
    more = await an_account(database, agency.tenant, agency.workspace.id)
    wishes: tuple[dict[str, Any], ...] = (
        {"text": "Other"},
        {"media": []},
        {"account_ids": [account, more]},
        {"variants": [{"account_id": account, "options": {}}]},
    )
    for wish in wishes:
        post = await draft(ada.client, posts, account)
        assert (await change(ben.client, post, **wish)).status_code == 200
        assert refused(await send(ben.client, post), "/schedule")
        assert (await send(ada.client, post)).status_code == 200


async def test_a_retry_sends_on_its_way_too(
    ada: Someone, ben: Someone, posts: str, account: str, database: Database, agency: TestAgency
) -> None:
    post = await draft(ada.client, posts, account)
    read = (await send(ben.client, post)).json()["publications"][0]
    publication = f"{posts.removesuffix('/posts')}/publications/{read['id']}"

    async def fail() -> None:
        async with database.connection(agency.tenant) as db:
            await db.execute("update publications set state = 'failed' where id = $1", decode("pub", read["id"]))
            await db.execute("delete from duties where kind = 'publish'")

    await fail()
    for someone, offered in ((ada, False), (ben, True)):
        one = (await someone.client.get(publication)).json()
        (listed,) = (await someone.client.get("/v1/publications")).json()["data"]
        (shown,) = (await someone.client.get(post)).json()["publications"]
        assert [("retry" in each["allowed_actions"]) for each in (one, listed, shown)] == [offered] * 3
    assert refused(await ada.client.post(f"{publication}/retry"))
    assert (await ben.client.post(f"{publication}/retry")).status_code == 200
    # Once it failed it can be mended, and then the other one retries it
    await fail()
    assert (await change(ben.client, post, text="Mended")).status_code == 200
    assert refused(await ben.client.post(f"{publication}/retry"))
    assert (await ada.client.post(f"{publication}/retry")).status_code == 200


@pytest.mark.parametrize("atomic", [False, True])
async def test_a_batch_refuses_the_items_with_a_time(ada: Someone, ben: Someone, posts: str, account: str, atomic: bool) -> None:
    wish = {"text": "Fresh rolls", "account_ids": [account]}
    items = [{"post": wish}, {"post": wish | {"schedule": LATER}}]
    found = (await ada.client.post(f"{posts}/bulk", json={"items": items, "atomic": atomic})).json()
    problem = found["data"][1]["problem"]
    assert (problem["status"], problem["code"], problem["errors"][0]["pointer"]) == (403, "four_eyes", "/schedule")
    assert found["succeeded"] == (0 if atomic else 1)
    if not atomic:
        post = f"{posts}/{found['data'][0]['post']['id']}"
        assert refused(await send(ada.client, post), "/schedule")
        assert (await send(ben.client, post)).status_code == 200


async def test_a_sheet_brings_drafts_of_who_sent_it_and_nothing_with_a_time(
    platform: Platform, database: Database, agency: TestAgency, account: str
) -> None:
    people = Cast(platform.app, database, agency)
    ada, ben = [(await people.add(name, "owner")).client for name in ("ada", "ben")]
    async with client_of(platform.app, agency.key) as client:
        await ask_for_four_eyes(client, agency)
    posts = f"/v1/workspaces/{workspace_of(agency)}/posts"
    sheet = f"text,account_ids,at,time_zone\r\nDraft,{account},,\r\nTimed,{account},2027-06-01T09:00:00,Europe/Berlin\r\n"
    for dry_run in (True, False):
        sent = await ada.post(
            f"{posts}/import", params={"dry_run": dry_run}, content=sheet.encode(), headers={"Content-Type": "text/csv"}
        )
        assert sent.status_code == 202, sent.text
        await platform.work("operation")
        rows = (await ada.get(f"/v1/operations/{sent.json()['id']}")).json()["result"]["rows"]
        told = rows[1]["findings"][0] if dry_run else rows[1]["problem"]
        assert (rows[0]["status"], rows[1]["status"], told["code"]) == (
            200 if dry_run else 201,
            422 if dry_run else 403,
            "four_eyes",
        )
    (read,) = (await ada.get(posts)).json()["data"]
    post = f"{posts}/{read['id']}"
    assert refused(await send(ada, post), "/schedule")
    assert (await send(ben, post)).status_code == 200
    for browser in (ada, ben):
        await browser.aclose()


async def test_without_the_rule_and_in_another_agency_one_may_do_both(
    client: Client, stranger: Client, agency: TestAgency, other: TestAgency, database: Database, account: str
) -> None:
    await ask_for_four_eyes(client, agency)
    theirs = await an_account(database, other.tenant, other.workspace.id)
    free = (await client.post("/v1/workspaces", json={"name": "Free", "time_zone": "UTC"})).json()
    assert free["four_eyes"] is False
    beside = await an_account(database, agency.tenant, decode("wsp", free["id"]))
    for caller, workspace, one in ((stranger, workspace_of(other), theirs), (client, free["id"], beside)):
        posts = f"/v1/workspaces/{workspace}/posts"
        post = await draft(caller, posts, one, schedule=LATER)
        assert {"update", "schedule"} <= await actions(caller, post)
        assert (await change(caller, post, text="Other")).status_code == 200
        assert (await send(caller, post)).status_code == 200


async def test_switching_it_on_leaves_what_is_scheduled_and_switching_it_off_frees_all(
    client: Client, ada: Someone, ben: Someone, agency: TestAgency, account: str
) -> None:
    posts = f"/v1/workspaces/{workspace_of(agency)}/posts"
    post = await draft(ada.client, posts, account, schedule=LATER)
    await ask_for_four_eyes(client, agency)
    found = (await ada.client.get(post)).json()
    assert (found["state"], found["publications"][0]["state"]) == ("scheduled", "scheduled")
    assert refused(await send(ada.client, post), "/schedule")
    assert refused(await change(ben.client, post, text="Other"), "/text")
    await ask_for_four_eyes(client, agency, on=False)
    assert (await change(ada.client, post, text="Other")).status_code == 200
    assert (await send(ada.client, post)).status_code == 200


async def test_content_of_which_nobody_knows_the_author_is_saved_once_more(
    ada: Someone, ben: Someone, posts: str, account: str, database: Database, agency: TestAgency
) -> None:
    post = await draft(ada.client, posts, account)
    async with database.connection(agency.tenant) as db:
        await db.execute("update posts set content_by = null")  # as what is older than the rule
    for someone in (ada, ben):
        assert refused(await send(someone.client, post), "/schedule")
    assert (await change(ben.client, post, text="Fresh rolls")).status_code == 200
    assert (await send(ada.client, post)).status_code == 200


async def test_the_rule_is_changed_by_who_changes_the_workspace_and_the_log_tells_it(
    cast: Cast, client: Client, stranger: Client, agency: TestAgency, opens: Opens
) -> None:
    path = f"/v1/workspaces/{workspace_of(agency)}"
    manager = await cast.add("mia", "member", {agency.workspace.id: "manager"})
    writer = await cast.add("wim", "member", {agency.workspace.id: "content"})
    without = [str(one) for one in Permission if one not in {Permission.WORKSPACE_UPDATE, Permission.AGENCY_TRANSFER}]
    narrow = await opens(await key_of(client, *[one for one in without if one != "agency:close"]))
    for caller, status in ((writer.client, 403), (narrow, 403), (stranger, 404)):
        assert (await caller.patch(path, json={"four_eyes": True})).status_code == status
    for bad in ("yes", 1, None):
        assert (await client.patch(path, json={"four_eyes": bad})).status_code == 422
    assert (await client.get(path)).json()["four_eyes"] is False
    for _ in range(2):  # the same once more leaves the rule as it is
        assert (await manager.client.patch(path, json={"four_eyes": True})).json()["four_eyes"] is True
    entry = (await client.get("/v1/audit-entries", params={"action": "workspace.update"})).json()["data"][-1]
    assert (entry["before"]["four_eyes"], entry["after"]["four_eyes"]) == (False, True)
    made = await client.post("/v1/workspaces", json={"name": "Bank", "time_zone": "UTC", "four_eyes": True})
    assert made.json()["four_eyes"] is True
