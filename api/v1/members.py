"""Members of the agency, and their roles."""

from typing import Annotated, Any

from fastapi import Query, Request, Response

from api.body import StrictRequest
from api.dependencies import DB, Idem, can, require_fresh
from api.pagination import Page, PageQuery, page_of, read_cursor
from api.routing import v1
from core.clock import now
from core.db import raw
from core.wire import MemberId, WorkspaceId
from tenants.audit.entries import Entry, pick
from tenants.people import membership
from tenants.people.schemas import MemberRead, MemberUpdate, RoomRole, RoomUpdate
from tenants.permissions import Actor, AgencyRole, Permission

router = v1("Members")
ROOM = "/workspaces/{workspace_id}/members/{member_id}"


@router.get("/members", response_model=Page[MemberRead], summary="List members")
async def list_members(
    db: DB, actor: Annotated[Actor, can(Permission.MEMBER_READ)], request: Request, response: Response,
    query: Annotated[PageQuery, Query()],
) -> dict[str, Any]:  # fmt: skip
    """The people of the agency, newest first. A key that is bound to workspaces sees those who were added to them."""
    rows = await membership.list_members(raw(db), actor, after=read_cursor(request, actor, query), limit=query.limit + 1)
    return page_of(request, response, actor, query, rows, [row.id for row in rows])


@router.get("/members/{member_id}", response_model=MemberRead, summary="Get a member")
async def get_member(member_id: MemberId, db: DB, actor: Annotated[Actor, can(Permission.MEMBER_READ)]) -> MemberRead:
    """One member, with its roles."""
    return await membership.get_member(raw(db), actor, member_id)


@router.patch("/members/{member_id}", response_model=MemberRead, summary="Change a member's role")
async def update_member(
    member_id: MemberId, db: DB, actor: Annotated[Actor, can(Permission.MEMBER_MANAGE)], idem: Idem, body: MemberUpdate,
    request: StrictRequest,
) -> Response:  # fmt: skip
    """Give a member another role in the agency. It holds from this answer on, for the keys too that the member made.

    Nobody gives or takes a role that holds more than himself; owners are made and unmade by owners in person; the last one stays.
    Who makes an owner has just signed in or shown again who it is: `reauthentication_required`.
    """
    if body.role is None:
        return await idem.respond(await membership.get_member(raw(db), actor, member_id), None)
    if body.role is AgencyRole.OWNER:
        require_fresh(request)
    before, after, keys = await membership.change_role(raw(db), actor, member_id, body.role, now())
    entry = Entry("member", member_id, None, {"role": before}, pick("member", after) | keys.told())
    return await idem.respond(after, entry)


@router.delete("/members/{member_id}", status_code=204, summary="Remove a member")
async def remove_member(
    member_id: MemberId, db: DB, actor: Annotated[Actor, can(Permission.MEMBER_MANAGE)], idem: Idem
) -> Response:  # fmt: skip
    """End a membership: its roles, its way in, and every key that it made, from this answer on."""
    role, keys = await membership.end_membership(raw(db), actor, member_id, now())
    return await idem.respond(None, Entry("member", member_id, None, {"role": role}, keys.told() or None), status=204)


@router.put(ROOM, response_model=RoomRole, summary="Give a member a role in a workspace")
async def assign_member(
    workspace_id: WorkspaceId, member_id: MemberId, db: DB, actor: Annotated[Actor, can(Permission.MEMBER_ASSIGN)], idem: Idem,
    body: RoomUpdate,
) -> Response:  # fmt: skip
    """Add a member to a workspace, or give it another role there. It holds for the keys too that the member made.

    A caller that reaches certain workspaces alone changes the roles of those who are in them.
    """
    before, after, keys = await membership.assign(raw(db), actor, workspace_id, member_id, body.role, now())
    told = None if before is None else {"role": before}
    return await idem.respond(after, Entry("member", member_id, workspace_id, told, pick("member", after) | keys.told()))


@router.delete(ROOM, status_code=204, summary="Take a member out of a workspace")
async def unassign_member(
    workspace_id: WorkspaceId, member_id: MemberId, db: DB, actor: Annotated[Actor, can(Permission.MEMBER_ASSIGN)], idem: Idem
) -> Response:  # fmt: skip
    """End a member's role in a workspace, from this answer on, and what its keys could there by it."""
    role, keys = await membership.unassign(raw(db), actor, workspace_id, member_id, now())
    return await idem.respond(None, Entry("member", member_id, workspace_id, {"role": role}, keys.told() or None), status=204)
