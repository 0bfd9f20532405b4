"""Single sign-on: a member comes in by the provider of its agency, into this agency alone; and whoever else comes does not."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from core.clock import seconds
from core.settings import Settings
from tests.conftest import TestAgency
from tests.fakes.openid import CLIENT, Provider
from tests.people.cast import Cast, Someone
from tests.people.credentials import add_app
from tests.people.people import join, make_person
from tests.people.sign_on import agc, come, come_back, door_of, leave, set_provider, wish

BEN = "ben@first.example"


@pytest.fixture
async def door(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser of nobody yet."""
    async with door_of(app) as client:
        yield client


@pytest.fixture
async def ada(cast: Cast) -> Someone:
    """Ada owns the first agency."""
    return await cast.add("ada", "owner")


@pytest.fixture
async def ben(cast: Cast) -> Someone:
    """Ben writes for one workspace of it."""
    return await cast.add("ben", "member", {cast.agency.workspace.id: "content"})


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """The database itself, past the walls."""
    connection = await asyncpg.connect(settings.database_url)
    for table in ("identity_providers", "identities", "sign_ons", "audit_entries"):
        await connection.execute(f"alter table {table} no force row level security")
    yield connection
    await connection.close()


def is_refused(answer: httpx2.Response) -> bool:
    """A page that signs nobody in, and repeats nothing of the address."""
    assert answer.headers["content-type"].startswith("text/html"), answer.text
    assert "sid=" not in answer.headers.get("set-cookie", "")
    assert "code-0" not in answer.text
    return answer.status_code in {400, 403}


async def test_a_member_comes_in_by_the_provider_into_its_agency(
    door: httpx2.AsyncClient, ada: Someone, ben: Someone, agency: TestAgency, provider: Provider, owner: asyncpg.Connection
) -> None:
    id = await set_provider(ada.client, provider.issuer)
    assert "Continue with" in (await door.get(f"/sign-on/{agc(agency)}")).text
    url = await leave(door, agency, id)
    assert url.startswith(f"{provider.issuer}/auth?")
    assert "code_challenge_method=S256" in url
    answer = await come_back(door, agency, provider.agree(url, BEN))
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-on/done"), answer.text
    assert len(provider.asked[0]["code_verifier"]) >= 43
    assert "First" in (await door.get("/sign-on/done")).text
    # Then it speaks for its agency without saying which, as the member that it is
    me = (await door.get("/v1/me")).json()
    assert (me["actor"]["id"], me["actor"]["role"], me["agency"]["name"]) == (ben.id, "member", "First")
    # And the next time it is known by its subject, whatever its e-mail is by then
    again = await come(door, agency, provider, id, "benjamin@first.example")
    assert again.status_code == 303, again.text
    assert (await door.get("/v1/me")).json()["actor"]["id"] == ben.id
    assert await owner.fetchval("select count(*) from identities") == 1
    told = (await ada.client.get("/v1/audit-entries?action=member.link_identity")).json()["data"]
    assert [one["subject"]["id"] for one in told] == [ben.id]


async def test_it_is_begun_over_the_api_too(
    door: httpx2.AsyncClient, ada: Someone, ben: Someone, agency: TestAgency, provider: Provider
) -> None:
    id = await set_provider(ada.client, provider.issuer)
    begun = await door.post("/v1/sign-ons", json={"agency_id": agc(agency), "identity_provider_id": id, "onward": "/oauth/x"})
    assert begun.status_code == 201, begun.text
    answer = await come_back(door, agency, provider.agree(begun.json()["authorize_url"], BEN))
    assert (answer.status_code, answer.headers["location"]) == (303, "/oauth/x")
    assert (await door.get("/v1/me")).json()["actor"]["id"] == ben.id
    unknown = await door.post("/v1/sign-ons", json={"agency_id": agc(agency), "identity_provider_id": "idp_" + "0" * 26})
    assert unknown.status_code == 404


