"""Connecting with credentials, reconnecting, and the life of an account, over HTTP."""

import asyncio
import re
from uuid import uuid4

import asyncpg
import pytest

from core.db import Database
from core.ids import encode
from networks.base import Network
from tenants.permissions import Permission
from tests.accounts.conftest import Caller, Live, Worker
from tests.accounts.scripted import Scripted
from tests.conftest import TestAgency

GOOD = {"login": "bakery", "password": "right"}


async def test_credentials_connect_at_once_and_come_out_nowhere(caller: Caller) -> None:
    session = await caller.connect()
    (account,) = session["accounts"]
    assert (session["state"], session["fields"], session["targets"], session["error"]) == ("completed", [], [], None)
    assert (account["state"], account["network"], account["external_id"], account["handle"]) == (
        "active",
        "scripted",
        "bakery",
        "bakery",
    )
    assert account["capabilities"]["granted"] == ["read", "write"]
    assert account["connection"]["state"] == "active"
    assert account["allowed_actions"] == ["update", "pause", "disconnect", "reconnect"]
    listed = (await caller.call("GET", "accounts")).json()
    assert listed == {"data": [account], "next_cursor": None}
    read = await caller.call("GET", f"connect-sessions/{session['id']}")
    assert read.json() == session
    assert "right" not in read.text
    assert re.search(r"\b[ar]_[0-9a-f]{16}", (await caller.call("GET", "accounts")).text) is None, "no token, in any field"


async def test_what_is_missing_is_asked_for(caller: Caller) -> None:
    begun = (await caller.call("POST", "connect-sessions", {"network": "scripted", "method": "credentials"})).json()
    assert (begun["state"], [one["name"] for one in begun["fields"]]) == ("awaiting_credentials", ["login", "password"])
    path = f"connect-sessions/{begun['id']}/complete"
    wrong = await caller.call("POST", path, {"credentials": {"login": "x", "password": "wrong"}})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "network_rejected")
    choosing = (await caller.call("POST", path, {"credentials": {"login": "chain-3", "password": "right"}})).json()
    assert (choosing["state"], len(choosing["targets"]), choosing["allowed_actions"]) == ("choosing", 3, ["complete"])
    foreign = await caller.call("POST", path, {"targets": ["chain.1", "somebody"]})
    assert (foreign.status_code, foreign.json()["errors"][0]["pointer"]) == (422, "/targets/1")
    assert (await caller.call("POST", path, {"credentials": GOOD})).status_code == 422
    done = await caller.call("POST", path, {"targets": ["chain.2", "chain.1"]})
    assert [one["external_id"] for one in done.json()["accounts"]] == ["chain.2", "chain.1"]
    again = await caller.call("POST", path, {"targets": ["chain.1"]})
    assert (again.status_code, again.json()["code"]) == (409, "connect_state_invalid")


@pytest.mark.parametrize(
    ("wish", "status", "code", "pointer"),
    [
        ({"network": "nowhere"}, 422, "validation_failed", "/network"),
        ({"network": "live", "credentials": GOOD}, 422, "network_needs_live_mode", None),
        ({"network": "scripted", "credentials": {"login": "x"}}, 422, "validation_failed", "/credentials/password"),
        ({"network": "scripted", "credentials": GOOD | {"s3cr3t": "x"}}, 422, "validation_failed", "/credentials"),
        ({"network": "scripted", "credentials": {"login": "x", "password": "wrong"}}, 422, "network_rejected", None),
        ({"network": "scripted", "credentials": {"login": "x", "password": "down"}}, 503, "network_unavailable", None),
        ({"network": "scripted", "method": "redirect", "targets": "all"}, 422, "validation_failed", "/targets"),
        ({"network": "scripted", "credentials": GOOD, "state": "completed"}, 422, "unknown_field", "/state"),
        ({"network": "scripted", "credentials": GOOD, "targets": []}, 422, "validation_failed", None),
    ],
)
async def test_wishes_that_cannot_be_met_leave_nothing(
    caller: Caller, worker: Worker, wish: dict[str, object], status: int, code: str, pointer: str | None
) -> None:
    answer = await caller.call("POST", "connect-sessions", wish)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert pointer is None or answer.json()["errors"][0]["pointer"] == pointer
    assert "s3cr3t" not in answer.text
    assert "wrong" not in answer.text
    assert await worker.owner.fetchval("select count(*) from connect_sessions") == 0
    assert await worker.owner.fetchval("select count(*) from accounts") == 0


