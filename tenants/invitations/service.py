"""Invitations as the agency sees them: made, listed, sent again, revoked."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from core.crypto import KeyRing, hash_key
from core.db import Bare, Row
from core.errors import Conflict, Fault, InvalidInput, Missing, Unauthenticated
from core.ids import decode, encode, new_id
from core.wire import PREFIXES
from tenants.closed import require_open
from tenants.invitations.schemas import InvitationCreate, InvitationRead, InvitedRoom
from tenants.invitations.standing import Grant, require_grantable, standing_of
from tenants.invitations.tokens import write_token
from tenants.mail.service import Wish, send_mail
from tenants.people.held import custom_roles, named
from tenants.people.membership import WORKSPACE
from tenants.people.roles import wanted_role
from tenants.people.schemas import RoomRole
from tenants.permissions import Actor, AgencyRole, CustomRole, WorkspaceRole, sees

LIFETIME = timedelta(days=7)
PAGE = "invitations"
"""Under which path the page of an invitation stands."""
FIELDS = """agency_id, id, email, role, workspace_ids, workspace_roles, mailed, state, created_by, created_by_member, member_id,
expires_at, created_at"""
WITHIN = "($2::uuid[] is null or (role = 'member' and workspace_ids <> '{}' and workspace_ids <@ $2))"
"""A caller that is bound to workspaces sees the invitations that lead into these alone."""
LIST = f"""
select {FIELDS} from invitations where agency_id = $1 and {WITHIN} and ($3::uuid is null or id < $3) order by id desc limit $4
"""
ONE = f"select {FIELDS} from invitations where agency_id = $1 and {WITHIN} and id = $3"
INSERT = f"""
insert into invitations (agency_id, id, email, role, workspace_ids, workspace_roles, hash, mailed, created_by, created_by_member,
  expires_at, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) returning {FIELDS}
