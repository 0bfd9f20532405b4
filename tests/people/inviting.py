"""Inviting somebody, and accepting it."""

from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import httpx2

from core.settings import Settings
from tests.conftest import Platform
from tests.people.cast import Cast
from tests.people.people import make_person, signed_in

GUEST = "guest@second.example"
OTHER = "nine quiet lanterns over the bay"


def token_of(answer: httpx2.Response) -> str:
    """The token of an invitation that the inviter is to send."""
    assert answer.status_code in {200, 201}, answer.text
    url: str = answer.json()["accept_url"]
    assert "/invitations/" in url
    return url.rpartition("/")[2]


async def invite(client: httpx2.AsyncClient, email: str = GUEST, **wish: Any) -> httpx2.Response:
    return await client.post("/v1/invitations", json={"email": email, "delivery": "link"} | wish)


async def guest(cast: Cast, email: str = GUEST) -> httpx2.AsyncClient:
    """Somebody who is signed in and belongs to nobody."""
    return await signed_in(cast.app, cast.database, await make_person(cast.database, email))


async def accept(client: httpx2.AsyncClient, token: str) -> httpx2.Response:
    return await client.post("/v1/invitations/accept", json={"token": token})


async def mailed(platform: Platform, settings: Settings) -> str:
    """The token of the invitation in the only mail of the outbox."""
    await platform.work("mail")
    (path,) = (Path(settings.home) / "outbox").glob("*.eml")
    text = message_from_bytes(path.read_bytes(), policy=default).get_content()
    path.unlink()
    (line,) = [one for one in text.splitlines() if "/invitations/" in one]
    return str(line.strip().rpartition("/")[2])
