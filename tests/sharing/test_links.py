"""Links through the door: they show one thing, to whoever holds one, and nothing once they are dead."""

import asyncio
from datetime import timedelta

import httpx2
import pytest
from fastapi import FastAPI

from api.rate_limits import LINKS
from core.clock import now
from core.db import Database
from core.ids import decode, encode, new_id
from core.settings import Settings
from core.wire import write_instant
from tenants.sharing.schemas import LIFETIME_DEFAULT, LIFETIME_MAX
from tenants.sharing.tokens import write_token
from tests.audit.test_entries import seeing
from tests.conftest import Platform, TestAgency, client_of
from tests.media.files import picture
from tests.people.people import join, make_person, signed_in
from tests.sharing.desk import Desk, desk
from tests.walls.matrix import same

__all__ = ["desk"]


async def test_a_link_shows_the_post_and_nothing_of_the_house(desk: Desk) -> None:
    made = await desk.link()
    answer = await desk.open(made["token"])
    assert answer.status_code == 200
    shown = answer.json()
    version = desk.asset["versions"][0]
    media = [
        {"asset_version_id": version["id"], "alt_text": "A loaf"}
        | {name: version[name] for name in ("content_type", "width", "height")}
    ]
    delivery = shown["deliveries"][0]
    assert {name: shown[name] for name in ("purpose", "workspace", "text", "media", "due_at", "time_zone", "expires_at")} == {
        "purpose": "post", "workspace": "First client", "text": "Fresh rolls", "media": media,
        "due_at": "2027-06-01T07:00:00.000Z", "time_zone": "Europe/Berlin", "expires_at": made["expires_at"],
    }  # fmt: skip
    assert set(shown) == {"purpose", "workspace", "text", "media", "due_at", "time_zone", "expires_at", "deliveries"}
    assert (delivery["state"], delivery["network"], delivery["media"]) == ("scheduled", "sandbox", media)
    for word in ("crm-1", "spring", "pst_", "wsp_", "acc_", "pub_", "usr_", "mem_", "key_", "agc_"):
        assert word not in answer.text
    # Nothing of it is kept by a browser, found by a search, or told to the next site
    assert "set-cookie" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "noindex" in answer.headers["x-robots-tag"]


async def test_its_files_are_shown_once_it_was_opened_and_those_of_nothing_else(desk: Desk) -> None:
    made = await desk.link(max_opens=1)
    other = (await desk.client.post(f"{desk.base}/media", files={"file": ("b.png", picture("PNG"), "image/png")})).json()

    async def file(version: str, token: str = made["token"]) -> httpx2.Response:
        return await desk.anybody.post("/v1/shared/media", json={"token": token, "asset_version_id": version})

    own = desk.asset["versions"][0]["id"]
    assert (await file(own)).status_code == 404  # not opened yet
    assert (await desk.open(made["token"])).status_code == 200
    answer = await file(own)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert len(answer.content) == desk.asset["size_bytes"]
    assert "noindex" in answer.headers["x-robots-tag"]
    foreign, never = await file(other["versions"][0]["id"]), await file(encode("asv", new_id()))
    assert foreign.status_code == 404
    assert same(foreign) == same(never)
    await desk.client.delete(f"{desk.base}/share-links/{made['id']}")
    assert same(await file(own)) == same(never)


async def test_openings_are_counted_and_end_with_the_last(desk: Desk) -> None:
    made = await desk.link(max_opens=5)
    assert (made["opens"], made["last_opened_at"], made["max_opens"]) == (0, None, 5)
    # When more open it at once than may
    answers = await asyncio.gather(*(desk.open(made["token"]) for _ in range(12)))
    assert sorted(one.status_code for one in answers) == [200] * 5 + [404] * 7
    await desk.dies(made["token"])
    read = (await desk.client.get(f"{desk.base}/share-links/{made['id']}")).json()
    assert read["opens"] == 5
    assert read["last_opened_at"] is not None
    assert "token" not in read


