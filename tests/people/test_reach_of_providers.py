"""How far a provider reaches that an agency has set: into this agency, and never at a member's other agencies or its own."""

import asyncpg
import httpx2
from fastapi import FastAPI

from core.db import Database
from core.ids import encode
from core.settings import Settings
from tests.applications.flow import register
from tests.conftest import TestAgency, client_of
from tests.fakes.openid import Provider
from tests.people.cast import Cast
from tests.people.credentials import add_app
from tests.people.people import browser, join, make_person, sign_in, signed_in
from tests.people.sign_on import come, door_of, set_provider, wish

CALLBACKS = {"confidential": False, "redirect_uris": ["https://dashboard.example/"]}
BEN = "ben@freelance.example"


async def stage(cast: Cast, other: TestAgency, provider: Provider) -> tuple[httpx2.AsyncClient, str]:
    """Mallory owns the first agency; Ben works there and owns the second. Returns Ben's browser, and Mallory's provider."""
    mallory, ben = await cast.add("mallory", "owner"), await make_person(cast.database, BEN)
    await join(cast.database, cast.agency, ben, "member", {cast.agency.workspace.id: "content"})
    await join(cast.database, other, ben, "owner")
    id = await set_provider(mallory.client, provider.issuer, domains=["freelance.example"])
    return await signed_in(cast.app, cast.database, ben, other), id


async def test_wrong_codes_of_one_agencys_provider_shut_nobody_out_elsewhere(
    app: FastAPI, cast: Cast, other: TestAgency, provider: Provider
) -> None:
    own, id = await stage(cast, other, provider)
    totp, _ = await add_app(own)
    async with door_of(app, "9.9.9.9") as thief:
        assert (await come(thief, cast.agency, provider, id, BEN)).headers["location"].startswith("/second-factor")
        answers = [await thief.post("/v1/sessions/second-factor", json={"code": f"{n:06}"}) for n in range(7)]
        assert [one.status_code for one in answers] == [401] * 5 + [429] * 2
        # Given another half session, the pause stays
        assert (await come(thief, cast.agency, provider, id, BEN)).status_code == 303
        assert (await thief.post("/v1/sessions/second-factor", json={"code": totp.code(1)})).status_code == 429
    async with browser(app, "8.8.8.8") as honest:
        assert (await sign_in(honest, BEN)).json()["state"] == "second_factor_needed"
        assert (await honest.post("/v1/sessions/second-factor", json={"code": totp.code(1)})).status_code == 201


async def test_a_provider_crowds_out_no_session_but_its_own(
    app: FastAPI, cast: Cast, other: TestAgency, provider: Provider
) -> None:
    own, id = await stage(cast, other, provider)
    async with door_of(app, "9.9.0.9") as first:
        assert (await come(first, cast.agency, provider, id, BEN)).status_code == 303
        for number in range(50):
            async with door_of(app, f"9.9.{number}.9") as thief:
                assert (await come(thief, cast.agency, provider, id, BEN)).status_code == 303
        assert (await first.get("/v1/me")).status_code == 401
    assert (await own.get("/v1/me")).status_code == 200


async def test_who_knows_the_password_alone_ends_no_session(app: FastAPI, database: Database, agency: TestAgency) -> None:
    ben = await make_person(database, BEN)
    await join(database, agency, ben, "owner")
    own = await signed_in(app, database, ben, agency)
    await add_app(own)
    doors = [browser(app, f"9.9.{number}.9") for number in range(51)]
    for thief in doors:
        assert (await sign_in(thief, BEN)).json()["state"] == "second_factor_needed"
    assert (await own.get("/v1/me")).status_code == 200
    # And a few wait at a time, no more
    waits = [(await thief.post("/v1/sessions/second-factor", json={"code": "000000"})).json()["code"] for thief in doors[:46]]
    assert set(waits) == {"unauthenticated"}
    last = await doors[-1].post("/v1/sessions/second-factor", json={"code": "000000"})
    assert last.json()["code"] == "sign_in_failed"
    for thief in doors:
        await thief.aclose()


async def test_a_provider_ends_when_who_set_it_may_set_none(app: FastAPI, cast: Cast, provider: Provider) -> None:
    ada, eve = await cast.add("ada", "owner"), await cast.add("eve", "admin")
    await cast.add("ben", "member", {cast.agency.workspace.id: "viewer"})
    id = await set_provider(eve.client, provider.issuer)
    roles = (await ada.client.get("/v1/roles")).json()["data"]
    held = next(one for one in roles if one["id"] == "manager")["permissions"]
    assert "sign_on:manage" not in held
    role = await ada.client.post("/v1/roles", json={"name": "Desk", "scope": "agency", "permissions": held})
    async with door_of(app) as bens:
        assert (await come(bens, cast.agency, provider, id, "ben@first.example")).status_code == 303
        assert (await bens.get("/v1/me")).status_code == 200
        lowered = await ada.client.patch(f"/v1/members/{eve.id}", json={"role": role.json()["id"]})
        assert lowered.status_code == 200, lowered.text
        assert (await bens.get("/v1/me")).status_code == 401
        assert (await come(bens, cast.agency, provider, id, "ben@first.example")).status_code == 403


