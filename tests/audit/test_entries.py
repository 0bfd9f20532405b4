"""What is written: one entry for each request that changed something, in its transaction, and nothing secret."""

import json
from typing import Any

import asyncpg
import httpx2
from fastapi import FastAPI

from api.audited import AUDITED
from core.db import Database
from core.ids import decode, encode
from core.settings import Settings
from tenants.permissions import Permission
from tests.applications.issuing import issue
from tests.conftest import Platform, TestAgency, client_of
from tests.media.files import picture
from tests.people.people import join, make_person, signed_in, with_application
from tests.walls.slots import IN_PERSON, Operation, operations
from tests.walls.things import Things

SAFE = {"GET", "HEAD"}
NOT_AUDITED = {"validate_post": "It stores nothing: what would become of a post is judged and told."}
"""Operations that are not safe by their method and leave no entry, each with its reason."""
LATER = {"at": "2027-06-01T09:00:00", "time_zone": "UTC"}


def test_every_operation_that_is_not_safe_is_audited_or_says_why_not(app: FastAPI) -> None:
    unsafe = {one.id for one in operations(app.openapi()) if one.method not in SAFE}
    assert unsafe == set(AUDITED) | set(NOT_AUDITED)
    assert not set(AUDITED) & set(NOT_AUDITED)
    assert all(action.count(".") == 1 for action in AUDITED.values())


async def seeing(settings: Settings) -> asyncpg.Connection:
    """The owner of the tables, who sees every row of the two that are asked for."""
    owner = await asyncpg.connect(settings.database_url)
    for table in ("audit_entries", "api_keys"):
        await owner.execute(f"alter table {table} no force row level security")
    return owner


class Doer:
    """Does one operation after the other as one agency, and holds each against its entry."""

    def __init__(self, platform: Platform, agency: TestAgency, client: httpx2.AsyncClient) -> None:
        self.known: dict[str, Operation] = {one.id: one for one in operations(platform.app.openapi())}
        self.agency, self.client = agency, client
        self.ids = {"wsp": encode("wsp", agency.workspace.id)}
        self.done: list[str] = []

    async def entries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.client.get("/v1/audit-entries?limit=100")).json()["data"]
        return found

    async def do(self, id: str, body: Any = None, **sent: Any) -> Any:
        """Do it; exactly one entry must tell of it."""
        before = await self.entries()
        headers = {"If-Match": "*", "User-Agent": "bakery/2.1"} | sent.pop("headers", {})
        sent |= {} if body is None else {"json": body}
        operation = self.known[id]
        answer = await self.client.request(operation.method, operation.fill(self.ids), headers=headers, **sent)
        assert answer.status_code < 300, (id, answer.text)
        (entry, *rest) = await self.entries()
        assert rest == before, id
        assert (entry["action"], entry["request_id"]) == (AUDITED[id], answer.headers["Request-Id"]), id
        assert entry["actor"] == {"type": "key", "id": encode("key", self.agency.actor.key_id)}
        assert (entry["address"], entry["user_agent"]) == ("127.0.0.1", "bakery/2.1")
        assert (entry["before"] is None) <= (entry["after"] is not None)
        self.done.append(id)
        return answer.json() if answer.content else None


async def _agency(doer: Doer) -> None:
    await doer.do("update_agency", {"name": "Another name"})
    own, doer.ids["wsp"] = doer.ids["wsp"], (await doer.do("create_workspace", {"name": "w", "time_zone": "UTC"}))["id"]
    await doer.do("update_workspace", {"name": "v"})
    doer.ids["wsp"] = own
    doer.ids["key"] = (await doer.do("create_api_key", {"name": "k", "scopes": ["post:read"]}))["id"]
    await doer.do("revoke_api_key")


