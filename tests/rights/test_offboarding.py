"""Letting a client go: at once nothing goes out and nobody gets in, then an export, then a grace, then nothing is left."""

import io
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from core import duties
from core.clock import now
from core.db import Database, Tenant
from core.ids import decode, encode, new_id
from core.settings import Settings
from tenants.rights import erasing
from tenants.rights.closing import WORKSPACE_GRACE
from tests.conftest import Platform, TestAgency
from tests.events import told
from tests.people.cast import Cast
from tests.people.people import join, make_person, signed_in
from tests.walls.things import Things, furnish
from workers import offboarding
from workers.duties import run_batch


async def furnished(client: httpx2.AsyncClient, agency: TestAgency) -> tuple[str, Things]:
    """The workspace of an agency with one of everything, and its path."""
    id = encode("wsp", agency.workspace.id)
    return f"/v1/workspaces/{id}", await furnish(client, id)


async def close(platform: Platform, client: httpx2.AsyncClient, base: str) -> dict[str, Any]:
    """Close a workspace, and wait for the end of it."""
    taken = await client.post(f"{base}/closure")
    assert taken.status_code == 202, taken.text
    await platform.work("operation")
    operation: dict[str, Any] = (await client.get(taken.headers["Location"])).json()
    assert operation["state"] == "succeeded", operation
    return operation


async def published(platform: Platform, client: httpx2.AsyncClient, base: str) -> None:
    """Publish to the sandbox, once so that no answer comes back; that account is then connected anew, as another profile."""
    for handle in ("always_ok", "blind"):
        wish = {"network": "sandbox", "credentials": {"handle": handle}, "targets": "all"}
        account = (await client.post(f"{base}/connect-sessions", json=wish)).json()["accounts"][0]["id"]
        post = {"text": f"{handle} {base}", "account_ids": [account], "schedule": "now"}
        assert (await client.post(f"{base}/posts", json=post)).status_code == 201
        await platform.work("publish")
    again = await client.post(f"{base}/accounts/{account}/reconnect", json={"credentials": {"handle": "blind"}})
    assert again.status_code == 201, again.text


async def played(database: Database) -> set[str]:
    """What the sandbox shows, but for its own welcome."""
    async with database.connection(Tenant(new_id())) as db:
        return {row["text"] for row in await db.fetch("select text from sandbox_posts where not pinned")}


async def test_a_client_is_let_go(platform: Platform, database: Database, agency: TestAgency) -> None:
    ada = await make_person(database, "ada@first.example")
    await join(database, agency, ada, "member", {agency.workspace.id: "client"})
    async with platform.client(agency.key) as client:
        base, things = await furnished(client, agency)
        link = (await client.post(f"{base}/share-links", json={"purpose": "post", "post_id": things.ids["pst"]})).json()["token"]
        wish = {"name": "k", "scopes": ["post:read"], "workspace_ids": [things.ids["wsp"]]}
        key = (await client.post("/v1/api-keys", json=wish)).json()["key"]
        browser = await signed_in(platform.app, database, ada, agency)
        assert (await browser.get(base)).status_code == 200
        # When the workspace is closed, it holds from the answer on
        taken = await client.post(f"{base}/closure")
        assert (await browser.get(base)).status_code == 404
        await browser.aclose()
        assert (await client.post("/v1/shared", json={"token": link})).status_code == 404
        async with platform.client(key) as bound:
            assert (await bound.get(f"{base}/posts")).status_code == 401
        post = {"text": "x", "account_ids": [things.ids["acc"]]}
        refused = [
            await client.post(f"{base}/posts", json=post),
            await client.post(f"{base}/posts/{things.ids['pst']}/schedule", json={"schedule": "now"}),
            await client.post(f"{base}/connect-sessions", json={"network": "sandbox"}),
            await client.post(f"{base}/accounts/{things.ids['acc']}/reconnect", json={"credentials": {"handle": "always_ok"}}),
            await client.post(f"{base}/media", files={"file": ("a.png", b"x", "image/png")}),
            await client.post(f"{base}/share-links", json={"purpose": "post", "post_id": things.ids["pst"]}),
            await client.patch(base, json={"name": "y"}),
            await client.post(f"{base}/closure"),
        ]
        assert [one.status_code for one in refused] == [409] * len(refused), [one.text for one in refused]
        # Then its operation cancels, disconnects and exports
        await platform.work("operation")
        operation = (await client.get(taken.headers["Location"])).json()
        result = operation["result"]
        assert (operation["state"], result["cancelled"], result["disconnected"]) == ("succeeded", 2, 1)
        assert (await client.get(result["archive"]["url"])).status_code == 200
        accounts = (await client.get(f"{base}/accounts")).json()["data"]
        assert [one["state"] for one in accounts] == ["disconnected"]
        publications = (await client.get("/v1/publications")).json()["data"]
        assert {one["state"] for one in publications} <= {"cancelled", "planned"}
        read = (await client.get(base)).json()
        assert read["closed_at"] is not None
        lasts = now() + WORKSPACE_GRACE - timedelta(minutes=1)
        assert read["erase_at"] > lasts.isoformat()[:16]
        entries = (await client.get("/v1/audit-entries", params={"action": "workspace.close"})).json()["data"]
        assert [(one["before"]["closed_at"], one["after"]["closed_at"]) for one in entries] == [(None, read["closed_at"])]
        async with database.connection(agency.tenant) as db:
            assert await db.fetchval("select count(*) from connections where sealed is not null") == 0