@pytest.mark.parametrize(
    "spoil",
    [
        {"nonce": "another"}, {"nonce": None}, {"iss": "https://evil.example"}, {"aud": "another"}, {"aud": ["octavo", "another"]},
        {"azp": "another"}, {"exp": 1}, {"exp": None}, {"iat": int(seconds()) + 3_600}, {"sub": None}, {"sub": ""},
        {"sub": "\x00"},
        {"email_verified": False}, {"email_verified": "true"}, {"email_verified": None}, {"email": "ben@second.example"},
        {"email": "ben@first.example@second.example"}, {"email": "ben@sub.first.example"}, {"email": "nobody@first.example"},
    ],
    ids=str,
)  # fmt: skip
async def test_who_is_not_surely_a_member_does_not_come_in(
    door: httpx2.AsyncClient, ada: Someone, ben: Someone, agency: TestAgency, provider: Provider, owner: asyncpg.Connection,
    spoil: dict[str, Any],
) -> None:  # fmt: skip
    id = await set_provider(ada.client, provider.issuer)
    url = await leave(door, agency, id)
    assert is_refused(await come_back(door, agency, provider.agree(url, **{"email": BEN} | spoil)))
    assert await owner.fetchval("select count(*) from identities") == 0
    assert (await door.get("/v1/me")).status_code == 401


async def test_letters_that_only_fold_to_those_of_a_member_are_not_its_own(
    door: httpx2.AsyncClient, ada: Someone, cast: Cast, agency: TestAgency, provider: Provider, owner: asyncpg.Connection
) -> None:  # fmt: skip
    await cast.add("mike", "member")
    id = await set_provider(ada.client, provider.issuer)
    for email in ("mi\N{KELVIN SIGN}e@first.example", "mike@f\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}rst.example"):
        assert is_refused(await come(door, agency, provider, id, email))
    assert await owner.fetchval("select count(*) from identities") == 0
    assert (await come(door, agency, provider, id, "MIKE@First.example")).status_code == 303


@pytest.mark.parametrize("how", ["none", "HS256", "forged"])
async def test_a_word_that_the_provider_has_not_signed_is_no_word(
    door: httpx2.AsyncClient, ada: Someone, ben: Someone, agency: TestAgency, provider: Provider, how: str
) -> None:
    id = await set_provider(ada.client, provider.issuer)
    provider.algorithm, provider.forged = ("RS256", True) if how == "forged" else (how, False)
    assert is_refused(await come(door, agency, provider, id, BEN))
    provider.algorithm, provider.forged = "RS256", False
    assert (await come(door, agency, provider, id, BEN)).status_code == 303


@pytest.mark.parametrize("told", [{"issuer": "https://evil.example"}, {"token_endpoint": "ftp://x/"}, {"jwks_uri": None}])
async def test_a_provider_that_describes_itself_wrongly_is_not_left_for(
    door: httpx2.AsyncClient, ada: Someone, agency: TestAgency, provider: Provider, told: dict[str, Any]
) -> None:
    id = await set_provider(ada.client, provider.issuer)
    provider.told = told
    assert (await door.post(f"/sign-on/{agc(agency)}", data={"provider": id})).status_code == 403


async def test_a_way_back_is_good_once_in_one_browser_for_ten_minutes(
    app: FastAPI, door: httpx2.AsyncClient, ada: Someone, ben: Someone, agency: TestAgency, other: TestAgency,
    provider: Provider, owner: asyncpg.Connection,
) -> None:  # fmt: skip
    id = await set_provider(ada.client, provider.issuer)
    # Another browser, another agency's address, another state, another issuer
    brought = provider.agree(await leave(door, agency, id), BEN)
    async with door_of(app) as elsewhere:
        assert is_refused(await come_back(elsewhere, agency, brought))
        await leave(elsewhere, agency, id)
        assert is_refused(await come_back(elsewhere, agency, brought))
    assert is_refused(await come_back(door, other, brought))
    for state in ("", "x", "a" * 300, brought["state"][:-1], brought["state"] + "x"):
        assert is_refused(await come_back(door, agency, brought | {"state": state}))
    # It was good all the time, and is good once
    assert (await come_back(door, agency, brought)).status_code == 303
    assert is_refused(await come_back(door, agency, brought))
    for wrong in ({"iss": "https://evil.example"}, {"iss": ""}):
        brought = provider.agree(await leave(door, agency, id), BEN)
        assert is_refused(await come_back(door, agency, brought | wrong))
        assert is_refused(await come_back(door, agency, brought)), "it is spent"
    brought = provider.agree(await leave(door, agency, id), BEN)
    assert is_refused(await come_back(door, agency, {"state": brought["state"], "iss": provider.issuer, "error": "access_denied"}))
    brought = provider.agree(await leave(door, agency, id), BEN)
    await owner.execute("update sign_ons set expires_at = expires_at - interval '10 minutes'")
    assert is_refused(await come_back(door, agency, brought))
    await leave(door, agency, id)
    assert await owner.fetchval("select count(*) from sign_ons") == 1, "what ran out is swept away"