async def _accounts(doer: Doer) -> None:
    doer.ids["cns"] = (await doer.do("create_connect_session", {"network": "sandbox"}))["id"]
    made = await doer.do("complete_connect_session", {"credentials": {"handle": "always_ok"}, "targets": "all"})
    doer.ids["acc"] = made["accounts"][0]["id"]
    doer.ids["cns"] = (await doer.do("create_connect_session", {"network": "sandbox"}))["id"]
    await doer.do("revoke_connect_session")
    await doer.do("update_account", {"name": "Our page"})
    await doer.do("pause_account")
    await doer.do("resume_account")
    await doer.do("reconnect_account", {"credentials": {"handle": "always_ok"}})


async def _posts(doer: Doer) -> dict[str, Any]:
    files = {"file": ("a.png", picture("PNG"), "image/png")}
    doer.ids["ast"] = (await doer.do("upload_media", files=files))["id"]
    await doer.do("update_media", {"alt_text": "A loaf"})
    await doer.do("delete_media")
    wish = {"text": "Fresh rolls", "account_ids": [doer.ids["acc"]]}
    doer.ids["pst"] = (await doer.do("create_post", wish))["id"]
    await doer.do("update_post", {"text": "Fresher rolls"})
    await doer.do("schedule_post", {"schedule": LATER})
    doer.ids["shl"] = (await doer.do("create_share_link", {"purpose": "post", "post_id": doer.ids["pst"]}))["id"]
    await doer.do("revoke_share_link")
    await doer.do("cancel_post")
    await doer.do("archive_post")
    doer.ids["pst"] = (await doer.do("create_post", wish))["id"]
    await doer.do("delete_post")
    await doer.do("create_posts", {"items": [{"post": wish}, {"post": wish | {"text": ""}}]})
    sheet = f"text,account_ids\nx,{doer.ids['acc']}\n".encode()
    await doer.do("import_posts", content=sheet, headers={"Content-Type": "text/csv"})
    made: dict[str, Any] = await doer.do("create_post", wish | {"schedule": LATER})
    return made


async def _publications(doer: Doer, platform: Platform, post: dict[str, Any]) -> None:
    doer.ids["pub"] = post["publications"][0]["id"]
    await doer.do("cancel_publication")
    for state, operation, body in (
        ("needs_human", "resolve_publication", {"outcome": "not_published"}),
        ("failed", "retry_publication", None),
        ("published", "delete_publication", None),
    ):
        async with platform.context.database.connection(doer.agency.tenant) as db:
            await db.execute(
                "update publications set state = $1, published_at = now(), external_id = 'x' where id = $2",
                state, decode("pub", doer.ids["pub"]),
            )  # fmt: skip
        await doer.do(operation, body)


async def _members(doer: Doer, platform: Platform) -> None:
    person = await make_person(platform.context.database, "baker@first.example")
    doer.ids["mem"] = encode("mem", await join(platform.context.database, doer.agency, person, "member"))
    await doer.do("update_member", {"role": "admin"})
    await doer.do("assign_member", {"role": "content"})
    await doer.do("unassign_member")
    await doer.do("remove_member")
    room = [{"workspace_id": doer.ids["wsp"], "role": "viewer"}]
    made = await doer.do("create_invitation", {"email": "guest@first.example", "role": "admin", "workspaces": room})
    doer.ids["inv"] = made["id"]
    await doer.do("resend_invitation")
    await doer.do("revoke_invitation")
    doer.ids["rol"] = (await doer.do("create_role", {"name": "r", "scope": "workspace", "permissions": ["post:read"]}))["id"]
    await doer.do("update_role", {"name": "s"})
    await doer.do("delete_role")


async def _applications(doer: Doer, platform: Platform) -> None:
    wish = {"name": "Dashboard", "confidential": True, "scopes": ["post:read"]}
    doer.ids["app"] = (await doer.do("create_application", wish))["id"]
    await doer.do("update_application", {"offered": True})
    await doer.do("rotate_application_secret")
    await doer.do("delete_application")
    await doer.do("create_embed_token", {"workspace_id": doer.ids["wsp"]})
    database = platform.context.database
    member_id = await join(database, doer.agency, await make_person(database, "granter@first.example"), "admin")
    things = Things(dict(doer.ids), "", "", "Dashboard")
    doer.ids["grt"] = (await with_application(database, doer.agency, things, member_id)).ids["grt"]
    await doer.do("revoke_grant")


