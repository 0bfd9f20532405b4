"""People as they sign in: made in an agency with a role, and a browser for each."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx2
from fastapi import FastAPI

from core.clock import now
from core.db import Database, Person, stamp_login, stamp_person
from core.ids import decode, encode, new_id
from tenants.people.held import stored
from tenants.people.members import ADD_MEMBER, ADD_PASSWORD, ADD_USER
from tenants.people.membership import ADD_ROOM, ROLE
from tenants.people.passwords import Passwords
from tenants.people.sessions import begin_session
from tenants.permissions import CustomRole
from tests.conftest import TestAgency
from tests.walls.things import Things

PASSWORD = "five quiet lanterns by the bay"
HASHED: dict[str, str] = {}
"""One hash for all: what a person's password is matters to few tests, and each hash takes 30 ms."""


async def make_person(database: Database, email: str, password: str = PASSWORD) -> UUID:
    """A person with a password, in no agency."""
    if password not in HASHED:
        HASHED[password] = await Passwords().hash(password)
    user_id = new_id()
    async with database.connection(Person()) as db:
        await stamp_login(db, email)
        await db.execute(ADD_USER, user_id, email, email.partition("@")[0], now(), now())
        await stamp_person(db, user_id)
        await db.execute(ADD_PASSWORD, user_id, HASHED[password], now())
    return user_id


def columns(role: str | CustomRole) -> tuple[str, UUID | None]:
    """A role as its two columns hold it."""
    return stored(role) if isinstance(role, CustomRole) else (role, None)


async def join(
    database: Database, agency: TestAgency, user_id: UUID, role: str | CustomRole, rooms: Mapping[UUID, Any] | None = None
) -> UUID:  # fmt: skip
    """Make a person a member, with roles in workspaces."""
    member_id = new_id()
    async with database.connection(agency.tenant) as db:
        await db.execute(ADD_MEMBER, agency.actor.agency_id, member_id, user_id, "member", now())
        await db.execute(ROLE, agency.actor.agency_id, member_id, *columns(role))
        for workspace_id, what in (rooms or {}).items():
            await db.execute(ADD_ROOM, agency.actor.agency_id, member_id, workspace_id, *columns(what), now())
    return member_id


async def with_member(database: Database, agency: TestAgency, things: Things) -> Things:
    """Add a person of its own to a workspace that is furnished."""
    workspace_id = decode("wsp", things.ids["wsp"])
    user_id = await make_person(database, f"viewer@{things.ids['wsp']}.example")
    member_id = await join(database, agency, user_id, "member", {workspace_id: "viewer"})
    things.ids["mem"] = encode("mem", member_id)
    return await with_application(database, agency, things, member_id)


async def with_application(database: Database, agency: TestAgency, things: Things, member_id: UUID) -> Things:
    """Add an application of its agency, and what that person granted it."""
    agency_id, application_id, grant_id = agency.actor.agency_id, new_id(), new_id()
    workspaces = [decode("wsp", things.ids["wsp"])]
    async with database.connection(agency.tenant) as db:
        await db.execute(
            "insert into applications (agency_id, id, name, confidential, scopes, workspace_ids)"
            " values ($1, $2, $3, true, '{post:read}', '{}')", agency_id, application_id, things.secret,
        )  # fmt: skip
        await db.execute(
            "insert into grants (agency_id, id, member_id, application_agency_id, application_id, application_name, scopes,"
            " workspace_ids, expires_at) values ($1, $2, $3, $1, $4, $5, '{post:read}', $6, now() + interval '1 day')",
            agency_id, grant_id, member_id, application_id, things.secret, workspaces,
        )  # fmt: skip
        provider_id = new_id()
        await db.execute(
            "insert into identity_providers (agency_id, id, name, issuer, client_id, sealed_secret, domains, second_factor,"
            " set_by_member) values ($1, $2, $3, $4, 'c', '', '{first.example}', false, $5)",
            agency_id, provider_id, things.secret, f"https://{things.ids['wsp'].replace('_', '-')}.example", member_id,
        )  # fmt: skip
    things.ids["idp"] = encode("idp", provider_id)
    things.ids |= {"app": encode("app", application_id), "grt": encode("grt", grant_id)}
    return things


def browser(app: FastAPI, address: str = "127.0.0.1", cookie: str | None = None, **headers: str) -> httpx2.AsyncClient:
    """A browser on a page of the service itself, at some address."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False, client=(address, 1))
    sent = {"Sec-Fetch-Site": "same-origin"} | headers
    client = httpx2.AsyncClient(transport=transport, base_url="http://octavo.test", headers=sent)
    if cookie is not None:
        client.cookies.set("sid", cookie, domain="octavo.test", path="/")
    return client


async def signed_in(app: FastAPI, database: Database, user_id: UUID, agency: TestAgency | None = None) -> httpx2.AsyncClient:
    """A browser in which a person is signed in already, in the name of an agency."""
    async with database.connection(Person(user_id)) as db:
        _, text = await begin_session(db, user_id, None, "", now())
    named = {} if agency is None else {"Octavo-Agency": encode("agc", agency.actor.agency_id)}
    return browser(app, cookie=text, **named)


async def sign_in(client: httpx2.AsyncClient, email: str, password: str = PASSWORD) -> httpx2.Response:
    """Send the form."""
    return await client.post("/v1/sessions", json={"email": email, "password": password})


def spoiled(text: str) -> str:
    """A credential that is wrong in its last character."""
    return text[:-1] + ("y" if text.endswith("x") else "x")
