"""The matrix of roles once more, for tokens: what a member's role and the token's scopes share, in the workspaces of the token."""

import sys
from collections import Counter
from uuid import UUID

import httpx2
import pytest

from core.db import Database
from core.ids import encode
from tenants.permissions import (
    AGENCY_ROLES,
    DELEGABLE,
    EMBEDDABLE,
    REACH_ALL,
    WORKSPACE_ROLES,
    AgencyRole,
    Permission,
    WorkspaceRole,
)
from tests.applications.issuing import issue
from tests.conftest import Platform, TestAgency
from tests.people.people import join, make_person
from tests.people.test_roles import ORDER, Person, ask, furnished
from tests.walls.slots import Operation, operations


def expected(person: Person, scopes: frozenset[Permission], operation: Operation, place: str) -> str:
    """What the two tables say: `403`, `404`, or `passes` for what is decided by what is there."""
    inside = any(slot.prefix == "wsp" for slot in operation.of("path"))
    if operation.permission not in scopes:
        return "403"
    if inside and (place != "own workspace" or (person.room is None and person.role not in REACH_ALL)):
        return "404"
    held = AGENCY_ROLES[person.role] | (WORKSPACE_ROLES[person.room] if person.room else frozenset())
    if operation.permission not in held:
        return "403"
    if place == "another workspace" and operation.path.startswith("/v1/roles/"):
        return "passes"  # it is the whole agency's
    return "404" if place != "own workspace" and operation.of("path") else "passes"


@pytest.mark.timeout(300)
async def test_a_token_may_what_its_member_and_its_scopes_share_and_nothing_else(
    platform: Platform, database: Database, agency: TestAgency, other: TestAgency, capsys: pytest.CaptureFixture[str]
) -> None:
    async with platform.client(agency.key) as keys:
        room = (await keys.post("/v1/workspaces", json={"name": "Other room", "time_zone": "UTC"})).json()["id"]
        places = {
            "own workspace": await furnished(platform, database, agency, keys, encode("wsp", agency.workspace.id)),
            "another workspace": await furnished(platform, database, agency, keys, room),
        }
    async with platform.client(other.key) as keys:
        places["another agency"] = await furnished(platform, database, other, keys, encode("wsp", other.workspace.id))
    roles = [(WorkspaceRole(one), AgencyRole.MEMBER) for one in WORKSPACE_ROLES] + [(None, one) for one in AGENCY_ROLES]
    callers: list[tuple[Person, frozenset[Permission]]] = []
    for what, role in roles:
        user = await make_person(database, f"{what or role}@first.example")
        rooms: dict[UUID, str] = {agency.workspace.id: what} if what else {}
        member_id = await join(database, agency, user, role, rooms)
        for kind, scopes in (("oat", DELEGABLE), ("oem", EMBEDDABLE)):
            text = await issue(platform.app, database, agency, kind, member_id, scopes, [agency.workspace.id])
            client = httpx2.AsyncClient(base_url=platform.url, headers={"Authorization": f"Bearer {text}"}, timeout=30)
            callers.append((Person(f"{kind} of {what or role}", client, role, what), scopes))
    known = sorted(operations(platform.app.openapi()), key=lambda one: ORDER.index(one.method))
    cells: Counter[str] = Counter()
    surprises = []
    for operation in known:
        for person, scopes in sorted(callers, key=lambda one: one[0].role in REACH_ALL):
            for place, things in places.items():
                answer = await ask(person, operation, things, agency)
                wanted = expected(person, scopes, operation, place)
                right = answer.status_code == int(wanted) if wanted != "passes" else answer.status_code not in {401, 403}
                if wanted == "passes" and operation.method == "GET":
                    right = answer.status_code == 200
                right = right and answer.status_code < 500
                cells[wanted] += 1
                if not right:
                    surprises.append(
                        f"{person.name} {operation.id} {place}: {answer.status_code}, not {wanted}: {answer.text[:150]}"
                    )
    for person, _ in callers:
        await person.client.aclose()
    with capsys.disabled():
        sys.stdout.write(
            f"\nroles of tokens: {len(known)} operations x {len(callers)} tokens x {len(places)} places, {cells.total()} cells"
            f" {dict(cells)}, {len(surprises)} surprises\n"
        )
    assert surprises == [], surprises[:20]