async def test_after_its_grace_nothing_of_the_workspace_is_left_and_everything_of_the_others(
    platform: Platform, database: Database, agency: TestAgency, settings: Settings
) -> None:
    media = Path(settings.home) / "media"
    async with platform.client(agency.key) as client:
        base, things = await furnished(client, agency)
        room = (await client.post("/v1/workspaces", json={"name": "Second room", "time_zone": "UTC"})).json()["id"]
        other = await furnish(client, room)
        for place in (base, f"/v1/workspaces/{room}"):
            await published(platform, client, place)
        await close(platform, client, base)

        async def rows() -> dict[str, dict[Any, int]]:
            found: dict[str, dict[Any, int]] = {}
            async with database.connection(agency.tenant) as db:
                for table in erasing.tables(column="workspace_id"):
                    counted = await db.fetch(f"select workspace_id w, count(*) n from {table} group by 1")
                    found[table] = {row["w"]: row["n"] for row in counted}
            return found

        shown = await played(database)
        assert len(shown) == 4
        before = await rows()
        await platform.work("erase")  # the grace is not over
        assert await rows() == before
        async with database.connection(agency.tenant) as db:
            await db.execute("update workspaces set erase_at = now() where closed_at is not null")
        await platform.let_pass(WORKSPACE_GRACE.total_seconds() + 60)
        await platform.work("erase")
        after = await rows()
        gone, kept = decode("wsp", things.ids["wsp"]), decode("wsp", room)
        for table, counts in after.items():
            assert counts.get(kept) == before[table].get(kept), table
            assert gone not in counts or table == "audit_entries", table
        assert (await client.get(base)).status_code == 404
        assert (await client.get(f"/v1/workspaces/{room}/posts/{other.ids['pst']}")).status_code == 200
        assert not list(media.glob(f"*/{gone}/**/*.*"))
        assert list(media.glob(f"*/{kept}/**/*.*")) or list(media.glob(f"*/{kept}/*"))
        assert await played(database) == {one for one in shown if room in one}
        async with database.connection(agency.tenant) as db:
            assert await db.fetchval("select count(*) from sandbox_profiles") == 3 + 1
        last = (await client.get("/v1/audit-entries")).json()["data"][0]
        assert (last["action"], last["actor"]["type"]) == ("workspace.erase", "agency")