async def test_a_live_key_does_not_reach_a_network_of_test_mode(caller: Caller) -> None:
    assert caller.agency.sibling is not None
    live = Caller(caller.http, caller.agency.sibling)
    answer = await live.call("POST", "connect-sessions", {"network": "scripted", "credentials": GOOD})
    assert (answer.status_code, answer.json()["code"]) == (422, "sandbox_needs_test_mode")
    assert (await live.call("POST", "connect-sessions", {"network": "live", "credentials": GOOD})).status_code == 201


@pytest.mark.parametrize(
    "url",
    ["http://evil.test/x", "javascript:alert(1)", "https://user:pw@evil.test/", "//evil.test", "https://", "https://x.test/#f",
     "http:\\\\evil.test", "https://x.test/\nSet-Cookie: a", "https://x.test:99999/", "data:text/html,x", "https://u@x.test"],
)  # fmt: skip
async def test_return_addresses_that_are_refused(caller: Caller, url: str) -> None:
    answer = await caller.call("POST", "connect-sessions", {"network": "scripted", "method": "redirect", "return_url": url})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "url_not_allowed")


async def test_the_same_key_is_answered_from_the_record_without_the_network(caller: Caller, scripted: Scripted) -> None:
    wish = {"network": "scripted", "credentials": GOOD}
    first = await caller.call("POST", "connect-sessions", wish, Idempotency_Key="k1")
    scripted.families.clear()
    again = await caller.call("POST", "connect-sessions", wish, Idempotency_Key="k1")
    assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (201, first.json(), "true")
    assert scripted.families == {}
    other = await caller.call("POST", "connect-sessions", wish | {"targets": "all"}, Idempotency_Key="k1")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_connecting_again_keeps_the_account_and_supersedes_the_connection(caller: Caller, worker: Worker, live: Live) -> None:
    first = await caller.account()
    await caller.call("PATCH", f"accounts/{first['id']}", {"name": "Our bakery", "metadata": {"crm": "7"}})
    old = await live(caller.agency, "bakery")
    second = await caller.account()
    assert (second["id"], second["name"], second["metadata"]) == (first["id"], "Our bakery", {"crm": "7"})
    assert second["connection"]["id"] != first["connection"]["id"]
    row = await worker.row(old)
    assert (row["state"], row["sealed"], row["due_at"]) == ("superseded", None, None)
    assert (await worker.events("account.connected"), await worker.events("account.reconnected")) == (1, 1)


async def test_a_disconnected_account_has_no_secret_and_comes_back_as_itself(caller: Caller, worker: Worker) -> None:
    first = await caller.account()
    path = f"accounts/{first['id']}"
    assert (await caller.call("DELETE", path)).status_code == 204
    assert (await caller.call("DELETE", path)).status_code == 204
    gone = (await caller.call("GET", path)).json()
    assert (gone["state"], gone["connection"], gone["allowed_actions"]) == ("disconnected", None, ["update", "reconnect"])
    assert await worker.owner.fetchval("select count(*) from connections where sealed is not null") == 0
    assert await worker.owner.fetchval("select count(*) from duties where kind = 'refresh_token'") == 0
    assert await worker.events("account.disconnected") == 1
    back = await caller.account()
    assert (back["id"], back["state"]) == (first["id"], "active")


async def test_reconnecting_with_another_identity_changes_nothing(caller: Caller, worker: Worker, live: Live) -> None:
    account = await caller.account()
    connection_id = await live(caller.agency, "bakery")
    before = dict(await worker.row(connection_id))
    answer = await caller.call(
        "POST", f"accounts/{account['id']}/reconnect", {"credentials": {"login": "butcher", "password": "right"}}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "different_account")
    assert dict(await worker.row(connection_id)) == before
    assert (await caller.call("GET", f"accounts/{account['id']}")).json() == account
    assert len((await caller.call("GET", "accounts")).json()["data"]) == 1
    mine = await caller.call("POST", f"accounts/{account['id']}/reconnect", {"credentials": GOOD})
    assert (mine.status_code, mine.json()["accounts"][0]["id"]) == (201, account["id"])


