"""Who was removed and comes back is a member as if new: nothing that stood in the name of before opens anything."""

import pytest

from core.db import Database
from tests.applications.flow import register, workspace_of
from tests.conftest import Platform, TestAgency, client_of
from tests.people.cast import Cast
from tests.people.inviting import accept, invite, token_of
from tests.people.people import browser


@pytest.mark.parametrize("role", ["viewer", "manager"])
async def test_who_comes_back_finds_nothing_of_before(
    platform: Platform, database: Database, agency: TestAgency, role: str
) -> None:
    room = workspace_of(agency)
    cast = Cast(platform.app, database, agency)
    ada, ben = await cast.add("ada", "owner"), await cast.add("ben", "admin")
    # Given an admin with a grant, an embed token, a share link, a key and an application of his
    application = await register(platform.app, agency)
    tokens = await application.tokens(ben.client, [room])
    handle = {"network": "sandbox", "credentials": {"handle": "always_ok"}, "targets": "all"}
    account = (await ben.client.post(f"/v1/workspaces/{room}/connect-sessions", json=handle)).json()["accounts"][0]["id"]
    post = (await ben.client.post(f"/v1/workspaces/{room}/posts", json={"text": "Hello.", "account_ids": [account]})).json()
    link = await ben.client.post(f"/v1/workspaces/{room}/share-links", json={"purpose": "post", "post_id": post["id"]})
    embed = await ben.client.post("/v1/embed-tokens", json={"workspace_id": room})
    key = await ben.client.post("/v1/api-keys", json={"name": "k", "scopes": ["post:read"]})
    wish = {"name": "n", "confidential": True, "scopes": ["post:read"], "workspace_ids": [room]}
    own = (await ben.client.post("/v1/applications", json=wish)).json()
    asks = {"grant_type": "client_credentials", "client_id": own["client_id"], "client_secret": own["client_secret"]}

    async def answers() -> list[int]:
        found = []
        for text in (tokens["access_token"], embed.json()["token"], key.json()["key"]):
            async with client_of(platform.app, text) as client:
                found.append((await client.get(f"/v1/workspaces/{room}/posts")).status_code)
        async with browser(platform.app) as anybody:
            found.append((await anybody.post("/v1/shared", json={"token": link.json()["token"]})).status_code)
            found.append((await anybody.post("/oauth/token", data=asks)).status_code)
        return found

    assert await answers() == [200, 200, 200, 200, 200]
    # When he is removed, and comes back with another role
    assert (await ada.client.delete(f"/v1/members/{ben.id}")).status_code == 204
    assert (await ada.client.get("/v1/grants")).json()["data"][0]["revoked_reason"] == "member_left"
    rooms = [{"workspace_id": room, "role": role}]
    invited = await invite(ada.client, f"ben@{agency.actor.agency_name}.example".lower(), role="member", workspaces=rooms)
    assert (await accept(ben.client, token_of(invited))).status_code == 200
    assert (await ben.client.get(f"/v1/workspaces/{room}/posts")).status_code == 200
    # Then nothing of before opens anything
    assert await answers() == [401, 401, 401, 404, 401]
    assert (await application.refresh(tokens["refresh_token"])).status_code == 400
