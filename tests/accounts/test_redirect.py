"""The redirect kind: what a person brings back, and everything that may be wrong with it (B63)."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from core.ids import suffix
from tests.accounts.conftest import Caller, Worker
from tests.accounts.scripted import Scripted

URI = "http://127.0.0.1:8000/connect/callback/scripted"


async def begin(caller: Caller, path: str = "connect-sessions", **more: Any) -> tuple[dict[str, Any], str]:
    """Begin a redirect: the session, and the state that the network got."""
    wish = {"method": "redirect"} | ({} if "reconnect" in path else {"network": "scripted"}) | more
    answer = await caller.call("POST", path, wish)
    assert answer.status_code == 201, answer.text
    session = answer.json()
    assert (session["state"], session["url"]) == ("awaiting_user", session["authorize_url"])
    query = parse_qs(urlsplit(session["authorize_url"]).query)
    assert query["redirect_uri"] == [URI]
    return session, query["state"][0]


async def back(caller: Caller, network: str = "scripted", **query: str) -> httpx2.Response:
    """A person's browser comes back, without any key."""
    return await caller.http.get(f"/connect/callback/{network}", params=query)


def is_clean_page(answer: httpx2.Response) -> bool:
    """A small page for people that says what to do, and gives nothing away."""
    assert 400 <= answer.status_code < 500, answer.status_code
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-store"
    assert '<html lang="en" dir="ltr">' in answer.text
    assert "<h1>Not connected</h1>" in answer.text
    return "Traceback" not in answer.text


async def stored(worker: Worker) -> tuple[int, int]:
    """How many accounts and connections there are."""
    accounts = await worker.owner.fetchval("select count(*) from accounts")
    return accounts, await worker.owner.fetchval("select count(*) from connections")


async def test_a_person_agrees_and_the_account_is_there(caller: Caller, worker: Worker, scripted: Scripted) -> None:
    session, state = await begin(caller)
    held = await worker.owner.fetchrow("select * from connect_sessions")
    assert state not in str(dict(held)), "only the digest of the state is kept"
    assert "v" * 43 not in str(dict(held))
    answer = await back(caller, code=scripted.agree("bakery", URI), state=state, iss="https://scripted.test")
    assert (answer.status_code, '<h1 class="done">Connected</h1>' in answer.text) == (200, True)
    read = (await caller.call("GET", f"connect-sessions/{session['id']}")).json()
    assert (read["state"], read["accounts"][0]["external_id"], read["authorize_url"]) == ("completed", "bakery", None)


async def test_a_state_is_good_once(caller: Caller, worker: Worker, scripted: Scripted) -> None:
    _, state = await begin(caller)
    await back(caller, code=scripted.agree("bakery", URI), state=state)
    assert is_clean_page(await back(caller, code=scripted.agree("butcher", URI), state=state))
    assert await stored(worker) == (1, 1)


async def test_bad_states_end_on_a_page_and_store_nothing(
    caller: Caller, stranger: Caller, worker: Worker, scripted: Scripted
) -> None:
    session, state = await begin(caller)
    agency, own, secret = state.split(".")
    foreign = suffix(stranger.agency.actor.agency_id)
    _, theirs = await begin(stranger)
    mixed = [
        {},
        {"state": ""},
        {"state": "x"},
        {"state": "." * 3},
        {"state": f"{foreign}.{own}.{secret}"},
        {"state": f"{agency}.{theirs.split('.')[1]}.{secret}"},
        {"state": f"{agency}.{own}.{theirs.split('.')[2]}"},
        {"state": f"{agency}.{own}.{secret}x"},
        {"state": "é" * 20},
        {"state": "a" * 10_000},
        {"state": "\0"},
    ]
    for query in mixed:
        assert is_clean_page(await back(caller, code=scripted.agree("bakery", URI), **query))
    assert is_clean_page(await back(caller, "live", code=scripted.agree("bakery", URI), state=state))
    assert is_clean_page(await back(caller, "nowhere", code="x", state=state))
    twice = await caller.http.get(f"/connect/callback/scripted?code=x&state={state}&state={state}")
    assert is_clean_page(twice)
    assert await stored(worker) == (0, 0)
    assert (await caller.call("GET", f"connect-sessions/{session['id']}")).json()["state"] == "awaiting_user"


