"""Who acts on what they have seen, and who may hear an answer again."""

from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from core.clock import now
from core.db import Database
from core.ids import encode
from tenants.agencies.keys import create_key
from tenants.agencies.schemas import KeyCreate
from tenants.permissions import Permission
from tests.conftest import TestAgency, client_of
from tests.walls.things import an_account

LATER = {"at": "2027-06-01T09:00:00Z"}


@pytest.fixture
async def post(client: httpx2.AsyncClient, agency: TestAgency, database: Database) -> tuple[str, dict[str, Any]]:
    """The path of the workspace's posts, and a scheduled one."""
    path = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}/posts"
    body = {"text": "x", "account_ids": [await an_account(database, agency.tenant, agency.workspace.id)], "schedule": LATER}
    return path, (await client.post(path, json=body)).json()


@pytest.mark.parametrize(
    ("method", "action", "body"),
    [("POST", "/schedule", {"schedule": LATER}), ("POST", "/cancel", None), ("POST", "/archive", None), ("DELETE", "", None)],
    ids=["schedule", "cancel", "archive", "delete"],
)
async def test_an_action_on_a_post_honours_if_match(
    client: httpx2.AsyncClient, post: tuple[str, dict[str, Any]], method: str, action: str, body: Any
) -> None:
    path, seen = post[0] + "/" + post[1]["id"], post[1]
    # Given somebody who changed the post since it was seen
    changed = await client.patch(path, json={"text": "y"}, headers={"If-Match": f'"{seen["version"]}"'})
    # When it is acted on by the version that was seen, nothing happens
    stale = await client.request(method, path + action, json=body, headers={"If-Match": f'"{seen["version"]}"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert (await client.get(path)).json() == changed.json()
    # A tag that is none of ours is refused, and the newest is taken; without one the action is done
    assert (await client.request(method, path + action, json=body, headers={"If-Match": "3"})).json()["code"] == "invalid_if_match"
    fresh = await client.request(method, path + action, json=body, headers={"If-Match": changed.headers["ETag"]})
    assert fresh.status_code in {200, 204}, fresh.text


@pytest.mark.parametrize("batch", [False, True], ids=["one post", "a batch"])
async def test_an_answer_is_not_replayed_to_who_could_not_have_asked(
    app: FastAPI, client: httpx2.AsyncClient, agency: TestAgency, database: Database, post: tuple[str, dict[str, Any]], batch: bool
) -> None:
    wish = {"text": "secret", "account_ids": [post[1]["publications"][0]["account_id"]], "schedule": LATER}
    path, body = (post[0] + "/bulk", {"items": [{"post": wish}]}) if batch else (post[0], wish)
    first = await client.post(path, json=body, headers={"Idempotency-Key": "k"})
    assert first.is_success
    async with database.session(agency.tenant) as session:
        scopes = [permission for permission in Permission if permission is not Permission.POST_SCHEDULE]
        _, text = await create_key(session, agency.actor, KeyCreate(name="writer", scopes=scopes), now())
    async with client_of(app, text) as writer:
        again = await writer.post(path, json=body, headers={"Idempotency-Key": "k"})
        assert (again.status_code, again.json()["required_permission"], "secret" in again.text) == (403, "post:schedule", False)
        # An item of the batch as a post of its own, and a batch of items that were posts of their own
        if batch:
            item = await writer.post(post[0], json=wish, headers={"Idempotency-Key": "k:0"})
            assert item.status_code == 403
            await client.post(post[0], json=wish | {"text": "other secret"}, headers={"Idempotency-Key": "j:0"})
            items = {"items": [{"post": wish | {"text": "other secret"}}]}
            mixed = (await writer.post(path, json=items, headers={"Idempotency-Key": "j"})).json()
            assert (mixed["succeeded"], mixed["data"][0]["status"]) == (0, 403)
        draft = await writer.post(post[0], json=wish | {"schedule": None}, headers={"Idempotency-Key": "d"})
        again = await writer.post(post[0], json=wish | {"schedule": None}, headers={"Idempotency-Key": "d"})
        assert (draft.status_code, again.headers["Idempotent-Replayed"], again.json()) == (201, "true", draft.json())
