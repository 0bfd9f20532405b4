"""Authlib's own client, over real HTTP, through the whole flow."""

import time

import httpx2
from authlib.integrations.httpx_client import AsyncOAuth2Client

from core.db import Database
from tests.applications.flow import CALLBACK, register, say, workspace_of
from tests.conftest import Platform, TestAgency
from tests.people.people import join, make_person, signed_in


async def test_authlibs_client_goes_the_whole_way(platform: Platform, database: Database, agency: TestAgency) -> None:
    application = await register(platform.app, agency, confidential=True, workspace_ids=[workspace_of(agency)])
    user_id = await make_person(database, "ada@first.example")
    await join(database, agency, user_id, "owner")
    async with httpx2.AsyncClient() as plain:
        told = (await plain.get(f"{platform.url}/.well-known/oauth-authorization-server")).json()
    client = AsyncOAuth2Client(
        application.client_id, application.secret, scope="post:read workspace:read", redirect_uri=CALLBACK,
        code_challenge_method="S256", token_endpoint=told["token_endpoint"],
        introspection_endpoint=told["introspection_endpoint"],
    )  # fmt: skip
    async with client, await signed_in(platform.app, database, user_id) as browser:
        url, state = client.create_authorization_url(told["authorization_endpoint"], code_verifier=application.verifier)
        answer = await say(browser, dict(httpx2.URL(url).params), [workspace_of(agency)])
        tokens = await client.fetch_token(
            told["token_endpoint"], authorization_response=answer.headers["location"], state=state,
            code_verifier=application.verifier,
        )  # fmt: skip
        workspace = f"{platform.url}/v1/workspaces/{workspace_of(agency)}"
        assert (await client.get(workspace)).status_code == 200
        # When its token is over, the client renews it by itself
        client.token["expires_at"] = int(time.time()) - 1
        assert (await client.get(workspace)).status_code == 200
        assert client.token["access_token"] != tokens["access_token"]
        asked = await client.introspect_token(told["introspection_endpoint"], token=client.token["access_token"])
        assert asked.json()["active"] is True
        await client.revoke_token(told["revocation_endpoint"], token=client.token["refresh_token"])
        assert (await client.get(workspace)).status_code == 401
    async with AsyncOAuth2Client(application.client_id, application.secret) as alone:
        await alone.fetch_token(told["token_endpoint"], grant_type="client_credentials", scope="workspace:read")
        assert (await alone.get(workspace)).status_code == 200