async def test_the_session_opens_no_other_agency_and_nothing_of_the_persons_own(
    door: httpx2.AsyncClient, cast: Cast, ada: Someone, ben: Someone, agency: TestAgency, other: TestAgency, provider: Provider
) -> None:
    await join(cast.database, other, ben.user_id, "owner")
    id = await set_provider(ada.client, provider.issuer)
    assert (await come(door, agency, provider, id, BEN)).status_code == 303
    elsewhere = await door.get("/v1/me", headers={"Octavo-Agency": agc(other)})
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "not_found")
    assert (await door.get("/v1/me", headers={"Octavo-Agency": agc(agency)})).status_code == 200
    for method, path, body in (
        ("GET", "/v1/sessions", None),
        ("GET", "/v1/me/second-factors", None),
        ("POST", "/v1/me/totp", None),
        ("POST", "/v1/me/passkeys/options", None),
        ("PUT", "/v1/me/password", {"current_password": "x", "new_password": "five quiet lanterns by a bay"}),
        ("POST", "/v1/invitations/accept", {"token": "x"}),
    ):
        answer = await door.request(method, path, json=body)
        assert answer.status_code in {403, 404, 405}, (path, answer.text)
        if answer.status_code == 403:
            assert answer.json()["code"] == "session_bound", path
    assert "one agency only" in (await door.get("/security")).text
    # And it ends as any other
    assert (await door.delete("/v1/sessions/current")).status_code == 204
    assert (await door.get("/v1/me")).status_code == 401


async def test_a_provider_names_no_account_of_another_agency(
    door: httpx2.AsyncClient, cast: Cast, ada: Someone, agency: TestAgency, other: TestAgency, provider: Provider
) -> None:
    user = await make_person(cast.database, "eve@first.example")  # of the very domain, and in another agency
    await join(cast.database, other, user, "owner")
    id = await set_provider(ada.client, provider.issuer)
    assert is_refused(await come(door, agency, provider, id, "eve@first.example"))
    assert (await door.get(f"/sign-on/{agc(other)}")).status_code == 404
    assert (await door.post(f"/sign-on/{agc(other)}", data={"provider": id})).status_code == 404


async def test_two_of_a_provider_are_not_one_member(
    door: httpx2.AsyncClient, ada: Someone, ben: Someone, agency: TestAgency, provider: Provider
) -> None:
    id = await set_provider(ada.client, provider.issuer)
    assert (await come(door, agency, provider, id, BEN)).status_code == 303
    assert is_refused(await come(door, agency, provider, id, BEN, subject="subject-2"))
    # A provider that is set anew knows those of the same issuer again
    assert (await ada.client.delete(f"/v1/identity-providers/{id}")).status_code == 204
    id = await set_provider(ada.client, provider.issuer)
    assert is_refused(await come(door, agency, provider, id, BEN, subject="subject-2"))
    assert (await come(door, agency, provider, id, BEN)).status_code == 303


async def test_nobody_lets_in_by_a_provider_who_may_more_than_himself(
    app: FastAPI, cast: Cast, ada: Someone, ben: Someone, agency: TestAgency, provider: Provider
) -> None:
    eve = await cast.add("eve", "admin")
    id = await set_provider(eve.client, provider.issuer)
    async with door_of(app) as owners, door_of(app, "127.0.0.2") as bens:
        assert is_refused(await come(owners, agency, provider, id, "ada@first.example", subject="ada"))
        assert (await come(bens, agency, provider, id, BEN)).status_code == 303
        # Who is made an owner meanwhile does not get in by it, and nobody does once the admin has left
        assert (await ada.client.patch(f"/v1/members/{ben.id}", json={"role": "owner"})).status_code == 200
        assert (await bens.get("/v1/me")).status_code == 401
        assert (await ada.client.patch(f"/v1/members/{ben.id}", json={"role": "member"})).status_code == 200
        assert (await bens.get("/v1/me")).status_code == 200
        assert (await ada.client.delete(f"/v1/members/{eve.id}")).status_code == 204
        assert (await bens.get("/v1/me")).status_code == 401
        assert is_refused(await come(bens, agency, provider, id, BEN))


async def test_what_a_provider_began_ends_with_it_and_with_the_membership(
    door: httpx2.AsyncClient, ada: Someone, ben: Someone, agency: TestAgency, provider: Provider
) -> None:
    id = await set_provider(ada.client, provider.issuer)
    assert (await come(door, agency, provider, id, BEN)).status_code == 303
    brought = provider.agree(await leave(door, agency, id), BEN)
    assert (await ada.client.delete(f"/v1/identity-providers/{id}")).status_code == 204
    assert (await door.get("/v1/me")).status_code == 401
    assert is_refused(await come_back(door, agency, brought))
    id = await set_provider(ada.client, provider.issuer)
    assert (await come(door, agency, provider, id, BEN)).status_code == 303
    assert (await ada.client.delete(f"/v1/members/{ben.id}")).status_code == 204
    assert (await door.get("/v1/me")).status_code == 404
    assert is_refused(await come(door, agency, provider, id, BEN))


