"""The page of a connect session: a person without an account here connects by its address, once, and reaches nothing else."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI

from core.ids import suffix
from tests.accounts.conftest import Caller, Worker
from tests.accounts.scripted import Scripted
from tests.accounts.test_redirect import URI, back

GONE = "This link is not valid any more"


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """The browser of a person who was sent an address."""
    transport = httpx2.ASGITransport(app, client=("9.9.9.9", 1))
    sent = {"Sec-Fetch-Site": "same-origin"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://octavo.test", headers=sent) as client:
        yield client


async def link(caller: Caller, path: str = "connect-sessions", **more: Any) -> tuple[dict[str, Any], str]:
    """Begin a session that has a page: the session, and the path of the page."""
    wish = {"link": True, "method": "credentials"} | ({} if "reconnect" in path else {"network": "scripted"}) | more
    answer = await caller.call("POST", path, wish)
    assert answer.status_code == 201, answer.text
    session = answer.json()
    return session, urlsplit(session["url"]).path


async def state_of(caller: Caller, session: dict[str, Any]) -> str:
    """How far a session is."""
    state: str = (await caller.call("GET", f"connect-sessions/{session['id']}")).json()["state"]
    return state


def is_gone(answer: httpx2.Response) -> bool:
    """A page that says to ask for a new address, and nothing of what there was."""
    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert "First" not in answer.text
    return GONE in answer.text


async def test_a_person_connects_by_the_page(caller: Caller, client: httpx2.AsyncClient, worker: Worker) -> None:
    # Given the address of a page, of whose secret only a digest is kept
    session, path = await link(caller)
    assert session["state"] == "awaiting_credentials"
    held = await worker.owner.fetchrow("select * from connect_sessions")
    assert path.rpartition(".")[2] not in str(dict(held))
    assert (await caller.call("GET", f"connect-sessions/{session['id']}")).json()["url"] is None
    # Then it says who asks, for whom, and never to enter a normal password
    page = await client.get(path)
    assert page.status_code == 200
    assert {"First", "First client"} <= set(re.findall("<bdi>(.*?)</bdi>", page.text))
    assert "Never enter your normal password here" in page.text
    # When what is filled in is wrong, the page says so and does not give a secret back
    wrong = await client.post(path, data={"login": "chain-3", "password": "wrong-canary"})
    assert (wrong.status_code, "The network does not take this" in wrong.text, 'value="chain-3"' in wrong.text) == (422, True, True)
    assert "wrong-canary" not in wrong.text
    # When it is right, there is a choice; none chosen is refused; and then it is done
    assert (await client.post(path, data={"login": "chain-3", "password": "right"})).headers["location"] == path
    choice = await client.get(path)
    assert choice.text.count('type="checkbox"') == 3
    assert "Choose at least one" in (await client.post(path, data={})).text
    assert (await client.post(path, data={"targets": ["chain.1", "elsewhere"]})).status_code == 422
    assert (await client.post(path, data={"targets": ["chain.1", "chain.3"]})).status_code == 303
    done = await client.get(path)
    assert ("Chain.1" in done.text, "Chain.2" in done.text, "<form" in done.text) == (True, False, False)
    assert await state_of(caller, session) == "completed"
    # And it is good once, and in the log as what the session did
    assert is_gone(await client.post(path, data={"login": "bakery", "password": "right"}))
    told = await worker.owner.fetch("select action, actor_type from audit_entries where action like 'connect_session%' order by id")
    assert [tuple(row) for row in told] == [
        ("connect_session.create", "key"),
        ("connect_session.complete", "connect_session"),
        ("connect_session.complete", "connect_session"),
    ]


async def test_only_the_whole_address_opens_the_page(
    caller: Caller, stranger: Caller, client: httpx2.AsyncClient, worker: Worker
) -> None:
    session, path = await link(caller)
    _, theirs = await link(stranger)
    plain = (await caller.call("POST", "connect-sessions", {"network": "scripted", "method": "credentials"})).json()
    agency, own, secret = path.removeprefix("/connect/").split(".")
    foreign = suffix(stranger.agency.actor.agency_id)
    wrong = [
        f"{foreign}.{own}.{secret}", f"{agency}.{theirs.split('.')[1]}.{secret}", f"{agency}.{own}.{theirs.split('.')[2]}",
        f"{agency}.{own}.{secret}x", f"{agency}.{own}.{secret[:-1]}", f"{agency}.{own}.", "x", "a" * 300, f"{agency}.{own}",
        f"{agency}.{plain['id'].removeprefix('cns_')}.{secret}", "%00", "%F0%9F%98%80",
    ]  # fmt: skip
    for text in wrong:
        for answer in (await client.get(f"/connect/{text}"), await client.post(f"/connect/{text}", data={"login": "x"})):
            assert is_gone(answer), text
    assert (await client.get(path)).status_code == 200
    assert await state_of(caller, session) == "awaiting_credentials"
    assert await worker.owner.fetchval("select count(*) from accounts") == 0


@pytest.mark.parametrize("far", ["made", "choosing", "away"])
async def test_a_page_ends_with_the_key_that_made_it(
    caller: Caller, stranger: Caller, client: httpx2.AsyncClient, worker: Worker, scripted: Scripted, far: str
) -> None:
    method = "redirect" if far == "away" else "credentials"
    path, other = [(await link(one, method=method))[1] for one in (caller, stranger)]
    form, state = {"login": "chain-3", "password": "right"}, ""
    if far == "choosing":
        assert [(await client.post(one, data=form)).status_code for one in (path, other)] == [303, 303]
        form = {"targets": "chain.1"}
    elif far == "away":
        way = re.search(r"state=([\w.-]+)", (await client.post(path)).text)
        assert way is not None
        state = way[1]
    assert (await client.get(path)).status_code == 200
    await worker.owner.execute("update api_keys set revoked_at = now() where agency_id = $1", caller.agency.actor.agency_id)
    assert is_gone(await client.get(path))
    assert is_gone(await client.post(path, data=form))
    if far == "away":
        came = {"code": scripted.agree("bakery", URI), "state": state}
        assert (await client.get("/connect/callback/scripted", params=came)).status_code == 400
    assert await worker.owner.fetchval("select state from connect_sessions") == {
        "made": "awaiting_credentials", "choosing": "choosing", "away": "awaiting_user"
    }[far]  # fmt: skip
    assert await worker.owner.fetchval("select count(*) from accounts") == 0
    # And of the other agency nothing
    assert (await client.get(other)).status_code == 200


async def test_a_page_whose_maker_is_gone_when_the_network_answers_connects_nothing(
    caller: Caller, client: httpx2.AsyncClient, worker: Worker, scripted: Scripted
) -> None:
    _, path = await link(caller)
    scripted.answers = asyncio.Event()
    sent = asyncio.create_task(client.post(path, data={"login": "bakery", "password": "right"}))
    while not scripted.asked:
        await asyncio.sleep(0.01)
    await worker.owner.execute("update api_keys set scopes = '{account:read}'")
    scripted.answers.set()
    assert is_gone(await sent)
    assert await worker.owner.fetchval("select count(*) from accounts") == 0


async def test_who_guesses_addresses_is_stopped(caller: Caller, client: httpx2.AsyncClient, app: FastAPI) -> None:
    _, path = await link(caller)
    quota = app.state.settings.rate_limit_address
    answers = [await client.get(f"{path}{number}") for number in range(quota + 1)]
    assert [one.status_code for one in answers] == [400] * quota + [429]
    assert "Too many attempts" in answers[-1].text
    assert (await client.get(path)).status_code == 429


async def test_who_guesses_passwords_by_a_page_is_stopped(caller: Caller, client: httpx2.AsyncClient) -> None:
    _, path = await link(caller)
    answers = [await client.post(path, data={"login": "bakery", "password": f"guess {number}"}) for number in range(7)]
    assert [one.status_code for one in answers] == [422] * 5 + [429] * 2


async def test_a_page_ends_with_its_session(caller: Caller, client: httpx2.AsyncClient, worker: Worker) -> None:
    _, path = await link(caller)
    await worker.owner.execute("update connect_sessions set expires_at = expires_at - interval '71 hours'")
    assert (await client.get(path)).status_code == 200
    await worker.owner.execute("update connect_sessions set expires_at = expires_at - interval '2 hours'")
    assert is_gone(await client.get(path))
    assert is_gone(await client.post(path, data={"login": "bakery", "password": "right"}))


async def test_the_page_leads_to_the_network_and_back(
    caller: Caller, client: httpx2.AsyncClient, worker: Worker, scripted: Scripted
) -> None:
    session, path = await link(caller, method="redirect", return_url="https://agency.test/done")
    assert (session["state"], session["authorize_url"]) == ("awaiting_user", None)
    # Given a person who left for the network, and left once more: the first way back is void
    ways = [re.search(r"url=https://scripted.test/auth\?state=([\w.-]+)", (await client.post(path)).text) for _ in range(2)]
    first, state = (way[1] for way in ways if way is not None)
    assert 'href="https://scripted.test' in (await client.post(path)).text
    way = re.search(r"state=([\w.-]+)", (await client.post(path)).text)
    assert way is not None
    assert len({first, state, way[1]}) == 3
    for old in (first, state):
        assert (await client.get("/connect/callback/scripted", params={"code": "x", "state": old})).status_code == 400
    # When it does not agree, it is back on the page, which says so and offers to try again
    refused = await client.get("/connect/callback/scripted", params={"error": "access_denied", "state": way[1]})
    assert refused.headers["location"] == f"{path}?failed=access_denied"
    page = await client.get(refused.headers["location"])
    assert ("Access was not granted" in page.text, "Continue to" in page.text) == (True, True)
    # When it agrees with several things, it chooses among them, and goes to where the agency wanted it
    way = re.search(r"state=([\w.-]+)", (await client.post(path)).text)
    assert way is not None
    agreed = await client.get("/connect/callback/scripted", params={"code": scripted.agree("chain-2", URI), "state": way[1]})
    assert agreed.headers["location"] == path
    assert "form-action 'self' https://agency.test" in (await client.get(path)).headers["content-security-policy"]
    done = await client.post(path, data={"targets": "chain.2"})
    assert done.headers["location"] == f"https://agency.test/done?connect_session={session['id']}&state=completed"
    assert await worker.owner.fetchval("select count(*) from accounts") == 1


async def test_nobody_ends_in_another_browser_what_was_begun_in_one(
    caller: Caller, client: httpx2.AsyncClient, http: httpx2.AsyncClient, worker: Worker, scripted: Scripted
) -> None:
    # Given somebody who has the address, leaves for the network, and hands on where it was sent
    session, path = await link(caller, method="redirect")
    way = re.search(r"state=([\w.-]+)", (await client.post(path)).text)
    assert way is not None
    # When another person comes back from there, nothing is connected, and the state is not spent
    code = scripted.agree("bakery", URI)
    assert (await back(caller, code=code, state=way[1])).status_code == 400
    http.cookies.set("connect", "made.up.cookie")
    assert (await back(caller, code=code, state=way[1])).status_code == 400
    assert code in scripted.codes
    assert await state_of(caller, session) == "awaiting_user"
    assert (await client.get("/connect/callback/scripted", params={"code": code, "state": way[1]})).status_code == 303
    assert await state_of(caller, session) == "completed"


async def test_a_page_connects_again_the_same_account_and_no_other(
    caller: Caller, client: httpx2.AsyncClient, worker: Worker
) -> None:  # fmt: skip
    account = await caller.account()
    _, path = await link(caller, f"accounts/{account['id']}/reconnect")
    assert "Bakery" in (await client.get(path)).text
    other = await client.post(path, data={"login": "butcher", "password": "right"})
    assert (other.status_code, "another account" in other.text) == (409, True)
    assert (await client.post(path, data={"login": "bakery", "password": "right"})).status_code == 303
    assert await worker.owner.fetchval("select count(*) from accounts") == 1


@pytest.mark.parametrize("more", [{"credentials": {"login": "bakery", "password": "right"}}, {"targets": "all"}])
async def test_a_page_asks_for_itself(caller: Caller, more: dict[str, Any]) -> None:
    answer = await caller.call("POST", "connect-sessions", {"network": "scripted", "method": "credentials", "link": True} | more)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/link")


async def test_the_address_is_told_once_and_kept_nowhere(caller: Caller, worker: Worker) -> None:
    wish = {"network": "scripted", "method": "credentials", "link": True}
    first = await caller.call("POST", "connect-sessions", wish, Idempotency_Key="k1")
    again = await caller.call("POST", "connect-sessions", wish, Idempotency_Key="k1")
    assert (again.headers["idempotent-replayed"], again.json()) == ("true", first.json() | {"url": None})
    kept = await worker.owner.fetchval("select convert_from(body, 'utf8') from idempotency_records")
    assert first.json()["url"].rpartition(".")[2] not in kept


async def test_no_other_site_sends_the_form_of_the_page(caller: Caller, client: httpx2.AsyncClient) -> None:
    session, path = await link(caller)
    sent = {"Sec-Fetch-Site": "cross-site"}
    answer = await client.post(path, data={"login": "bakery", "password": "right"}, headers=sent)
    assert (answer.status_code, await state_of(caller, session)) == (403, "awaiting_credentials")


async def test_a_page_ends_when_its_workspace_is_closed(caller: Caller, client: httpx2.AsyncClient, worker: Worker) -> None:
    _, path = await link(caller)
    await worker.owner.execute("update workspaces set closed_at = now()")
    assert is_gone(await client.get(path))
    assert is_gone(await client.post(path, data={"login": "bakery", "password": "right"}))
    assert await worker.owner.fetchval("select count(*) from accounts") == 0


@pytest.mark.parametrize("stage", ["awaiting_credentials", "choosing", "awaiting_user", "completed"])
async def test_a_page_is_gone_once_its_session_is_ended_however_far_it_is(
    caller: Caller, client: httpx2.AsyncClient, worker: Worker, stage: str
) -> None:
    session, path = await link(caller, method="redirect" if stage == "awaiting_user" else "credentials")
    if stage in {"choosing", "completed"}:
        login = "chain-3" if stage == "choosing" else "bakery"
        assert (await client.post(path, data={"login": login, "password": "right"})).status_code == 303
    assert (await client.get(path)).status_code == 200
    assert await state_of(caller, session) == stage
    # Twice, for it may be sent twice
    for _ in range(2):
        assert (await caller.call("DELETE", f"connect-sessions/{session['id']}")).status_code == 204
        assert is_gone(await client.get(path))
        assert is_gone(await client.post(path, data={"login": "bakery", "password": "right", "targets": "chain.1"}))
    read = (await caller.call("GET", f"connect-sessions/{session['id']}")).json()
    ended = stage != "completed"
    assert (read["state"], read["allowed_actions"]) == ("failed" if ended else "completed", [])
    assert (read["error"] or {}).get("code") == ("connect_state_invalid" if ended else None)
    late = await caller.call("POST", f"connect-sessions/{session['id']}/complete", {"targets": "all"})
    assert (late.status_code, late.json()["code"]) == (409, "connect_state_invalid")
    # Nothing that a network gave for it is kept, and what came of it before stays
    held = await worker.owner.fetchrow("select link_hash, state_hash, sealed_verifier, sealed_credentials from connect_sessions")
    assert set(held.values()) == {None}
    assert await worker.owner.fetchval("select count(*) from accounts where state = 'active'") == (0 if ended else 1)
    told = await worker.owner.fetch("select before::text, after::text from audit_entries where action = 'connect_session.revoke'")
    assert len(told) == 1
    assert ('"link": true' in told[0]["before"], '"link": false' in told[0]["after"]) == (True, True)


async def test_who_is_at_the_network_comes_back_to_nothing_once_the_session_is_ended(
    caller: Caller, client: httpx2.AsyncClient, worker: Worker, scripted: Scripted
) -> None:
    session, path = await link(caller, method="redirect")
    way = re.search(r"state=([\w.-]+)", (await client.post(path)).text)
    assert way is not None
    code = scripted.agree("bakery", URI)
    assert (await caller.call("DELETE", f"connect-sessions/{session['id']}")).status_code == 204
    late = await client.get("/connect/callback/scripted", params={"code": code, "state": way[1]})
    assert (late.status_code, "not valid any more" in late.text) == (400, True)
    assert code in scripted.codes, "the network is not even asked"
    assert await worker.owner.fetchval("select count(*) from accounts") == 0


async def test_only_who_may_connect_in_its_workspace_ends_a_session(
    caller: Caller, stranger: Caller, client: httpx2.AsyncClient
) -> None:
    session, path = await link(caller)
    theirs, _ = await link(stranger)
    assert (await stranger.call("DELETE", f"{caller.home}/connect-sessions/{session['id']}")).status_code == 404
    assert (await stranger.call("DELETE", f"connect-sessions/{session['id']}")).status_code == 404
    assert (await caller.call("DELETE", f"connect-sessions/{theirs['id']}")).status_code == 404
    assert (await client.get(path)).status_code == 200