async def test_a_state_of_eleven_minutes_is_over(caller: Caller, worker: Worker, scripted: Scripted) -> None:
    session, state = await begin(caller)
    await worker.owner.execute("update connect_sessions set expires_at = expires_at - interval '11 minutes'")
    assert is_clean_page(await back(caller, code=scripted.agree("bakery", URI), state=state))
    assert await stored(worker) == (0, 0)
    read = (await caller.call("GET", f"connect-sessions/{session['id']}")).json()
    assert (read["state"], read["error"]["code"], read["allowed_actions"]) == ("failed", "connect_state_invalid", [])


@pytest.mark.parametrize(
    "query",
    [{"error": "access_denied"}, {"error": "access_denied", "code": "x"}, {}, {"code": "unknown"}, {"code": "c" * 9_000}],
)
async def test_a_refusal_ends_the_session_and_stores_nothing(
    caller: Caller, worker: Worker, scripted: Scripted, query: dict[str, str]
) -> None:
    session, state = await begin(caller)
    assert is_clean_page(await back(caller, state=state, **query))
    read = (await caller.call("GET", f"connect-sessions/{session['id']}")).json()
    assert (read["state"], read["error"]["code"]) == ("failed", "network_rejected")
    assert is_clean_page(await back(caller, code=scripted.agree("bakery", URI), state=state))
    assert await stored(worker) == (0, 0)


async def test_the_answer_of_another_issuer_is_refused(caller: Caller, worker: Worker, scripted: Scripted) -> None:
    _, state = await begin(caller)
    code = scripted.agree("bakery", URI)
    assert is_clean_page(await back(caller, code=code, state=state, iss="https://evil.test"))
    assert code in scripted.codes, "the code was not given to anybody"
    assert await stored(worker) == (0, 0)


async def test_the_person_goes_back_to_where_it_came_from(caller: Caller, scripted: Scripted) -> None:
    home = "https://agency.test/done?tab=2"
    session, state = await begin(caller, return_url=home)
    answer = await back(caller, code=scripted.agree("chain-2", URI), state=state)
    expected = f"https://agency.test/done?tab=2&connect_session={session['id']}&state=choosing"
    assert (answer.status_code, answer.headers["location"]) == (303, expected)
    done = await caller.call("POST", f"connect-sessions/{session['id']}/complete", {"targets": "all"})
    assert (done.json()["state"], len(done.json()["accounts"])) == ("completed", 2)
    session, state = await begin(caller, return_url=home)
    answer = await back(caller, error="access_denied", state=state)
    assert (answer.status_code, answer.headers["location"].endswith("&state=failed")) == (303, True)


async def test_a_redirect_for_another_identity_changes_nothing(caller: Caller, worker: Worker, scripted: Scripted) -> None:
    account = await caller.account()
    session, state = await begin(caller, f"accounts/{account['id']}/reconnect")
    assert session["account_id"] == account["id"]
    answer = await back(caller, code=scripted.agree("butcher", URI), state=state)
    assert is_clean_page(answer)
    assert (answer.status_code, "another account" in answer.text) == (409, True)
    assert (await caller.call("GET", f"accounts/{account['id']}")).json() == account
    assert await stored(worker) == (1, 1)
    _, state = await begin(caller, f"accounts/{account['id']}/reconnect")
    assert (await back(caller, code=scripted.agree("bakery", URI), state=state)).status_code == 200
    assert await stored(worker) == (1, 2)
    assert await worker.events("account.reconnected") == 1


async def test_a_network_that_is_away_ends_on_a_page(
    caller: Caller, worker: Worker, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, state = await begin(caller)

    async def hang(*_: str) -> None:
        raise TimeoutError

    monkeypatch.setattr(scripted, "exchange", hang)
    answer = await back(caller, code="x", state=state)
    assert is_clean_page(answer)
    assert "did not answer" in answer.text
    assert await stored(worker) == (0, 0)
