"""The table of roles: what it grants, what it never grants, and the page that is written from it."""

from itertools import product
from pathlib import Path

import httpx2
import pytest

from api.permissions_document import render
from core.ids import new_id
from tenants.permissions import (
    AGENCY_ROLES,
    ALL,
    EVERYTHING,
    KEY_MAY,
    OF_THE_AGENCY,
    OF_THE_OWNER,
    WORKSPACE_ROLES,
    Actor,
    AgencyRole,
    CustomRole,
    Holding,
    Later,
    Permission,
    WorkspaceRole,
    actor_of_member,
    existing,
    holding_for,
    shared,
)

PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"
WRITES = {one for one in EVERYTHING if not one.endswith(":read")}


def test_the_page_of_permissions_is_the_tables() -> None:
    assert PAGE.read_text() == render(), "run `make openapi`"


def test_the_owner_may_everything_and_the_admin_all_but_ownership() -> None:
    assert existing(AGENCY_ROLES[AgencyRole.OWNER]) == ALL
    assert AGENCY_ROLES[AgencyRole.OWNER] - AGENCY_ROLES[AgencyRole.ADMIN] == OF_THE_OWNER


def test_no_permission_is_named_twice() -> None:
    assert {one.value for one in Permission} & {one.value for one in Later} == set()


def test_no_role_of_a_workspace_reaches_the_agency() -> None:
    for role, held in WORKSPACE_ROLES.items():
        assert held & OF_THE_AGENCY == set(), role
    assert WORKSPACE_ROLES[WorkspaceRole.MANAGER] | OF_THE_AGENCY == EVERYTHING


def test_every_other_role_is_part_of_the_manager() -> None:
    for role, held in WORKSPACE_ROLES.items():
        assert held <= WORKSPACE_ROLES[WorkspaceRole.MANAGER], role


def test_billing_sees_no_content_and_a_member_nothing() -> None:
    assert existing(AGENCY_ROLES[AgencyRole.BILLING]) == existing(AGENCY_ROLES[AgencyRole.MEMBER]) == {Permission.AGENCY_READ}


@pytest.mark.parametrize(
    ("role", "lacks"),
    [
        ("content", {"account:connect", "account:manage", "ads:edit", "ads:spend", "inbox:reply", "approval:decide"}),
        ("design", {"post:create", "post:update", "post:schedule", "post:delete", "ads:read"}),
        ("ads", {"post:create", "post:update", "post:schedule", "publication:resolve", "media:create"}),
        ("community", {"post:create", "post:schedule", "ads:read", "account:connect"}),
        ("client", {"post:read", "publication:read", "media:read", "account:read", "stats:read", "inbox:read", "ads:read"}),
        ("viewer", {"inbox:read", "ads:read", *WRITES}),
        ("analyst", WRITES - {"report:create"}),
    ],
)
def test_a_role_lacks_what_is_not_its_work(role: str, lacks: set[str]) -> None:
    assert {one.value for one in WORKSPACE_ROLES[WorkspaceRole(role)]} & lacks == set()


async def test_no_key_holds_what_is_still_to_come(client: httpx2.AsyncClient) -> None:
    for later in Later:
        answer = await client.post("/v1/api-keys", json={"name": "early", "scopes": ["post:read", later.value]})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/scopes/1"), later


def test_what_is_left_of_a_key_its_maker_may_in_every_workspace_of_it() -> None:
    first, second, third = new_id(), new_id(), new_id()
    office = CustomRole(new_id(), frozenset({Permission.AGENCY_READ, Permission.KEY_MANAGE, Permission.POST_READ}))
    posts = CustomRole(new_id(), frozenset({Permission.POST_CREATE, Permission.POST_READ}))
    held = [None, *WorkspaceRole, posts]
    narrowed = 0
    for role, one, two in product([*AgencyRole, office], held, held):
        rooms = {id: what for id, what in ((first, one), (second, two)) if what is not None}
        for wanted in (None, (first,), (first, second), (third,), (third, second)):
            key = Holding(KEY_MAY, wanted)
            left = shared(key, holding_for(role, rooms, wanted))
            assert shared(left, holding_for(role, rooms, left.workspace_ids)) == left
            assert wanted is None or set(left.workspace_ids or wanted) <= set(wanted)
            for id in (first, second, third) if left.workspace_ids is None else left.workspace_ids:
                member = actor_of_member(Actor(first, "", True, None, ""), role, rooms, Permission.AGENCY_READ, id)
                assert left.scopes <= member.permissions, (role, one, two, wanted)
            narrowed += left != key
    assert narrowed > 1000