"""
RENEW = f"""
update invitations set hash = $3, created_by = $4, created_by_member = $5, expires_at = $6 where agency_id = $1 and id = $2
returning {FIELDS}
"""
REVOKE = f"update invitations set state = 'revoked', ended_at = $3 where agency_id = $1 and id = $2 returning {FIELDS}"


class Sent(NamedTuple):
    """An invitation, and its token where the caller is to send it."""

    row: Row
    token: str | None


def read(row: Row, now: datetime) -> InvitationRead:
    """Write an invitation as it is shown."""
    rooms = zip(row["workspace_ids"], row["workspace_roles"], strict=True)
    state = "expired" if row["state"] == "pending" and row["expires_at"] <= now else row["state"]
    inviter = (PREFIXES["key"], row["created_by"]) if row["created_by"] else (PREFIXES["member"], row["created_by_member"])
    return InvitationRead(
        **{name: row[name] for name in ("id", "email", "role", "member_id", "expires_at", "created_at")},
        workspaces=[RoomRole(workspace_id=id, role=role) for id, role in rooms],
        delivery="email" if row["mailed"] else "link",
        state=state,
        invited_by=encode(*inviter),
    )


async def read_grant(db: Bare, agency_id: UUID, row: Row) -> Grant:
    """Read what an invitation gives, as its roles are now. Raises Missing when one is gone."""
    texts = [row["role"], *row["workspace_roles"]]
    ids = {text: decode(PREFIXES["role"], text) for text in texts if "_" in text}
    known = await custom_roles(db, agency_id, ids.values())
    if len(known) < len(set(ids.values())):
        raise Missing
    role = known[ids[row["role"]]] if row["role"] in ids else AgencyRole(row["role"])
    rooms = {
        room: known[ids[text]] if text in ids else WorkspaceRole(text)
        for room, text in zip(row["workspace_ids"], row["workspace_roles"], strict=True)
    }
    return Grant(role, rooms)


async def _wanted_rooms(db: Bare, actor: Actor, wishes: Sequence[InvitedRoom]) -> dict[UUID, WorkspaceRole | CustomRole]:
    rooms: dict[UUID, WorkspaceRole | CustomRole] = {}
    for place, wish in enumerate(wishes):
        pointer = f"/workspaces/{place}"
        id = wish.workspace_id
        row = await db.fetchrow(WORKSPACE, actor.agency_id, id) if sees(actor, id) else None
        if row is None:
            raise InvalidInput(faults=[Fault(f"{pointer}/workspace_id", "not_found", "There is no such workspace.")])
        require_open(row["closed_at"])
        if id in rooms:
            raise InvalidInput(faults=[Fault(f"{pointer}/workspace_id", "validation_failed", "It is named twice.")])
        role = wish.role
        if isinstance(role, UUID):
            role = await wanted_role(db, actor.agency_id, role, "workspace", f"{pointer}/role")
        rooms[id] = role
    return rooms


async def _require(db: Bare, actor: Actor, grant: Grant) -> None:
    standing = await standing_of(db, actor.agency_id, actor.key_id, actor.member_id)
    if standing is None:
        raise Unauthenticated
    require_grantable(standing, grant)


async def invite(db: Bare, actor: Actor, wish: InvitationCreate, now: datetime) -> Sent:
    """Invite somebody. Raises InvalidInput for what is not there, PermissionDenied for what the inviter lacks."""
    rooms = await _wanted_rooms(db, actor, wish.workspaces)
    if actor.workspace_ids is not None and not rooms:
        raise InvalidInput(faults=[Fault("/workspaces", "validation_failed", "Name at least one workspace that you reach.")])
    role = wish.role
    if isinstance(role, UUID):
        role = await wanted_role(db, actor.agency_id, role, "agency", "/role")
    await _require(db, actor, Grant(role, rooms))
    token = write_token(actor.agency_id)
    row = await db.fetchrow(
        INSERT, actor.agency_id, new_id(), wish.email.lower(), named(role), list(rooms), [named(one) for one in rooms.values()],
        hash_key(token), wish.delivery == "email", actor.key_id, actor.member_id, now + LIFETIME, now,
    )  # fmt: skip
    return Sent(row, token)


async def invite_again(db: Bare, actor: Actor, invitation_id: UUID, now: datetime) -> tuple[Row, Sent]:
    """Give an invitation a new token and a new week, in the caller's name. The link of before is dead. Returns it before, too.

    Raises Missing, Conflict for one that has ended, PermissionDenied for what the caller lacks.
    """
    before = await _pending(db, actor, invitation_id)
    await _require(db, actor, await read_grant(db, actor.agency_id, before))
    token = write_token(actor.agency_id)
    row = await db.fetchrow(RENEW, actor.agency_id, invitation_id, hash_key(token), actor.key_id, actor.member_id, now + LIFETIME)
    return before, Sent(row, token)


async def send(
    db: Bare, ring: KeyRing, actor: Actor, sent: Sent, public_url: str, locale: str, now: datetime
) -> str | None:  # fmt: skip
    """Send the link by mail, or return it where the caller is to send it: it is seen by one of the two alone."""
    link = f"{public_url.rstrip('/')}/{PAGE}/{sent.token}"
    if not sent.row["mailed"]:
        return link
    facts = {"inviter": actor.key_name, "agency": actor.agency_name, "link": link, "days": str(LIFETIME.days)}
    await send_mail(db, ring, Wish("invitation", sent.row["email"], locale, facts), now, agency_id=actor.agency_id)
    return None


async def _pending(db: Bare, actor: Actor, invitation_id: UUID) -> Row:
    row = await db.fetchrow(f"{ONE} for update", actor.agency_id, actor.reach, invitation_id)
    if row is None:
        raise Missing
    if row["state"] != "pending":
        raise Conflict("The invitation has ended.")
    return row


async def list_invitations(db: Bare, actor: Actor, *, after: UUID | None, limit: int) -> list[Row]:
    """The agency's invitations, newest first; of a caller that is bound to workspaces those into its workspaces."""
    rows: list[Row] = await db.fetch(LIST, actor.agency_id, actor.reach, after, limit)
    return rows


async def get_invitation(db: Bare, actor: Actor, invitation_id: UUID) -> Row:
    """One invitation that the caller sees. Raises Missing."""
    row = await db.fetchrow(ONE, actor.agency_id, actor.reach, invitation_id)
    if row is None:
        raise Missing
    return row


async def revoke(db: Bare, actor: Actor, invitation_id: UUID, now: datetime) -> tuple[Row, Row]:
    """End an invitation: its link is dead from the commit on. Returns it before and after. Raises Missing, Conflict."""
    before = await _pending(db, actor, invitation_id)
    return before, await db.fetchrow(REVOKE, actor.agency_id, invitation_id, now)
