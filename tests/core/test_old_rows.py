"""Rows that an older version wrote, brought to the head: what they are must go on as it was."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from fastapi import FastAPI

from core.crypto import KeyRing, hash_key, new_data_key
from core.ids import encode, new_id
from core.settings import Settings
from migrations.run import migrate
from tenants.agencies.keys import write_key
from tenants.people.passwords import Passwords
from tenants.people.sessions import write_session
from tenants.permissions import KEY_MAY, Permission
from tests.conftest import client_of, drop, on
from tests.people.people import PASSWORD, browser, sign_in

OLD = "0013"
SINCE = {Permission.SIGN_ON_MANAGE}
"""Scopes that came after it."""
TABLES = (
    "agencies", "agency_keys", "workspaces", "users", "passwords", "sessions", "members", "workspace_members", "api_keys",
    "accounts", "connect_sessions", "posts",
)  # fmt: skip
EMAIL = "ada@old.example"


@dataclass
class Old:
    """An agency as the older version left it, and its neighbour."""

    name: str
    agency: UUID = field(default_factory=new_id)
    workspace: UUID = field(default_factory=new_id)
    user: UUID = field(default_factory=new_id)
    member: UUID = field(default_factory=new_id)
    account: UUID = field(default_factory=new_id)
    connect_session: UUID = field(default_factory=new_id)
    post: UUID = field(default_factory=new_id)
    key: str = ""
    narrow_key: str = ""
    cookie: str = ""

    async def put(self, db: asyncpg.Connection, table: str, **values: Any) -> None:
        """Write one row as the older version did."""
        places = ", ".join(f"${place}" for place in range(1, len(values) + 1))
        await db.execute(f"insert into {table} ({', '.join(values)}) values ({places})", *values.values())

    async def fill(self, db: asyncpg.Connection, ring: KeyRing) -> None:
        """Write everything."""
        mine: dict[str, Any] = {"agency_id": self.agency}
        inside = mine | {"workspace_id": self.workspace}
        at = await db.fetchval("select now()")
        await self.put(db, "agencies", id=self.agency, name=self.name, livemode=False)
        await self.put(db, "agency_keys", **mine, wrapped=ring.wrap(self.agency, new_data_key()))
        await self.put(db, "workspaces", **mine, id=self.workspace, name="Bakery", time_zone="UTC")
        email = EMAIL if self.name == "First" else f"eve@{self.name}.example".lower()
        await self.put(db, "users", id=self.user, email=email, name="Ada", email_verified_at=at)
        await self.put(db, "passwords", user_id=self.user, hash=await Passwords().hash(PASSWORD), changed_at=at)
        self.cookie = write_session(self.user)
        await self.put(
            db, "sessions", user_id=self.user, id=new_id(), hash=hash_key(self.cookie), user_agent="", last_seen_at=at,
            created_at=at, authenticated_at=at,
        )  # fmt: skip
        await self.put(db, "members", **mine, id=self.member, user_id=self.user, role="owner")
        await self.put(db, "workspace_members", **inside, member_id=self.member, role="viewer")
        self.key, self.narrow_key = (write_key(self.agency, livemode=False) for _ in range(2))
        for text, scopes in ((self.key, KEY_MAY - SINCE), (self.narrow_key, {Permission.AGENCY_READ, Permission.POST_READ})):
            held = {"scopes": sorted(scopes), "hash": hash_key(text), "hint": text[-4:]}
            await self.put(db, "api_keys", **mine, id=new_id(), name="k", created_by_member=self.member, **held)
        shown = {"network": "sandbox", "external_id": "page-1", "name": "The page"}
        await self.put(db, "accounts", **inside, id=self.account, **shown)
        asked = {"network": "sandbox", "state": "awaiting_credentials", "expires_at": at.replace(year=at.year + 1)}
        await self.put(db, "connect_sessions", **inside, id=self.connect_session, **asked)
        await self.put(db, "posts", **inside, id=self.post, state="draft", text="Fresh rolls")


@pytest.fixture
def old() -> tuple[Old, Old]:
    """Two agencies of the older version."""
    return Old("First"), Old("Second")


@pytest.fixture
async def settings(server_url: str, tmp_path: Path, old: tuple[Old, Old]) -> AsyncIterator[Settings]:
    """Settings of a database that is brought to the older version, filled there, and then brought to the head."""
    name = f"t_{secrets.token_hex(6)}"
    server = await asyncpg.connect(server_url)
    await server.execute(f"create database {name}")
    settings = Settings(database_url=on(server_url, name), home=str(tmp_path), database_pool_size=3, log_format="console")
    await migrate(settings, OLD)
    owner = await asyncpg.connect(settings.database_url)
    for table in TABLES:
        await owner.execute(f"alter table {table} no force row level security")
    ring = KeyRing(settings.encryption_keys.get_secret_value())
    for one in old:
        await one.fill(owner, ring)
    for table in TABLES:
        await owner.execute(f"alter table {table} force row level security")
    await owner.close()
    for _ in range(2):  # a second start finds it done
        await migrate(settings)
    yield settings
    await drop(server, name)
    await server.close()


async def test_what_an_older_version_wrote_goes_on_at_the_head(app: FastAPI, old: tuple[Old, Old]) -> None:
    first, second = old
    base = f"/v1/workspaces/{encode('wsp', first.workspace)}"
    things = [f"posts/{encode('pst', first.post)}", f"accounts/{encode('acc', first.account)}"]
    things += [f"connect-sessions/{encode('cns', first.connect_session)}"]
    async with browser(app, cookie=first.cookie, **{"Octavo-Agency": encode("agc", first.agency)}) as ada:
        # The session lives, whole, and bound to no provider
        (session,) = (await ada.get("/v1/sessions")).json()["data"]
        assert session["current"] is True
        me = (await ada.get("/v1/me")).json()
        assert (me["actor"]["id"], me["actor"]["role"]) == (encode("mem", first.member), "owner")
        for thing in things:
            assert (await ada.get(f"{base}/{thing}")).status_code == 200, thing
        # The password fits, and what is new works on what is old
        assert (await ada.post("/v1/sessions/current/reauthentication", json={"password": PASSWORD})).status_code == 204
        etag = {"If-Match": (await ada.get(f"{base}/{things[0]}")).headers["ETag"]}
        assert (await ada.patch(f"{base}/{things[0]}", json={"text": "Rye"}, headers=etag)).json()["text"] == "Rye"
        assert (await ada.get("/v1/identity-providers")).json()["data"] == []
        begun = await ada.post(f"{base}/connect-sessions", json={"network": "sandbox"})
        assert begun.status_code == 201, begun.text
    async with browser(app) as fresh:
        assert (await sign_in(fresh, EMAIL)).status_code == 201
    # Keys hold what they held; who had every scope about the agency has the one that came since
    async with client_of(app, first.key) as key, client_of(app, first.narrow_key) as narrow:
        assert set((await key.get("/v1/me")).json()["permissions"]) == {one.value for one in KEY_MAY}
        assert (await narrow.get("/v1/me")).json()["permissions"] == ["agency:read", "post:read"]
        for thing in things:
            assert (await key.get(f"{base}/{thing}")).status_code == 200, thing
    # And the neighbour's are as far away as before
    async with client_of(app, second.key) as theirs:
        for thing in things:
            assert (await theirs.get(f"{base}/{thing}")).status_code == 404, thing
        assert len((await theirs.get("/v1/members")).json()["data"]) == 1
