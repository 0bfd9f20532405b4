"""One of everything that a workspace can hold, made over HTTP."""

from dataclasses import dataclass
from uuid import UUID

import httpx2
import orjson
from fastapi import FastAPI

from core.db import Database, Tenant
from core.ids import decode, encode, new_id
from tenants.rights.exporting import folder, withheld
from tests.conftest import TestAgency
from tests.events import told
from tests.media.files import picture

PREFIXES = ("wsp", "acc", "pst", "pub", "ast", "asv", "cns", "key", "opr", "evt", "mem", "rol", "inv", "shl", "app", "grt", "idp")


@dataclass
class Things:
    """What one tenant has: ids by prefix, a cursor of its own, the key of a write of its own, and words that only it may read."""

    ids: dict[str, str]
    cursor: str
    once: str
    secret: str


async def furnish(client: httpx2.AsyncClient, workspace: str, account: str | None = None) -> Things:
    """Give a workspace one of everything, as the holder of the client's key. Without an `account` a sandbox one is connected."""
    base = f"/v1/workspaces/{workspace}"
    secret, once = f"secret of {workspace}", f"once-for-{workspace}"
    if account is None:
        body = {"network": "sandbox", "credentials": {"handle": f"always_ok-{workspace[-8:]}"}, "targets": "all"}
        session = (await client.post(f"{base}/connect-sessions", json=body)).json()
        account = session["accounts"][0]["id"]
    else:
        session = (await client.post(f"{base}/connect-sessions", json={"network": "bluesky"})).json()
    asset = (await client.post(f"{base}/media", files={"file": ("a.png", picture("PNG"), "image/png")})).json()
    at = {"at": "2027-06-01T09:00:00", "time_zone": "UTC"}
    wish = {"text": f"{secret} once", "account_ids": [account], "schedule": at}
    await client.post(f"{base}/posts", json=wish, headers={"Idempotency-Key": once})
    post = (await client.post(f"{base}/posts", json=wish | {"text": f"{secret} again"})).json()
    key = (await client.post("/v1/api-keys", json={"name": secret, "scopes": ["post:read"]})).json()["id"]
    made = await client.post("/v1/roles", json={"name": secret, "scope": "workspace", "permissions": ["post:read"]})
    listed = made if made.status_code == 201 else await client.get("/v1/roles")  # who is bound to workspaces makes none
    role = made.json()["id"] if listed is made else listed.json()["data"][-1]["id"]
    rooms = [{"workspace_id": workspace, "role": "viewer"}]
    guest = {"email": f"guest@{workspace.replace('_', '-')}.example", "workspaces": rooms, "delivery": "link"}
    invitation = (await client.post("/v1/invitations", json=guest)).json()["id"]
    sheet = f"text,account_ids\n{secret},{account}\n"
    operation = (await client.post(f"{base}/posts/import", content=sheet, headers={"Content-Type": "text/csv"})).json()
    link = (await client.post(f"{base}/share-links", json={"purpose": "post", "post_id": post["id"]})).json()["id"]
    event = (await told(client))[-1]["id"]
    cursor = (await client.get(f"{base}/posts", params={"limit": 1})).json()["next_cursor"]
    ids = {
        "wsp": workspace, "acc": account, "pst": post["id"], "pub": post["publications"][0]["id"], "ast": asset["id"],
        "asv": asset["versions"][0]["id"], "cns": session["id"], "key": key, "opr": operation["id"], "evt": event,
        "rol": role, "inv": invitation, "shl": link,
    }  # fmt: skip
    return Things(ids, cursor, once, secret)


def never() -> dict[str, str]:
    """Ids of nothing, by prefix."""
    return {prefix: encode(prefix, new_id()) for prefix in PREFIXES}


async def an_account(database: Database, tenant: Tenant, workspace_id: UUID, network: str = "sandbox") -> str:
    """Put an account where nobody connects one."""
    id = new_id()
    async with database.connection(tenant) as db:
        await db.execute(
            "insert into accounts (agency_id, workspace_id, id, network, external_id, name) values ($1, $2, $3, $4, $5, 'n')",
            tenant.agency_id, workspace_id, id, network, str(id),
        )  # fmt: skip
    return encode("acc", id)


async def with_archive(app: FastAPI, database: Database, agency: TestAgency, things: Things) -> Things:
    """Put an export there that has ended, with its archive."""
    workspace_id, id, data = decode("wsp", things.ids["wsp"]), new_id(), things.secret.encode()
    key = f"{folder(agency.actor.agency_id, workspace_id, id)}1.zip"
    await app.state.store.put(key, data)
    result = {"archive": {"size_bytes": len(data), "secret": things.secret, "withheld": withheld(workspace_id, ())}}
    async with database.connection(agency.tenant) as db:
        await db.execute(
            "insert into operations (agency_id, workspace_id, id, kind, state, progress, storage_key, result, expires_at)"
            " values ($1, $2, $3, 'workspace_export', 'succeeded', 100, $4, $5::text::jsonb, now() + interval '1 day')",
            agency.actor.agency_id, workspace_id, id, key, orjson.dumps(result).decode(),
        )  # fmt: skip
    things.ids["opr"] = encode("opr", id)
    return things
