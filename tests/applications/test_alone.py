"""Applications by themselves: registered, with secrets that end, tokens without a person, and what they learn of them."""

from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import KeySet

from core.db import Database
from core.ids import encode
from core.settings import Settings
from tests.applications.flow import CALLBACK, FORM, Application, register, workspace_of
from tests.conftest import TestAgency, client_of
from tests.people.people import join, make_person, signed_in, spoiled

OWN: dict[str, Any] = {"confidential": True, "redirect_uris": []}


async def own_token(application: Application, **more: str) -> httpx2.Response:
    """Ask for a token without a person."""
    return await application.post("token", grant_type="client_credentials", **more)


async def alone(app: FastAPI, agency: TestAgency, **more: Any) -> Application:
    """An application that works by itself in the agency's workspace."""
    return await register(app, agency, **OWN | {"workspace_ids": [workspace_of(agency)]} | more)


@pytest.mark.parametrize(
    "uri",
    [
        "http://dashboard.example/callback", "https://dashboard.example/#x", "https://*.example/", "https://user@dashboard.example/",
        "javascript:alert(1)", "com.example.app:/callback", "https://", "/callback", "https://dashboard.example/ x", "https://é.example/",
        "https://dashboard.example:99999/", "http://127.0.0.1.evil.example/", "https://dashboard.example/\n",
    ],
)  # fmt: skip
async def test_an_address_to_come_back_to_is_exact_and_safe(app: FastAPI, agency: TestAgency, uri: str) -> None:
    async with client_of(app, agency.key) as client:
        wish = {"name": "A", "confidential": False, "redirect_uris": [CALLBACK, uri], "scopes": ["post:read"]}
        answer = await client.post("/v1/applications", json=wish)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/redirect_uris/1")


async def test_an_application_can_be_allowed_nothing_about_the_agency_and_nothing_that_its_maker_lacks(
    app: FastAPI, agency: TestAgency, other: TestAgency
) -> None:
    wish = {"name": "A", "confidential": True, "redirect_uris": [CALLBACK], "scopes": ["post:read"]}
    async with client_of(app, agency.key) as client:
        for scope in ("key:manage", "member:assign", "application:manage", "audit:read", "workspace:create"):
            assert (await client.post("/v1/applications", json=wish | {"scopes": [scope]})).status_code == 422
        foreign = await client.post("/v1/applications", json=wish | {"workspace_ids": [workspace_of(other)]})
        assert foreign.json()["errors"][0]["code"] == "not_found"
        public = wish | {"confidential": False, "workspace_ids": [workspace_of(agency)]}
        assert (await client.post("/v1/applications", json=public)).status_code == 422
        made = (await client.post("/v1/applications", json=wish | {"scopes": ["post:create"]})).json()["id"]
        narrow = {"name": "narrow", "scopes": ["application:manage", "application:read", "post:read"]}
        key = (await client.post("/v1/api-keys", json=narrow)).json()["key"]
        bound = narrow | {"workspace_ids": [workspace_of(agency)]}
        bound_key = (await client.post("/v1/api-keys", json=bound)).json()["key"]
    async with client_of(app, key) as narrowed:
        lacking = wish | {"scopes": ["post:create"]}
        assert (await narrowed.post("/v1/applications", json=lacking)).status_code == 403
        assert (await narrowed.post("/v1/applications", json=wish)).status_code == 201
        # Nor does it lay hands on what holds more than itself
        assert (await narrowed.post(f"/v1/applications/{made}/secrets")).status_code == 403
        assert (await narrowed.patch(f"/v1/applications/{made}", json={"redirect_uris": []})).status_code == 403
    async with client_of(app, bound_key) as within:
        assert (await within.post("/v1/applications", json=wish)).status_code == 403
        assert (await within.get("/v1/applications")).json()["data"] == []
        assert (await within.get(f"/v1/applications/{made}")).status_code == 404


