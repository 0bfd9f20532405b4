"""Every kind of caller there is, beside the one whose things are asked for."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from fastapi import FastAPI

from core.clock import now
from core.db import Database
from core.ids import encode, new_id
from tenants.agencies.keys import create_key, write_key
from tenants.agencies.models import Workspace
from tenants.agencies.schemas import KeyCreate, WorkspaceCreate
from tenants.agencies.service import create_workspace
from tenants.permissions import ALL, DELEGABLE, EMBEDDABLE, Permission
from tests.applications.issuing import issue
from tests.conftest import MakeAgency, TestAgency, client_of
from tests.people.people import join, make_person, signed_in, with_member
from tests.walls.things import Things, an_account, furnish, with_archive

INSIDE = "another workspace"
Kind = Literal["stranger", "own", "refused", "forbidden"]


@dataclass
class Caller:
    """Who calls. A `stranger` has things of its own; `own` is the tenant by way of another workspace; the others are stopped."""

    name: str
    kind: Kind
    authorization: str | None
    own: Things | None = None
    inside: bool = False
    """Of the tenant's own agency, but bound to another workspace: it sees what is the whole agency's."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of a person: its cookie, its agency, and that a page of the service sends it."""
    permissions: frozenset[Permission] = ALL
    """Of a token: all that it can be allowed. Without the permission it is stopped as everybody is."""


async def _key(database: Database, agency: TestAgency, scopes: list[Permission], **more: Any) -> str:
    wish = KeyCreate(name="k", scopes=scopes, workspace_ids=more.pop("workspace_ids", None))
    async with database.session(agency.tenant) as session:
        row, text = await create_key(session, agency.actor, wish, now())
        for name, value in more.items():
            setattr(row, name, value)
        session.add(row)
    return text


async def things_of(app: FastAPI, database: Database, agency: TestAgency, key: str, workspace: Workspace | None = None) -> Things:
    """Furnish a workspace by HTTP. On the live side no network is at hand, so its account is put there."""
    id = (workspace or agency.workspace).id
    account = await an_account(database, agency.tenant, id, "bluesky") if agency.actor.livemode else None
    async with client_of(app, key) as client:
        things = await furnish(client, encode("wsp", id), account)
    return await with_archive(app, database, agency, await with_member(database, agency, things))


async def strangers(app: FastAPI, database: Database, make_agency: MakeAgency, victim: TestAgency) -> list[Caller]:
    """Who has a key of some right: of another agency, of the other mode, of another workspace; and the tenant's own, led astray."""
    other = await make_agency("Robber")
    other = other if other.actor.livemode == victim.actor.livemode else other.sibling or other
    assert victim.sibling is not None
    async with database.session(victim.tenant) as session:
        rooms = [
            await create_workspace(session, victim.actor, WorkspaceCreate(name=name, time_zone="UTC"), now())
            for name in ("Room", "Own room")
        ]
    bound = await _key(database, victim, list(Permission), workspace_ids=[rooms[0].id])
    found = [
        ("another agency", "stranger", other.key, await things_of(app, database, other, other.key)),
        ("the other mode", "stranger", victim.sibling.key, await things_of(app, database, victim.sibling, victim.sibling.key)),
        (INSIDE, "stranger", bound, await things_of(app, database, victim, bound, rooms[0])),
        ("its own other workspace", "own", victim.key, await things_of(app, database, victim, victim.key, rooms[1])),
    ]
    known = [Caller(name, kind, f"Bearer {key}", own, name == INSIDE) for name, kind, key, own in found]  # type: ignore[arg-type]  # the kinds above
    third = await make_agency("Second robber")  # whose Idempotency-Keys are its own
    third = third if third.actor.livemode == victim.actor.livemode else third.sibling or third
    own = await things_of(app, database, third, third.key)
    return [
        *known,
        Caller("the owner of another agency", "stranger", None, own, headers=await _owner(app, database, third)),
        *await _tokens(app, database, victim),
    ]


async def _tokens(app: FastAPI, database: Database, victim: TestAgency) -> list[Caller]:
    """Tokens in another workspace of the tenant: of an application, with all that it can be allowed, and of a page."""
    async with database.session(victim.tenant) as session:
        room = await create_workspace(session, victim.actor, WorkspaceCreate(name="Room of tokens", time_zone="UTC"), now())
    key = await _key(database, victim, list(Permission), workspace_ids=[room.id])
    things = await things_of(app, database, victim, key, room)
    member_id = await join(database, victim, await make_person(database, f"granter@{things.ids['wsp']}.example"), "owner")
    found = []
    for name, kind, held in (("a token of an application", "oat", DELEGABLE), ("a token of a page", "oem", EMBEDDABLE)):
        text = await issue(app, database, victim, kind, member_id, held, [room.id])
        found.append(Caller(name, "stranger", f"Bearer {text}", things, inside=True, permissions=held))
    return found


async def _owner(app: FastAPI, database: Database, agency: TestAgency) -> dict[str, str]:
    """The headers of a person who is signed in, and owns an agency."""
    user_id = await make_person(database, "owner@robber.example")
    await join(database, agency, user_id, "owner")
    async with await signed_in(app, database, user_id, agency) as client:
        named = {name: client.headers[name] for name in ("Octavo-Agency", "Sec-Fetch-Site")}
        return named | {"Cookie": f"sid={client.cookies['sid']}"}


async def refused(database: Database, victim: TestAgency) -> list[Caller]:
    """Who has no key, or none that is good."""
    own = victim.key
    wrong = own.replace("_test_", "_live_") if "_test_" in own else own.replace("_live_", "_test_")
    texts = {
        "no key": None,
        "a garbage key": "Bearer garbage",
        "a truncated key": f"Bearer {own[:-1]}",
        "a key of the wrong mode": f"Bearer {wrong}",
        "a key of nobody": f"Bearer {write_key(new_id(), livemode=victim.actor.livemode)}",
        "a made-up key of the agency": f"Bearer {write_key(victim.actor.agency_id, livemode=victim.actor.livemode)}",
        "an expired key": "Bearer " + await _key(database, victim, list(Permission), expires_at=now() - timedelta(seconds=1)),
        "a revoked key": "Bearer " + await _key(database, victim, list(Permission), revoked_at=now()),
        "another scheme": f"Basic {own}",
    }
    return [Caller(name, "refused", text) for name, text in texts.items()]


async def forbidden(database: Database, victim: TestAgency) -> dict[str, Caller]:
    """By permission: a key of the tenant's own agency that has every other one."""
    found = {}
    for permission in Permission:
        scopes = [one for one in Permission if one is not permission]
        text = await _key(database, victim, scopes)
        found[permission.value] = Caller("without the permission", "forbidden", f"Bearer {text}")
    return found