async def test_a_link_ends_with_its_time_and_lives_a_month_at_most(desk: Desk, platform: Platform, agency: TestAgency) -> None:
    made = await desk.link()
    lasts = now() + LIFETIME_DEFAULT
    assert write_instant(lasts - timedelta(minutes=1)) < made["expires_at"] <= write_instant(lasts)
    for at, code in ((now() - timedelta(seconds=1), "in_the_past"), (now() + LIFETIME_MAX * 1.1, "too_far_ahead")):
        body = {"purpose": "post", "post_id": desk.post["id"], "expires_at": write_instant(at)}
        refused = await desk.client.post(f"{desk.base}/share-links", json=body)
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, code)
    async with platform.context.database.connection(agency.tenant) as db:
        await db.execute("update share_links set expires_at = now() where id = $1", decode("shl", made["id"]))
    await desk.dies(made["token"])


async def test_a_revoked_link_is_dead_from_the_answer_on_and_revoking_twice_changes_nothing(desk: Desk) -> None:
    made = await desk.link()
    for _ in range(2):
        assert (await desk.client.delete(f"{desk.base}/share-links/{made['id']}")).status_code == 204
        await desk.dies(made["token"])
    entries = (await desk.client.get("/v1/audit-entries", params={"subject": made["id"]})).json()["data"]
    assert [one["action"] for one in entries] == ["share_link.revoke", "share_link.create"]
    assert entries[1]["after"]["post_id"] == desk.post["id"]


@pytest.mark.parametrize("token", ["shl_", "x", "shl_" + "0" * 75, "oct_test_" + "0" * 70])
async def test_what_is_no_token_is_answered_as_a_dead_link(desk: Desk, token: str) -> None:
    await desk.dies(token)


async def test_a_changed_letter_of_a_token_opens_nothing(desk: Desk) -> None:
    token = (await desk.link())["token"]
    await desk.dies(token[:40] + ("0" if token[40] != "0" else "1") + token[41:])


async def test_a_link_dies_with_the_post(desk: Desk) -> None:
    made = await desk.link()
    assert (await desk.client.delete(f"{desk.base}/posts/{desk.post['id']}")).status_code == 204
    await desk.dies(made["token"])


async def test_a_link_dies_with_the_key_or_the_membership_that_made_it(
    desk: Desk, platform: Platform, database: Database, agency: TestAgency
) -> None:
    made = (await desk.client.post("/v1/api-keys", json={"name": "k", "scopes": ["link:manage"]})).json()
    async with platform.client(made["key"]) as short:
        of_key = await desk.link(short)
    people = {name: await make_person(database, f"{name}@first.example") for name in ("ada", "ben")}
    rooms = {agency.workspace.id: "manager"}
    members = {
        "ada": await join(database, agency, people["ada"], "member", rooms),
        "ben": await join(database, agency, people["ben"], "member", rooms),
    }
    links = {}
    for name, user in people.items():
        async with await signed_in(platform.app, database, user, agency) as browser:
            links[name] = await desk.link(browser)
    for link in (of_key, *links.values()):
        assert (await desk.open(link["token"])).status_code == 200
    # When the key is revoked, one member leaves the agency, and another one the workspace
    assert (await desk.client.delete(f"/v1/api-keys/{made['id']}")).status_code == 204
    assert (await desk.client.delete(f"/v1/members/{encode('mem', members['ada'])}")).status_code == 204
    assert (await desk.client.delete(f"{desk.base}/members/{encode('mem', members['ben'])}")).status_code == 204
    for link in (of_key, *links.values()):
        await desk.dies(link["token"])


async def test_a_link_lives_as_long_as_its_maker_may_make_one_in_that_workspace(
    desk: Desk, platform: Platform, database: Database, agency: TestAgency
) -> None:
    body = {"name": "Linker", "scope": "agency", "permissions": ["workspace:read", "post:read", "link:manage"]}
    role = (await desk.client.post("/v1/roles", json=body)).json()["id"]
    people = {name: await make_person(database, f"{name}@first.example") for name in ("ada", "ben")}
    ada = encode("mem", await join(database, agency, people["ada"], "member"))
    ben = encode("mem", await join(database, agency, people["ben"], "member", {agency.workspace.id: "manager"}))
    assert (await desk.client.patch(f"/v1/members/{ada}", json={"role": role})).status_code == 200
    links = {}
    for name, user in people.items():
        async with await signed_in(platform.app, database, user, agency) as browser:
            links[name] = (await desk.link(browser))["token"]
    for token in links.values():
        assert (await desk.open(token)).status_code == 200
    # When the one has no role that makes links any more, and the other none in this workspace
    assert (await desk.client.patch(f"/v1/members/{ada}", json={"role": "member"})).status_code == 200
    room = (await desk.client.post("/v1/workspaces", json={"name": "Other room", "time_zone": "UTC"})).json()["id"]
    for where, what in ((room, "manager"), (encode("wsp", agency.workspace.id), "client")):
        given = await desk.client.put(f"/v1/workspaces/{where}/members/{ben}", json={"role": what})
        assert given.status_code == 200, given.text
    file = {"asset_version_id": desk.asset["versions"][0]["id"]}
    for token in links.values():
        await desk.dies(token)
        assert (await desk.anybody.post("/v1/shared/media", json={"token": token} | file)).status_code == 404
    # And when it has one again
    assert (await desk.client.patch(f"/v1/members/{ada}", json={"role": role})).status_code == 200
    assert (await desk.open(links["ada"])).status_code == 200


