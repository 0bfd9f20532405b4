"""One of everything that a workspace can hold, made over HTTP."""

from dataclasses import dataclass

import httpx2

from core.ids import encode, new_id
from tests.media.files import picture

PREFIXES = {
    "workspace_id": "wsp", "account_id": "acc", "post_id": "pst", "publication_id": "pub", "asset_id": "ast",
    "connect_session_id": "cns", "key_id": "key", "operation_id": "opr",
}  # fmt: skip
"""Slots of paths, and the prefix of the ids that stand there."""
KEY = "once"
"""The Idempotency-Key under which every tenant made its first post."""


@dataclass
class Things:
    """What one tenant has, by the name of its slot in a path, and beside the paths."""

    key: str
    ids: dict[str, str]
    asset_version: str
    event: str
    cursor: str
    secret: str


async def furnish(client: httpx2.AsyncClient, workspace: str, handle: str) -> Things:
    """Give a workspace one of everything, as the holder of the client's key; `handle` names its sandbox account."""
    base = f"/v1/workspaces/{workspace}"
    secret = f"secret of {workspace}"
    body = {"network": "sandbox", "credentials": {"handle": handle}, "targets": "all"}
    session = (await client.post(f"{base}/connect-sessions", json=body)).json()
    account = session["accounts"][0]["id"]
    asset = (await client.post(f"{base}/media", files={"file": ("a.png", picture("PNG"), "image/png")})).json()
    at = {"at": "2027-06-01T09:00:00", "time_zone": "UTC"}
    once = {"text": f"{secret} once", "account_ids": [account], "schedule": at}
    await client.post(f"{base}/posts", json=once, headers={"Idempotency-Key": KEY})
    post = (await client.post(f"{base}/posts", json=once | {"text": f"{secret} again"})).json()
    key = (await client.post("/v1/api-keys", json={"name": secret, "scopes": ["post:read"]})).json()["id"]
    sheet = f"text,account_ids\n{secret},{account}\n"
    operation = (await client.post(f"{base}/posts/import", content=sheet, headers={"Content-Type": "text/csv"})).json()
    event = (await client.get("/v1/events")).json()["data"][0]["id"]
    cursor = (await client.get(f"{base}/posts", params={"limit": 1})).json()["next_cursor"]
    ids = {
        "workspace_id": workspace, "account_id": account, "post_id": post["id"],
        "publication_id": post["publications"][0]["id"], "asset_id": asset["id"], "connect_session_id": session["id"],
        "key_id": key, "operation_id": operation["id"],
    }  # fmt: skip
    return Things(client.headers["Authorization"], ids, asset["versions"][0]["id"], event, cursor, secret)


def never() -> dict[str, str]:
    """Ids of nothing, for every slot."""
    return {slot: encode(prefix, new_id()) for slot, prefix in PREFIXES.items()}