async def test_a_closing_that_breaks_off_goes_on_and_one_that_comes_twice_is_done_once(
    platform: Platform, agency: TestAgency, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = platform.context
    async with platform.client(agency.key) as client:
        base, _ = await furnished(client, agency)
        await platform.work("operation")
        taken = await client.post(f"{base}/closure")

        async def broken(*_: object) -> dict[str, int]:
            raise RuntimeError

        with monkeypatch.context() as patch:
            patch.setattr(offboarding, "_disconnect", broken)
            await platform.work("operation")
        assert (await client.get(taken.headers["Location"])).json()["state"] == "queued"
        assert (await client.delete(f"{base}/closure")).status_code == 409  # it is under way
        async with context.duties_pool.acquire() as db:
            await db.execute("update duties set lease_until = now() - interval '1 second' where state = 'leased'")
            claimed = await duties.claim(db, "operation", 100, context.settings.lease, 100)
        for _ in range(2):
            await run_batch(context, "operation", claimed)
        operation = (await client.get(taken.headers["Location"])).json()
        assert (operation["state"], operation["result"]["disconnected"]) == ("succeeded", 1)
        assert len(await told(client, "account.disconnected")) == 1
        done = await told(client, "operation.completed", at_least=2)
        assert [one["data"]["kind"] for one in done] == ["posts_import", "workspace_close"]


async def test_a_closed_workspace_takes_nobody_and_its_archive_knows_its_people(
    platform: Platform, database: Database, agency: TestAgency
) -> None:
    cast = Cast(platform.app, database, agency)
    ada, max_ = await cast.add("ada", "owner"), await cast.add("max", "member", {agency.workspace.id: "manager"})
    base, room = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}", encode("wsp", agency.workspace.id)
    operation = await close(platform, ada.client, base)
    # Its people are out, and stand in the archive
    assert (await max_.client.get(f"{base}/posts")).status_code == 404
    answer = await ada.client.get(operation["result"]["archive"]["url"])
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert max_.id in archive.read("members.jsonl").decode()
    assert '"manager"' in archive.read("workspace-members.jsonl").decode()
    # And nobody comes in
    rooms = [{"workspace_id": room, "role": "viewer"}]
    wishes = {
        ("PUT", f"{base}/members/{max_.id}"): {"role": "viewer"},
        ("POST", "/v1/invitations"): {"email": "g@first.example", "role": "member", "workspaces": rooms, "delivery": "link"},
        ("POST", "/v1/embed-tokens"): {"workspace_id": room},
        ("POST", "/v1/api-keys"): {"name": "k", "scopes": ["post:read"], "workspace_ids": [room]},
        ("POST", "/v1/applications"): {"name": "n", "confidential": True, "scopes": ["post:read"], "workspace_ids": [room]},
    }
    for (method, path), wish in wishes.items():
        refused = await ada.client.request(method, path, json=wish)
        assert refused.status_code in {409, 422}, (path, refused.text)
    # Opened again, it has no people
    assert (await ada.client.delete(f"{base}/closure")).status_code in {200, 204}
    assert (await max_.client.get(f"{base}/posts")).status_code == 404


async def test_a_workspace_is_opened_again_within_its_grace(platform: Platform, agency: TestAgency) -> None:
    async with platform.client(agency.key) as client:
        base, things = await furnished(client, agency)
        await close(platform, client, base)
        opened = await client.delete(f"{base}/closure")
        assert (opened.status_code, opened.json()["closed_at"], opened.json()["erase_at"]) == (200, None, None)
        assert (await client.delete(f"{base}/closure")).status_code == 409
        body = {"credentials": {"handle": f"always_ok-{things.ids['wsp'][-8:]}"}}
        again = await client.post(f"{base}/accounts/{things.ids['acc']}/reconnect", json=body)
        assert again.status_code in {200, 201}, again.text
        await platform.let_pass(WORKSPACE_GRACE.total_seconds() + 60)
        await platform.work("erase")
        assert (await client.get(base)).status_code == 200


@pytest.mark.parametrize(("role", "code"), [("owner", 202), ("admin", 202), ("manager", 403), ("client", 403)])
async def test_who_lets_a_client_go(platform: Platform, database: Database, agency: TestAgency, role: str, code: int) -> None:
    user, room = await make_person(database, f"{role}@first.example"), agency.workspace.id
    agencys = role in {"owner", "admin"}
    await join(database, agency, user, role if agencys else "member", {} if agencys else {room: role})
    async with await signed_in(platform.app, database, user, agency) as browser:
        assert (await browser.post(f"/v1/workspaces/{encode('wsp', room)}/closure")).status_code == code