async def _rights(doer: Doer, platform: Platform) -> None:
    await doer.do("export_agency")
    await doer.do("export_workspace")
    await platform.work("operation")
    own, doer.ids["wsp"] = doer.ids["wsp"], (await doer.do("create_workspace", {"name": "w", "time_zone": "UTC"}))["id"]
    await doer.do("close_workspace")
    await platform.work("operation")
    await doer.do("open_workspace")
    doer.ids["wsp"] = own


async def test_each_operation_that_changes_something_leaves_exactly_one_entry(platform: Platform, agency: TestAgency) -> None:
    async with platform.client(agency.key) as client:
        doer = Doer(platform, agency, client)
        await _agency(doer)
        await _accounts(doer)
        await _publications(doer, platform, await _posts(doer))
        await doer.do("disconnect_account")
        await _members(doer, platform)
        await _rights(doer, platform)
        await _applications(doer, platform)
        assert set(doer.done) | IN_PERSON == set(AUDITED)


async def test_an_entry_of_a_person_names_the_member_and_both_roles(app: FastAPI, database: Database, agency: TestAgency) -> None:
    owner, other = [await make_person(database, f"{name}@first.example") for name in ("owner", "other")]
    owner_id = await join(database, agency, owner, "owner")
    other_id = encode("mem", await join(database, agency, other, "member"))
    async with await signed_in(app, database, owner, agency) as client:
        assert (await client.patch(f"/v1/members/{other_id}", json={"role": "billing"})).status_code == 200
        (entry,) = (await client.get("/v1/audit-entries")).json()["data"]
    assert entry["actor"] == {"type": "member", "id": encode("mem", owner_id)}
    assert entry["subject"] == {"type": "member", "id": other_id}
    assert (entry["before"], entry["after"]) == ({"role": "member"}, {"role": "billing"})


async def test_an_entry_tells_what_was_and_what_is_and_of_content_a_digest(app: FastAPI, agency: TestAgency) -> None:
    workspace = encode("wsp", agency.workspace.id)
    async with client_of(app, agency.key) as client:
        await client.patch(f"/v1/workspaces/{workspace}", json={"late_window_s": 60})
        (entry,) = (await client.get("/v1/audit-entries")).json()["data"]
    assert entry["subject"] == {"type": "workspace", "id": workspace}
    assert (entry["before"]["late_window_s"], entry["after"]["late_window_s"]) == (21_600, 60)
    assert (entry["before"]["version"], entry["after"]["version"]) == (1, 2)
    assert (entry["sequence"], entry["hash"], entry["on_behalf_of"]) == (None, None, None)


async def test_what_is_refused_changes_nothing_or_is_asked_again_leaves_no_entry(app: FastAPI, agency: TestAgency) -> None:
    base = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}"
    async with client_of(app, agency.key) as client:
        body = {"name": "w", "time_zone": "UTC"}
        for _ in range(3):
            made = await client.post("/v1/workspaces", json=body, headers={"Idempotency-Key": "once"})
            assert made.status_code == 201
        # Refused: unknown zone, another request's key, an old version, a foreign thing, an own key, a batch without one good post
        refusals = [
            await client.post("/v1/workspaces", json=body | {"time_zone": "x"}),
            await client.post("/v1/workspaces", json=body | {"name": "v"}, headers={"Idempotency-Key": "once"}),
            await client.patch(base, json={"name": "x"}, headers={"If-Match": '"9"'}),
            await client.delete(f"{base}/media/ast_01kazm3v9sfa4t2tq9gk1x7c5e"),
            await client.delete(f"/v1/api-keys/{encode('key', agency.actor.key_id)}"),
        ]
        assert [one.status_code for one in refusals] == [422, 422, 412, 404, 409]
        batch = await client.post(f"{base}/posts/bulk", json={"items": [{"post": {"text": "x", "account_ids": []}}]})
        assert batch.json()["failed"] == 1
        # Nothing changed: a patch without fields
        assert (await client.patch(base, json={})).status_code == 200
        entries = (await client.get("/v1/audit-entries")).json()["data"]
    assert [one["action"] for one in entries] == ["workspace.create"]