async def test_a_token_counts_as_proven_by_a_provider_as_long_as_the_session_does(
    app: FastAPI, cast: Cast, provider: Provider
) -> None:  # fmt: skip
    room = encode("wsp", cast.agency.workspace.id)
    ada, eve = await cast.add("ada", "owner"), await cast.add("eve", "admin")
    ben = await cast.add("ben", "member", {cast.agency.workspace.id: "manager"})
    id = await set_provider(eve.client, provider.issuer, second_factor=True)
    application = await register(app, cast.agency)
    await add_app(ada.client)
    async with door_of(app) as bens:
        assert (await come(bens, cast.agency, provider, id, "ben@first.example")).status_code == 303
        token = (await application.tokens(ben.client, [room]))["access_token"]
        assert (await ada.client.patch("/v1/agency", json={"second_factor_required": True})).status_code == 200
        async with client_of(app, token) as client:
            posts = f"/v1/workspaces/{room}/posts"
            assert [(await one.get(posts)).status_code for one in (client, bens)] == [200, 200]
            assert (await ada.client.delete(f"/v1/members/{eve.id}")).status_code == 204
            answers = [await one.get(posts) for one in (client, bens)]
            assert [(one.status_code, one.json()["code"]) for one in answers] == [
                (403, "second_factor_required"), (401, "unauthenticated"),
            ]  # fmt: skip


async def test_nothing_outlives_a_session_that_somebody_else_vouches_for(app: FastAPI, cast: Cast, provider: Provider) -> None:
    eve, ben, mallory = await cast.add("eve", "admin"), await cast.add("ben", "admin"), await cast.add("mallory", "member")
    id = await set_provider(eve.client, provider.issuer)
    key = {"name": "k", "scopes": ["post:read"]}
    asked = {"email": "x@second.example", "delivery": "link"}
    async with door_of(app) as bens, door_of(app, "127.0.0.2") as eves:
        assert (await come(bens, cast.agency, provider, id, "ben@first.example")).status_code == 303
        for path, body in (("/v1/api-keys", key), ("/v1/invitations", asked)):
            refused = await bens.post(path, json=body)
            assert (refused.status_code, refused.json()["code"]) == (403, "session_bound"), refused.text
            assert (await ben.client.post(path, json=body)).status_code == 201
        application = (await ben.client.post("/v1/applications", json={"name": "a", "scopes": ["post:read"]} | CALLBACKS)).json()
        role = (await ben.client.post("/v1/roles", json={"name": "r", "scope": "agency", "permissions": ["post:read"]})).json()
        room = encode("wsp", cast.agency.workspace.id)
        for method, path, body in (
            ("PATCH", f"/v1/members/{mallory.id}", {"role": "admin"}),
            ("PUT", f"/v1/workspaces/{room}/members/{mallory.id}", {"role": "manager"}),
            ("PATCH", f"/v1/roles/{role['id']}", {"permissions": ["post:read", "key:manage"]}),
            ("PATCH", f"/v1/applications/{application['id']}", {"redirect_uris": ["https://evil.example/"]}),
            ("PATCH", f"/v1/identity-providers/{id}", {"name": "Mine"}),
        ):
            refused = await bens.request(method, path, json=body)
            assert (refused.status_code, refused.json()["code"]) == (403, "session_bound"), refused.text
            assert (await ben.client.request(method, path, json=body)).status_code == 200
        # Who set it vouches for himself
        assert (await come(eves, cast.agency, provider, id, "eve@first.example", subject="eve")).status_code == 303
        assert (await eves.post("/v1/api-keys", json=key)).status_code == 201


async def test_an_old_session_sets_no_provider_and_makes_no_owner(cast: Cast, settings: Settings, provider: Provider) -> None:
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "admin")
    id = await set_provider(ada.client, provider.issuer)
    db = await asyncpg.connect(settings.database_url)
    await db.execute("alter table sessions no force row level security")
    await db.execute("update sessions set authenticated_at = authenticated_at - interval '11 minutes'")
    await db.execute("alter table sessions force row level security")
    await db.close()
    for method, path, body in (
        ("POST", "/v1/identity-providers", wish(provider.issuer)),
        ("PATCH", f"/v1/identity-providers/{id}", {"client_secret": "another"}),
        ("POST", "/v1/agency/transfer", {"member_id": ada.id}),
        ("PATCH", f"/v1/members/{ben.id}", {"role": "owner"}),
        ("POST", "/v1/invitations", {"email": "x@second.example", "role": "owner"}),
    ):
        refused = await ada.client.request(method, path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "reauthentication_required"), refused.text
