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
BEFORE_ITS_WHOLE = ("revoke_share_link", "delete_publication", "unassign_member")
"""What goes with what it belongs to, if that goes first."""
STANDS_AGAINST = {
    "retry_publication": (409, "the publication has not failed"),
    "cancel_publication": (409, "its post is canceled by then"),
    "resolve_publication": (409, "nothing about it is unknown"),
    "delete_publication": (409, "it is not published"),
    "upload_media": (422, "nobody serves the address"),
    "complete_connect_session": (409, "the session is complete"),
    "transfer_agency": (422, "the member is nobody"),
    "update_post": (409, "its content is with the network by then"),
    "close_agency": (409, "test data end with the live agency"),
    "keep_agency": (409, "test data end with the live agency"),
    "close_workspace": (409, "its export is under way"),
    "open_workspace": (409, "it is not closed"),
}
"""Operation -> what a permitted write answers in the own workspace in place of doing it, and why. All others do it."""
FIRST_COMES = {
    "cancel_post": 409, "delete_post": 404, "delete_media": 404, "create_identity_provider": 409,
    "delete_identity_provider": 404, "export_agency": 409, "export_workspace": 409, "remove_member": 404, "unassign_member": 404,
    "delete_role": 404, "delete_application": 404, "revoke_invitation": 409,
}  # fmt: skip
"""Operation -> what it answers once somebody has done it there: the first who may must succeed."""
BEYOND = {"create_invitation": (422, "to be invited into the agency takes more than a role in a workspace")}
"""What is refused to whoever holds the permission in a workspace alone."""


def turn(operation: Operation) -> tuple[int, bool]:
    """When an operation is tried: what only looks comes first, what takes a whole away comes last."""
    return ORDER.index(operation.method), operation.id not in BEFORE_ITS_WHOLE


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


def is_right(
    person: Person, operation: Operation, place: str, wanted: str, answer: httpx2.Response, done: set[tuple[str, str]]
) -> bool:
    """Judge one answer; `done` remembers what somebody has done where. No cell is ever a fault of the service."""
    status = answer.status_code
    if wanted == "403":
        return status == 403 and bool(answer.json()["required_permission"] == operation.permission)
    if wanted != "passes":
        return status == int(wanted)
    if operation.method == "GET":
        return status == 200
    if place != "own workspace":
        return status not in {401, 403} and status < 500
    if operation.id in STANDS_AGAINST:
        return status == STANDS_AGAINST[operation.id][0]
    if operation.id in BEYOND and operation.permission not in granted(person.role):
        return status == BEYOND[operation.id][0]
    if (operation.id, place) in done and operation.id in FIRST_COMES:
        return status == FIRST_COMES[operation.id]
    if 200 <= status < 300:
        done.add((operation.id, place))
        return True
    return False


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
    done: set[tuple[str, str]] = set()
    # Who may most comes last: so things are there as long as anybody may see them
    for operation in sorted(known, key=turn):
        for person in sorted(people, key=lambda one: one.role in REACH_ALL):
            for place, (things, whose) in places.items():
                answer = await ask(person, operation, things, whose)
                wanted = expected(person, operation, place)
                right = is_right(person, operation, place, wanted, answer, done)
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