async def test_a_pause_outlasts_a_reconnect_and_a_loss(caller: Caller, worker: Worker, live: Live, scripted: Scripted) -> None:
    account = await caller.account()
    path = f"accounts/{account['id']}"
    assert (await caller.call("POST", f"{path}/pause")).json()["state"] == "paused"
    assert (await caller.call("POST", f"{path}/pause")).status_code == 200
    assert (await caller.account())["state"] == "paused"
    resumed = (await caller.call("POST", f"{path}/resume")).json()
    assert (resumed["state"], resumed["allowed_actions"][1]) == ("active", "pause")
    await caller.call("POST", f"{path}/pause")
    scripted.end("bakery")
    await worker.owner.execute("update duties set due_at = now()")
    await worker.owner.execute("update connections set expires_at = now()")
    await worker.due()
    lost = (await caller.call("GET", path)).json()
    assert (lost["state"], lost["state_reason"], lost["connection"]) == ("paused", "authorisation_lost", None)
    assert (await caller.call("POST", f"{path}/resume")).json()["state"] == "needs_reconnect"
    assert (await caller.call("POST", f"{path}/pause")).status_code == 409


async def test_metadata_is_a_merge_patch_and_versions_are_honoured(caller: Caller) -> None:
    account = await caller.account()
    path = f"accounts/{account['id']}"
    one = await caller.call("PATCH", path, {"metadata": {"a": "1", "b": "2"}})
    assert one.headers["etag"] == f'"{account["version"] + 1}"'
    two = await caller.call("PATCH", path, {"metadata": {"a": None}}, If_Match=one.headers["etag"])
    assert two.json()["metadata"] == {"b": "2"}
    stale = await caller.call("PATCH", path, {"metadata": {}}, If_Match=one.headers["etag"])
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    same = await caller.call("PATCH", path, {"metadata": {"b": "2"}})
    assert same.json()["version"] == two.json()["version"]
    many = {f"k{number}": "v" for number in range(50)}
    assert (await caller.call("PATCH", path, {"metadata": many})).status_code == 422


async def test_the_list_pages_and_filters(caller: Caller) -> None:
    await caller.connect("chain-3", targets="all")
    one = (await caller.call("GET", "accounts?limit=2")).json()
    two = (await caller.call("GET", f"accounts?limit=2&cursor={one['next_cursor']}")).json()
    seen = [account["external_id"] for account in one["data"] + two["data"]]
    assert (sorted(seen), two["next_cursor"]) == (["chain.1", "chain.2", "chain.3"], None)
    assert (await caller.call("GET", "accounts?state=paused")).json()["data"] == []
    assert len((await caller.call("GET", "accounts?network=scripted&state=active")).json()["data"]) == 3
    assert (await caller.call("GET", "accounts?sort=x")).status_code == 400


