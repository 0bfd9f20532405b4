"""A post to show, and somebody without an account to show it to: base of the tests of links."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from core.ids import encode, new_id
from tenants.sharing.tokens import write_token
from tests.conftest import Platform, TestAgency
from tests.media.files import picture
from tests.walls.matrix import same

LATER = {"at": "2027-06-01T09:00:00", "time_zone": "Europe/Berlin"}


@dataclass
class Desk:
    """A workspace with a post, and two browsers: of the agency's key, and of somebody without any."""

    client: httpx2.AsyncClient
    anybody: httpx2.AsyncClient
    base: str
    post: dict[str, Any]
    asset: dict[str, Any]

    async def link(self, client: httpx2.AsyncClient | None = None, **wish: Any) -> dict[str, Any]:
        """Make a link to the post."""
        body = {"purpose": "post", "post_id": self.post["id"]} | wish
        answer = await (client or self.client).post(f"{self.base}/share-links", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def open(self, token: str) -> httpx2.Response:
        """Open a link, as whoever holds it."""
        return await self.anybody.post("/v1/shared", json={"token": token})

    async def dies(self, token: str) -> None:
        """The link must be answered as one that never was."""
        dead, never = await self.open(token), await self.open(write_token(new_id()))
        assert dead.status_code == 404
        assert same(dead) == same(never)


@pytest.fixture
async def desk(platform: Platform, agency: TestAgency) -> AsyncIterator[Desk]:
    base = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}"
    async with platform.client(agency.key) as client, httpx2.AsyncClient(base_url=platform.url) as anybody:
        body = {"network": "sandbox", "credentials": {"handle": "always_ok"}, "targets": "all"}
        account = (await client.post(f"{base}/connect-sessions", json=body)).json()["accounts"][0]["id"]
        asset = (await client.post(f"{base}/media", files={"file": ("a.png", picture("PNG"), "image/png")})).json()
        wish = {
            "text": "Fresh rolls", "account_ids": [account], "schedule": LATER, "external_ref": "crm-1",
            "metadata": {"campaign": "spring"}, "media": [{"asset_id": asset["id"], "alt_text": "A loaf"}],
        }  # fmt: skip
        post = (await client.post(f"{base}/posts", json=wish)).json()
        yield Desk(client, anybody, base, post, asset)