async def test_a_request_whose_transaction_rolls_back_leaves_no_entry(app: FastAPI, agency: TestAgency, settings: Settings) -> None:
    owner = await seeing(settings)
    # Given a commit that fails, after everything was written
    await owner.execute(
        "create function fail() returns trigger language plpgsql as $$ begin raise exception 'late'; end $$;"
        "create constraint trigger late after insert on workspaces deferrable initially deferred"
        " for each row execute function fail()"
    )
    async with client_of(app, agency.key) as client:
        answer = await client.post("/v1/workspaces", json={"name": "w", "time_zone": "UTC"}, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 500
    assert await owner.fetchval("select count(*) from audit_entries") == 0
    await owner.close()


async def test_the_text_of_a_key_is_in_no_entry(app: FastAPI, agency: TestAgency, settings: Settings) -> None:
    wish = {"name": "k", "scopes": [Permission.POST_READ.value]}
    async with client_of(app, agency.key) as client:
        made = (await client.post("/v1/api-keys", json=wish)).json()
        assert (await client.delete(f"/v1/api-keys/{made['id']}")).status_code == 204
    owner = await seeing(settings)
    rows = [str(dict(row)) for row in await owner.fetch("select * from audit_entries")]
    hashed = await owner.fetchval("select encode(hash, 'hex') from api_keys where id = $1", decode("key", made["id"]))
    await owner.close()
    assert len(rows) == 2
    assert not [row for row in rows if made["key"][-20:] in row or agency.key[-20:] in row or hashed in row]


async def test_an_entry_names_the_session_or_the_grant_by_which_it_was_done(
    platform: Platform, database: Database, agency: TestAgency
) -> None:
    # Given a member with two browsers, and an application that it granted
    user_id = await make_person(database, "two@first.example")
    member_id = await join(database, agency, user_id, "owner")
    browsers = [await signed_in(platform.app, database, user_id, agency) for _ in range(2)]
    token = await issue(
        platform.app, database, agency, "oat", member_id, frozenset({Permission.WORKSPACE_UPDATE}), [agency.workspace.id]
    )
    path = f"/v1/workspaces/{encode('wsp', agency.workspace.id)}"
    keys, application = platform.client(agency.key), platform.client(token)
    # When each of them changes something, and a key does
    for number, client in enumerate((*browsers, application, keys)):
        answer = await client.patch(path, json={"name": f"by {number}"}, headers={"If-Match": "*"})
        assert answer.status_code == 200, answer.text
    # Then each entry says by what, and so does the export
    current = [(await one.get("/v1/sessions")).json()["data"] for one in browsers]
    sessions = [next(one["id"] for one in listed if one["current"]) for listed in current]
    found = [one["credential"] for one in (await keys.get("/v1/audit-entries", params={"limit": 4})).json()["data"]]
    grant = (await keys.get("/v1/grants")).json()["data"][0]["id"]
    wanted = [None, {"type": "grant", "id": grant}, *({"type": "session", "id": one} for one in reversed(sessions))]
    assert found == wanted
    exported = [json.loads(line)["credential"] for line in (await keys.get("/v1/audit-entries/export")).text.splitlines()]
    assert exported[-4:] == found[::-1]
    # And it is a part of what is sealed
    await platform.work("audit")
    assert (await keys.get("/v1/audit-entries/verify")).json()["ok"]
    for client in (*browsers, application, keys):
        await client.aclose()
