"""Roles: the built-in ones, and those that the agency makes of permissions."""

from typing import Annotated

from fastapi import Response

from api.dependencies import DB, Idem, can
from api.routing import v1
from core.clock import now
from core.db import Row, raw
from core.wire import RoleId, encode_known
from tenants.audit.entries import Entry, pick
from tenants.people import roles
from tenants.people.role_schemas import RoleCreate, RoleList, RoleRead, RoleUpdate
from tenants.permissions import Actor, Permission

router = v1("Members")


def _read(row: Row) -> RoleRead:
    return RoleRead(**(dict(row) | {"id": encode_known("role", row["id"])}), built_in=False)


@router.get("/roles", response_model=RoleList, summary="List roles")
async def list_roles(db: DB, actor: Annotated[Actor, can(Permission.ROLE_READ)]) -> RoleList:
    """Every role that a member can have: the built-in ones, then the agency's own."""
    built_in = [
        RoleRead(id=name, name=name, scope=scope, built_in=True, permissions=held, created_at=None)
        for scope, name, held in roles.built_in()
    ]
    own = [_read(row) for row in await roles.list_roles(raw(db), actor)]
    return RoleList(data=[*built_in, *own], next_cursor=None)


@router.post("/roles", status_code=201, response_model=RoleRead, summary="Make a role")
async def create_role(db: DB, actor: Annotated[Actor, can(Permission.ROLE_MANAGE)], idem: Idem, body: RoleCreate) -> Response:
    """Make a role of permissions. It cannot hold what its maker lacks, and ownership cannot be given by a role.

    A role of the agency holds in all of its workspaces; a role of a workspace where a member is given it.
    """
    row = await roles.create_role(raw(db), actor, body.name, body.scope, body.permissions, now())
    read = _read(row)
    return await idem.respond(
        read, Entry("role", row["id"], None, after=pick("role", row)), status=201, location=f"/v1/roles/{read.id}"
    )


@router.get("/roles/{role_id}", response_model=RoleRead, summary="Get a role")
async def get_role(role_id: RoleId, db: DB, actor: Annotated[Actor, can(Permission.ROLE_READ)]) -> RoleRead:
    """One of the agency's own roles."""
    return _read(await roles.get_role(raw(db), actor, role_id))


@router.patch("/roles/{role_id}", response_model=RoleRead, summary="Change a role")
async def update_role(
    role_id: RoleId, db: DB, actor: Annotated[Actor, can(Permission.ROLE_MANAGE)], idem: Idem, body: RoleUpdate
) -> Response:  # fmt: skip
    """Change what a role holds, for everybody who has it, from this answer on.

    The caller holds what it was and what it becomes. When it loses something, the keys lose it too that its members made.
    """
    before, after, keys = await roles.update_role(raw(db), actor, role_id, body.name, body.permissions, now())
    entry = Entry("role", role_id, None, pick("role", before), pick("role", after) | keys.told())
    return await idem.respond(_read(after), entry)


@router.delete("/roles/{role_id}", status_code=204, summary="Take a role away")
async def delete_role(role_id: RoleId, db: DB, actor: Annotated[Actor, can(Permission.ROLE_MANAGE)], idem: Idem) -> Response:
    """Take a role away that nobody has and nobody is invited with."""
    row = await roles.delete_role(raw(db), actor, role_id)
    return await idem.respond(None, Entry("role", role_id, None, before=pick("role", row)), status=204)