async def test_a_second_factor_is_the_providers_where_it_says_so_and_else_the_persons(
    door: httpx2.AsyncClient, ada: Someone, ben: Someone, agency: TestAgency, provider: Provider
) -> None:
    await add_app(ada.client)
    assert (await ada.client.patch("/v1/agency", json={"second_factor_required": True})).status_code == 200
    # Given a provider that does not ask for one: nobody is let in without one of its own
    id = await set_provider(ada.client, provider.issuer)
    assert (await come(door, agency, provider, id, BEN)).status_code == 303
    refused = await door.get("/v1/me")
    assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required")
    # Who has one is asked for it, and is through with it, in this agency alone
    app, _ = await add_app(ben.client)
    half = await come(door, agency, provider, id, BEN)
    assert half.headers["location"] == "/second-factor?next=%2Fsign-on%2Fdone"
    assert (await door.get("/v1/me")).json()["code"] == "second_factor_needed"
    whole = await door.post("/v1/sessions/second-factor", json={"code": app.code(1)})
    assert (whole.status_code, [one["name"] for one in whole.json()["agencies"]]) == (201, ["First"]), whole.text
    assert (await door.get("/v1/me")).status_code == 200
    assert (await door.get("/v1/sessions")).json()["code"] == "session_bound"
    # Given one that does: nobody is asked here
    assert (await ada.client.delete(f"/v1/identity-providers/{id}")).status_code == 204
    id = await set_provider(ada.client, provider.issuer, second_factor=True)
    assert (await come(door, agency, provider, id, BEN)).headers["location"] == "/sign-on/done"
    assert (await door.get("/v1/me")).status_code == 200


async def test_a_provider_is_set_in_person_by_who_may_and_its_secret_is_sealed(
    app: FastAPI, cast: Cast, ada: Someone, ben: Someone, client: httpx2.AsyncClient, other: TestAgency,
    provider: Provider, owner: asyncpg.Connection,
) -> None:  # fmt: skip
    id = await set_provider(ada.client, provider.issuer)
    for caller in (client, ben.client):
        refused = await caller.post("/v1/identity-providers", json=wish("https://id.first.example"))
        assert (refused.status_code, refused.json()["required_permission"]) == (403, "sign_on:manage")
    for method, path in (("GET", ""), ("GET", f"/{id}"), ("DELETE", f"/{id}")):
        assert (await ben.client.request(method, f"/v1/identity-providers{path}")).status_code == 403
    stranger = await Cast(app, cast.database, other).add("sam", "owner")
    for method in ("GET", "DELETE"):
        assert (await stranger.client.request(method, f"/v1/identity-providers/{id}")).status_code == 404
    assert (await stranger.client.get("/v1/identity-providers")).json()["data"] == []
    (shown,) = (await ada.client.get("/v1/identity-providers")).json()["data"]
    assert shown["set_by_member_id"] == ada.id
    assert shown == (await ada.client.get(f"/v1/identity-providers/{id}")).json()
    again = await ada.client.post("/v1/identity-providers", json=wish(provider.issuer))
    assert again.status_code == 409
    for issuer in ("ftp://id.example", "https://user@id.example", "https://10.0.0.1", "https://id.example/?a", "nonsense"):
        wrong = await ada.client.post("/v1/identity-providers", json=wish(issuer))
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/issuer"), issuer
    held = str(dict(await owner.fetchrow("select * from identity_providers")))
    log = str(await owner.fetch("select before, after from audit_entries"))
    assert CLIENT["client_secret"] not in held + log + str(shown)
    assert "identity_provider" in str(await owner.fetch("select subject_type from audit_entries"))


async def test_who_tries_many_ways_in_is_stopped(app: FastAPI, agency: TestAgency) -> None:
    quota = app.state.settings.rate_limit_address
    async with door_of(app, "9.9.9.9") as door:
        path = f"/sign-on/callback/{agc(agency)}"
        answers = [(await door.get(path, params={"state": f"{number}", "code": "x"})).status_code for number in range(quota + 1)]
    assert answers == [400] * quota + [429]