async def test_an_application_works_by_itself_where_its_agency_said(app: FastAPI, agency: TestAgency, other: TestAgency) -> None:
    application = await alone(app, agency)
    answer = await own_token(application)
    assert answer.status_code == 200, answer.text
    assert "refresh_token" not in answer.json()
    async with client_of(app, answer.json()["access_token"]) as caller, client_of(app, agency.key) as client:
        assert (await caller.get(f"/v1/workspaces/{workspace_of(agency)}/posts")).status_code == 200
        assert (await caller.get(f"/v1/workspaces/{workspace_of(other)}/posts")).status_code == 404
        # When the agency takes the workspace away, living tokens lose it too, and there are no more of them
        await client.patch(f"/v1/applications/{application.id}", json={"workspace_ids": []})
        assert (await caller.get(f"/v1/workspaces/{workspace_of(agency)}/posts")).status_code == 404
        assert (await own_token(application)).json()["error"] == "unauthorized_client"
    assert (await own_token(await alone(app, agency), scope="post:create")).json()["error"] == "invalid_scope"
    public = await register(app, agency)
    assert (await own_token(public)).json()["error"] == "invalid_client"


async def test_the_caller_behind_a_token_is_the_application(app: FastAPI, agency: TestAgency) -> None:
    application = await alone(app, agency, scopes=("agency:read", "workspace:read"))
    async with client_of(app, (await own_token(application)).json()["access_token"]) as caller:
        me = (await caller.get("/v1/me")).json()
    assert (me["type"], me["actor"]) == ("application", {"id": application.id, "name": "Dashboard"})
    assert [one["id"] for one in me["workspaces"]] == [workspace_of(agency)]


@pytest.mark.parametrize("secret", ["", "x", "ocs_test_" + "x" * 75])
async def test_a_wrong_secret_and_an_unknown_client_are_one_error(app: FastAPI, agency: TestAgency, secret: str) -> None:
    application = await alone(app, agency)
    nobody = Application("", "oci_" + "0" * 52, secret, application.door)
    for one in (Application(application.id, application.client_id, secret, application.door), nobody):
        answer = await own_token(one)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert answer.headers["www-authenticate"] == 'Basic realm="octavo"'
    broken = {"Authorization": "Basic /////w=="}
    answer = await application.door.post("/oauth/token", data={"grant_type": "client_credentials"}, headers=broken)
    assert answer.status_code in {400, 401}


async def test_a_new_secret_leaves_the_old_one_a_day(app: FastAPI, database: Database, agency: TestAgency) -> None:
    application = await alone(app, agency)
    async with client_of(app, agency.key) as client:
        once = {"Idempotency-Key": "rotate"}
        made = await client.post(f"/v1/applications/{application.id}/secrets", headers=once)
        again = await client.post(f"/v1/applications/{application.id}/secrets", headers=once)
    assert (made.status_code, again.status_code, again.json()["client_secret"]) == (201, 201, None)
    newer = Application(application.id, application.client_id, made.json()["client_secret"], application.door)
    assert [(await own_token(one)).status_code for one in (application, newer)] == [200, 200]
    async with database.connection(agency.tenant) as db:
        await db.execute("update application_secrets set expires_at = now() where expires_at is not null")
    assert [(await own_token(one)).status_code for one in (application, newer)] == [401, 200]


async def test_a_secret_and_its_tokens_end_with_who_was_shown_it(
    app: FastAPI, database: Database, agency: TestAgency, ada: UUID
) -> None:
    user_id = await make_person(database, "adam@first.example")
    member = encode("mem", await join(database, agency, user_id, "admin"))
    wish = {"name": "A", "scopes": ["workspace:read"], "workspace_ids": [workspace_of(agency)]} | OWN
    async with await signed_in(app, database, user_id, agency) as adam:
        told = (await adam.post("/v1/applications", json=wish)).json()
    async with client_of(app, agency.key) as client:
        key = (await client.post("/v1/api-keys", json={"name": "k", "scopes": ["application:manage", "workspace:read"]})).json()
        async with client_of(app, key["key"]) as maker:
            told_key = (await maker.post("/v1/applications", json=wish)).json()
        for one, path in ((told, f"/v1/members/{member}"), (told_key, f"/v1/api-keys/{key['id']}")):
            application = Application(one["id"], one["client_id"], one["client_secret"], client_of(app, None))
            token = (await own_token(application)).json()["access_token"]
            async with client_of(app, token) as caller:
                assert (await caller.get("/v1/workspaces")).status_code == 200
                assert (await client.delete(path)).status_code == 204
                assert (await caller.get("/v1/workspaces")).status_code == 401
            assert (await own_token(application)).status_code == 401


