"""The matrix of roles: every operation of an agency's things, every role, in the own workspace, in another, in another agency.

What each cell must answer comes from the table of permissions alone.
"""

import sys
from collections import Counter
from dataclasses import dataclass

import httpx2
import pytest

from core.db import Database
from core.ids import decode, encode
from tenants.permissions import (
    AGENCY_ROLES,
    REACH_ALL,
    WORKSPACE_ROLES,
    AgencyRole,
    CustomRole,
    Permission,
    WorkspaceRole,
    granted,
)
from tests.conftest import Platform, TestAgency
from tests.people.people import join, make_person, signed_in, with_member
from tests.walls.slots import Operation, operations
from tests.walls.things import Things, furnish, with_archive

ORDER = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass
class Person:
    """A member: its roles, and its browser."""

    name: str
    client: httpx2.AsyncClient
    role: AgencyRole | CustomRole
    room: WorkspaceRole | CustomRole | None


OWN = {
    "agency": ("agency:read", "workspace:read", "key:read", "role:read", "member:read", "post:read", "post:create", "audit:read"),
    "workspace": ("workspace:read", "post:read", "post:schedule", "media:read", "media:create", "account:connect", "account:read"),
}
"""What the agency's own roles hold, by where they hold."""


async def own_role(keys: httpx2.AsyncClient, scope: str) -> CustomRole:
    """Make a role of the agency's own."""
    body = {"name": f"of the {scope}", "scope": scope, "permissions": OWN[scope]}
    made = await keys.post("/v1/roles", json=body)
    return CustomRole(decode("rol", made.json()["id"]), frozenset(Permission(one) for one in OWN[scope]))


def expected(person: Person, operation: Operation, place: str) -> str:
    """What the table says: `403`, `404`, or `passes` for what is decided by what is there."""
    everywhere = granted(person.role)
    inside = any(slot.prefix == "wsp" for slot in operation.of("path"))
    if place == "another agency":
        return "404"
    if place == "ids of another agency":
        found = expected(person, operation, "another workspace")
        return "404" if found == "passes" and operation.of("path") else found
    if person.role in REACH_ALL:
        return "passes" if operation.permission in everywhere else "403"
    if isinstance(person.role, CustomRole) and operation.permission in everywhere:
        return "passes"
    if inside and (place == "another workspace" or person.room is None):
        return "404"
    held = everywhere | (granted(person.room) if person.room else frozenset())
    if operation.permission not in held:
        return "403"
    if place == "another workspace" and operation.path.startswith("/v1/roles/"):
        return "passes"  # it is the whole agency's
    return "404" if place == "another workspace" and operation.of("path") else "passes"


async def ask(person: Person, operation: Operation, things: Things, agency: TestAgency) -> httpx2.Response:
    """Send the operation with things of one place, in the name of an agency."""
    headers = {"If-Match": "*", "Octavo-Agency": encode("agc", agency.actor.agency_id)}
    if operation.kind is not None:
        headers["Content-Type"] = operation.kind
    body = operation.body(things.ids)
    content = {"content": body} if isinstance(body, str) else {"json": body}
    path = operation.fill(things.ids)
    return await person.client.request(operation.method, path, headers=headers, **content)  # type: ignore[arg-type]  # one of two


async def furnished(
    platform: Platform, database: Database, agency: TestAgency, keys: httpx2.AsyncClient, workspace: str
) -> Things:  # fmt: skip
    """One of everything in a workspace."""
    things = await with_member(database, agency, await furnish(keys, workspace))
    return await with_archive(platform.app, database, agency, things)


@pytest.mark.timeout(300)
async def test_every_role_may_what_the_table_says_and_nothing_else(
    platform: Platform, database: Database, agency: TestAgency, other: TestAgency, capsys: pytest.CaptureFixture[str]
) -> None:
    async with platform.client(agency.key) as keys:
        room = (await keys.post("/v1/workspaces", json={"name": "Other room", "time_zone": "UTC"})).json()["id"]
        places = {
            "own workspace": (await furnished(platform, database, agency, keys, encode("wsp", agency.workspace.id)), agency),
            "another workspace": (await furnished(platform, database, agency, keys, room), agency),
        }
        office, writer = [await own_role(keys, scope) for scope in OWN]
    async with platform.client(other.key) as keys:
        theirs = await furnished(platform, database, other, keys, encode("wsp", other.workspace.id))
        places |= {"another agency": (theirs, other), "ids of another agency": (theirs, agency)}
    roles: list[tuple[WorkspaceRole | CustomRole | None, AgencyRole | CustomRole]] = [
        *((WorkspaceRole(one), AgencyRole.MEMBER) for one in WORKSPACE_ROLES),
        *((None, AgencyRole(one)) for one in AGENCY_ROLES),
        (writer, AgencyRole.MEMBER),
        (None, office),
        (writer, office),
    ]
    people = []
    for what, role in roles:
        name = " and ".join("own" if isinstance(one, CustomRole) else str(one) for one in (role, what) if one)
        user = await make_person(database, f"{name.replace(' ', '-')}@first.example")
        await join(database, agency, user, role, {agency.workspace.id: what} if what else {})
        people.append(Person(name, await signed_in(platform.app, database, user), role, what))
    known = operations(platform.app.openapi())
    cells: Counter[str] = Counter()
    surprises = []
    # What only looks comes first, and who may most comes last: so things are there as long as anybody may see them
    for operation in sorted(known, key=lambda one: ORDER.index(one.method)):
        for person in sorted(people, key=lambda one: one.role in REACH_ALL):
            for place, (things, whose) in places.items():
                answer = await ask(person, operation, things, whose)
                wanted = expected(person, operation, place)
                right = answer.status_code == int(wanted) if wanted != "passes" else answer.status_code not in {401, 403}
                if wanted == "passes" and operation.method == "GET":
                    right = answer.status_code == 200
                if wanted == "403":
                    right = right and answer.json()["required_permission"] == operation.permission
                cells[wanted] += 1
                if not right:
                    surprises.append(
                        f"{person.name} {operation.id} {place}: {answer.status_code}, not {wanted}: {answer.text[:150]}"
                    )
    for person in people:
        await person.client.aclose()
    with capsys.disabled():
        sys.stdout.write(
            f"\nroles: {len(known)} operations x {len(people)} roles x {len(places)} places, {cells.total()} cells"
            f" {dict(cells)}, {len(surprises)} surprises\n"
        )
    assert surprises == []
    assert cells.total() == len(known) * len(people) * len(places)