READS = [("GET", "accounts/{account}", None), ("GET", "connect-sessions/{session}", None)]
WRITES = [
    ("PATCH", "accounts/{account}", {"name": "x"}),
    ("DELETE", "accounts/{account}", None),
    ("POST", "accounts/{account}/pause", None),
    ("POST", "accounts/{account}/resume", None),
    ("POST", "accounts/{account}/reconnect", {"credentials": GOOD}),
    ("POST", "connect-sessions/{session}/complete", {"credentials": GOOD}),
    ("DELETE", "connect-sessions/{session}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), READS + WRITES)
async def test_what_belongs_to_another_agency_is_not_there(
    caller: Caller, stranger: Caller, method: str, path: str, body: object
) -> None:
    """B16: the same 404, by the foreign workspace's path and by one's own, as for an id that never was."""
    session = await caller.connect()
    own = {"account": session["accounts"][0]["id"], "session": session["id"]}
    never = {"account": encode("acc", uuid4()), "session": encode("cns", uuid4())}
    answers = [
        await stranger.call(method, f"{caller.home}/{path.format(**own)}", body),
        await stranger.call(method, path.format(**own), body),
        await stranger.call(method, path.format(**never), body),
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert answers[0].json() == answers[1].json() == answers[2].json()
    assert (await caller.call("GET", f"accounts/{own['account']}")).json() == session["accounts"][0]


async def test_another_agency_neither_lists_nor_connects_here(caller: Caller, stranger: Caller) -> None:
    await caller.connect()
    assert (await stranger.call("GET", f"{caller.home}/accounts")).status_code == 404
    assert (await stranger.call("GET", "accounts")).json()["data"] == []
    wish = {"network": "scripted", "credentials": GOOD}
    assert (await stranger.call("POST", f"{caller.home}/connect-sessions", wish)).status_code == 404
    theirs = await stranger.account()
    mine = await caller.account()
    assert theirs["id"] != mine["id"], "the same page in two agencies is two accounts, each with its own authorisation"


async def narrowed(
    database: Database, agency: TestAgency, owner: asyncpg.Connection, *, without: Permission | None, elsewhere: bool
) -> None:
    """Take one permission from the agency's key, or bind it to a workspace that is not its own."""
    scopes = [one.value for one in Permission if one is not without]
    await owner.execute("update api_keys set scopes = $1, workspace_ids = $2", scopes, [uuid4()] if elsewhere else None)


@pytest.mark.parametrize(("method", "path", "body"), READS + WRITES + [("GET", "accounts", None)])
async def test_a_key_of_another_workspace_sees_nothing(
    caller: Caller, database: Database, worker: Worker, method: str, path: str, body: object
) -> None:
    """B18."""
    session = await caller.connect()
    await narrowed(database, caller.agency, worker.owner, without=None, elsewhere=True)
    answer = await caller.call(method, path.format(account=session["accounts"][0]["id"], session=session["id"]), body)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("permission", "calls"),
    [
        (Permission.ACCOUNT_READ, [("GET", "accounts", None), READS[0]]),
        (Permission.ACCOUNT_MANAGE, WRITES[:4]),
        (
            Permission.ACCOUNT_CONNECT,
            [READS[1], *WRITES[4:], ("POST", "connect-sessions", {"network": "scripted", "credentials": GOOD})],
        ),
        (Permission.NETWORK_READ, [("GET", "/v1/networks", None), ("GET", "/v1/networks/scripted", None)]),
    ],
)
async def test_each_permission_is_needed(
    caller: Caller, database: Database, worker: Worker, permission: Permission, calls: list[tuple[str, str, object]]
) -> None:
    session = await caller.connect()
    ids = {"account": session["accounts"][0]["id"], "session": session["id"]}
    await narrowed(database, caller.agency, worker.owner, without=permission, elsewhere=False)
    for method, path, body in calls:
        answer = await caller.call(method, path.format(**ids), body)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
        assert answer.json()["required_permission"] == permission.value


async def test_allowed_actions_are_those_of_this_caller(caller: Caller, database: Database, worker: Worker) -> None:
    account = await caller.account()
    await narrowed(database, caller.agency, worker.owner, without=Permission.ACCOUNT_MANAGE, elsewhere=False)
    assert (await caller.call("GET", f"accounts/{account['id']}")).json()["allowed_actions"] == ["reconnect"]


async def test_a_key_that_ends_while_the_network_is_asked_connects_nothing(
    caller: Caller, stranger: Caller, scripted: Scripted, worker: Worker
) -> None:
    foreign = (await stranger.call("POST", "connect-sessions", {"network": "scripted"})).json()
    waiting = (await caller.call("POST", "connect-sessions", {"network": "scripted"})).json()
    scripted.answers = asyncio.Event()
    calls = [
        caller.call("POST", "connect-sessions", {"network": "scripted", "credentials": GOOD}),
        caller.call("POST", f"connect-sessions/{waiting['id']}/complete", {"credentials": GOOD}),
        stranger.call("POST", f"connect-sessions/{foreign['id']}/complete", {"credentials": GOOD}),
    ]
    tasks = [asyncio.create_task(call) for call in calls]
    while scripted.asked < len(tasks):
        await asyncio.sleep(0.01)
    await worker.owner.execute("update api_keys set revoked_at = now() where agency_id = $1", caller.agency.actor.agency_id)
    scripted.answers.set()
    assert [(await task).status_code for task in tasks] == [401, 401, 200]
    assert await worker.owner.fetchval("select count(*) from accounts") == 0


async def test_networks_are_data(caller: Caller, connectors: dict[str, Network]) -> None:
    listed = (await caller.call("GET", "/v1/networks")).json()
    assert [one["name"] for one in listed["data"]] == sorted(connectors)
    one = (await caller.call("GET", "/v1/networks/scripted")).json()
    assert (one["connect"], one["text"]["unit"], one["test_mode"]) == (["credentials", "redirect"], "graphemes", True)
    assert [field["secret"] for field in one["credentials"]] == [False, True]
    assert (await caller.call("GET", "/v1/networks/nowhere")).status_code == 404