@pytest.mark.parametrize("by_key", [False, True])
async def test_a_secret_never_opens_more_than_who_was_shown_it_may(
    app: FastAPI, database: Database, agency: TestAgency, other: TestAgency, ada: UUID, by_key: bool
) -> None:
    user_id = await make_person(database, "adam@first.example")
    member, home = encode("mem", await join(database, agency, user_id, "member")), workspace_of(agency)
    held = ["application:manage", "key:manage", "workspace:read", "media:read"]
    foreign = await alone(app, other)
    async with client_of(app, agency.key) as owner, await signed_in(app, database, user_id, agency) as adam:
        role = (await owner.post("/v1/roles", json={"name": "r", "scope": "agency", "permissions": held})).json()["id"]
        assert (await owner.patch(f"/v1/members/{member}", json={"role": role})).status_code == 200
        maker = adam
        if by_key:
            key = (await adam.post("/v1/api-keys", json={"name": "k", "scopes": held})).json()["key"]
            maker = client_of(app, key)
        wish = {"name": "A", "scopes": ["workspace:read"], "workspace_ids": [home]} | OWN
        told = (await maker.post("/v1/applications", json=wish)).json()
        application = Application(told["id"], told["client_id"], told["client_secret"], client_of(app, None))
        place = f"/v1/applications/{told['id']}"
        token = (await own_token(application)).json()["access_token"]
        # What the maker holds himself may be added by others
        assert (await owner.patch(place, json={"scopes": ["workspace:read", "media:read"]})).status_code == 200
        assert (await own_token(application)).json()["scope"] == "media:read workspace:read"
        # What he lacks ends what he was shown, with its tokens
        assert (await owner.patch(place, json={"scopes": ["workspace:read", "post:read"]})).status_code == 200
        entry = (await owner.get("/v1/audit-entries", params={"limit": 1})).json()["data"][0]
        assert (entry["action"], entry["after"]["ended_secrets"]) == ("application.update", 1)
        assert (await own_token(application)).status_code == 401
        async with client_of(app, token) as caller:
            assert (await caller.get("/v1/workspaces")).status_code == 401
        # And not that of who added it, nor anybody else's
        made = (await owner.post(f"{place}/secrets")).json()["client_secret"]
        assert (await owner.patch(place, json={"scopes": ["workspace:read", "post:read", "event:read"]})).status_code == 200
        application.secret = made
        for one in (application, foreign):
            assert (await own_token(one)).status_code == 200
        await maker.aclose()


async def test_an_application_learns_what_its_own_tokens_are_worth(
    app: FastAPI, agency: TestAgency, other: TestAgency, browser: httpx2.AsyncClient
) -> None:
    application = await register(app, agency, confidential=True)
    tokens = await application.tokens(browser, [workspace_of(agency)])
    told = (await application.post("introspect", token=tokens["access_token"])).json()
    assert told["active"] is True
    assert told["scope"] == "post:read workspace:read"
    assert told["client_id"] == application.client_id
    assert told["authorization_details"] == [{"type": "workspace", "identifiers": [workspace_of(agency)]}]
    assert (await application.post("introspect", token=tokens["refresh_token"])).json()["active"] is True
    for stranger in (await register(app, agency, confidential=True), await register(app, other, confidential=True)):
        assert (await stranger.post("introspect", token=tokens["access_token"])).json() == {"active": False}
    for text in ("x", agency.key, spoiled(tokens["access_token"])):
        assert (await application.post("introspect", token=text)).json() == {"active": False}
    assert (await (await register(app, agency)).post("introspect", token="x")).status_code in {400, 401}
    # When one token is revoked it ends alone; the refresh token ends with all of its family
    assert (await application.post("revoke", token=tokens["access_token"])).status_code == 200
    assert (await application.post("introspect", token=tokens["access_token"])).json() == {"active": False}
    newer = (await application.refresh(tokens["refresh_token"])).json()
    assert (await application.post("revoke", token=newer["refresh_token"])).status_code == 200
    for one in (newer["access_token"], newer["refresh_token"], tokens["refresh_token"]):
        assert (await application.post("introspect", token=one)).json() == {"active": False}


async def test_an_introspection_can_be_signed_by_a_published_key(app: FastAPI, agency: TestAgency) -> None:
    application = await alone(app, agency)
    token = (await own_token(application)).json()["access_token"]
    kind = "application/token-introspection+jwt"
    answer = await application.door.post(
        "/oauth/introspect", data={"token": token}, auth=application.auth, headers={"Accept": kind}
    )
    assert answer.headers["content-type"] == kind
    keys = (await application.door.get("/oauth/jwks")).json()
    assert [sorted(key) for key in keys["keys"]] == [["alg", "crv", "kid", "kty", "use", "x", "y"]] * 2
    read = jwt.decode(answer.text, KeySet.import_key_set(keys), algorithms=["ES256"])
    assert (read.claims["iss"], read.claims["aud"]) == (app.state.settings.public_url, application.client_id)
    assert read.claims["token_introspection"]["active"] is True