async def test_a_link_shows_its_own_agencys_post_whatever_its_row_says(
    desk: Desk, platform: Platform, agency: TestAgency, other: TestAgency, settings: Settings
) -> None:
    """The transaction carries the stamp of the link's agency and workspace, so a wrong row shows nothing of others."""
    room = (await desk.client.post("/v1/workspaces", json={"name": "Other room", "time_zone": "UTC"})).json()["id"]
    made = await desk.link()
    owner = await seeing(settings)
    await owner.execute("alter table share_links drop constraint fk_share_links_post")
    await owner.execute("alter table share_links no force row level security")
    await owner.execute("update share_links set workspace_id = $1", decode("wsp", room))
    await owner.close()
    await desk.dies(made["token"])


async def test_links_belong_to_their_workspace_and_their_agency(desk: Desk, platform: Platform, other: TestAgency) -> None:
    made = await desk.link()
    room = (await desk.client.post("/v1/workspaces", json={"name": "Other room", "time_zone": "UTC"})).json()["id"]
    assert (await desk.client.get(f"/v1/workspaces/{room}/share-links/{made['id']}")).status_code == 404
    body = {"purpose": "post", "post_id": desk.post["id"]}
    refused = await desk.client.post(f"/v1/workspaces/{room}/share-links", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/post_id")
    assert (await desk.client.get(f"/v1/workspaces/{room}/share-links")).json()["data"] == []
    assert [one["id"] for one in (await desk.client.get(f"{desk.base}/share-links")).json()["data"]] == [made["id"]]
    async with platform.client(other.key) as stranger:
        for path in (f"{desk.base}/share-links", f"{desk.base}/share-links/{made['id']}"):
            assert (await stranger.get(path)).status_code == 404


async def test_the_token_is_stored_nowhere_and_a_repeat_does_not_show_it(desk: Desk, settings: Settings) -> None:
    body, once = {"purpose": "post", "post_id": desk.post["id"]}, {"Idempotency-Key": "once"}
    answers = [await desk.client.post(f"{desk.base}/share-links", json=body, headers=once) for _ in range(2)]
    token = answers[0].json()["token"]
    assert answers[0].json()["url"].endswith(f"/shared/{token}")
    assert answers[1].json() == answers[0].json() | {"token": None, "url": None}
    owner = await seeing(settings)
    for table in ("share_links", "idempotency_records"):
        await owner.execute(f"alter table {table} no force row level security")
        rows = [str(dict(row)) for row in await owner.fetch(f"select * from {table}")]
        assert rows
        assert not [row for row in rows if token[4:] in row]
    await owner.close()


async def test_who_tries_tokens_or_opens_one_without_end_is_told_to_wait(
    app: FastAPI, agency: TestAgency, settings: Settings
) -> None:  # fmt: skip
    transport = httpx2.ASGITransport(app=app, client=("9.9.9.9", 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://octavo.test") as guesser:
        answers = [
            await guesser.post("/v1/shared", json={"token": write_token(new_id())}) for _ in range(settings.rate_limit_address + 1)
        ]
        assert {one.status_code for one in answers[:-1]} == {404}
        assert answers[-1].status_code == 429
    async with client_of(app, None) as holder:
        token = write_token(agency.actor.agency_id)
        codes = [(await holder.post("/v1/shared", json={"token": token})).status_code for _ in range(LINKS + 1)]
        assert codes == [404] * LINKS + [429]