async def test_errors_have_the_form_of_oauth(app: FastAPI, agency: TestAgency) -> None:
    application = await alone(app, agency)
    for path in ("token", "revoke", "introspect", "par"):
        twice = await application.door.post(f"/oauth/{path}", content="token=a&token=b", headers=FORM, auth=application.auth)
        assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
        empty = await application.door.post(f"/oauth/{path}", data={"x": ""}, auth=application.auth)
        assert empty.status_code == 400
        assert set(empty.json()) == {"error", "error_description"}
        json_body = await application.door.post(f"/oauth/{path}", json={})
        assert (json_body.status_code, json_body.json()["error"]) == (415, "invalid_request")
        assert (await application.door.get(f"/oauth/{path}")).json()["error"] == "invalid_request"
    unknown = await application.post("token", grant_type='pass"word')
    assert unknown.json()["error"] in {"unsupported_grant_type", "invalid_request"}
    assert "pass" not in unknown.text


async def test_guesses_and_questions_are_counted(settings: Settings, agency: TestAgency) -> None:
    from api.app import create_app

    tight = create_app(settings.model_copy(update={"rate_limit_key": 3, "rate_limit_address": 3}))
    async with tight.router.lifespan_context(tight):
        roomy = create_app(settings)
        async with roomy.router.lifespan_context(roomy):
            application = await alone(roomy, agency)
        transport = httpx2.ASGITransport(app=tight, raise_app_exceptions=False, client=("9.9.9.9", 1))
        application.door = httpx2.AsyncClient(transport=transport, base_url="http://octavo.test")
        answers = [await own_token(application) for _ in range(4)]
        assert [one.status_code for one in answers] == [200, 200, 200, 429]
        assert answers[-1].json()["error"] == "temporarily_unavailable"
        assert int(answers[-1].headers["retry-after"]) > 0
        transport = httpx2.ASGITransport(app=tight, raise_app_exceptions=False, client=("9.9.9.8", 1))
        robber = Application("", application.client_id, "x", httpx2.AsyncClient(transport=transport, base_url="http://octavo.test"))
        assert [(await own_token(robber)).status_code for _ in range(4)] == [401, 401, 401, 429]


async def test_registration_is_off_and_wants_a_key(settings: Settings, app: FastAPI, agency: TestAgency) -> None:
    from api.app import create_app

    wish = {"client_name": "Found", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none", "scope": "post:read"}
    async with client_of(app, agency.key) as client:
        assert (await client.post("/oauth/register", json=wish)).status_code == 404
        assert "registration_endpoint" not in (await client.get("/.well-known/oauth-authorization-server")).json()
    on = create_app(settings.model_copy(update={"oauth_registration": True}))
    async with on.router.lifespan_context(on), client_of(on, agency.key) as client, client_of(on, None) as nobody:
        assert "registration_endpoint" in (await client.get("/.well-known/oauth-authorization-server")).json()
        assert (await nobody.post("/oauth/register", json=wish)).status_code == 401
        made = (await client.post("/oauth/register", json=wish)).json()
        assert "client_secret" not in made
        assert [one["client_id"] for one in (await client.get("/v1/applications")).json()["data"]] == [made["client_id"]]
        wrong = await client.post("/oauth/register", json=wish | {"redirect_uris": ["http://evil.example/"]})
        assert wrong.json()["error"] == "invalid_redirect_uri"
        for bad in (
            {"scope": "key:manage"},
            {"grant_types": ["password"]},
            {"response_types": ["token"]},
            {"client_name": ""},
            {"grant_types": 5},
            {"grant_types": None},
            {"grant_types": [{}]},
            {"client_name": "Bank\u202eknaB"},
        ):
            assert (await client.post("/oauth/register", json=wish | bad)).json()["error"] == "invalid_client_metadata"
        secret = (await client.post("/oauth/register", json=wish | {"token_endpoint_auth_method": "client_secret_post"})).json()
        assert secret["client_secret"].startswith("ocs_test_")
