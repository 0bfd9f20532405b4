"""Coming into an agency by an invitation: as who is signed in, or as somebody new."""

from datetime import datetime
from uuid import UUID

import asyncpg

from core.db import Bare, Row, stamp_agency, stamp_login, stamp_person
from core.errors import Conflict, Missing, PermissionDenied
from core.ids import decode, new_id
from core.wire import PREFIXES
from tenants.closed import hold_open
from tenants.invitations.service import FIELDS, read_grant
from tenants.invitations.standing import Grant, require_grantable, standing_of
from tenants.invitations.tokens import InvitationInvalid, PresentedInvitation
from tenants.people.held import stored
from tenants.people.members import ADD_PASSWORD, ADD_USER, FIND_USER

FIND = f"""
select {FIELDS}, (select a.name from agencies a where a.id = $1) agency_name,
  (select a.livemode from agencies a where a.id = $1) livemode,
  (select a.second_factor_required from agencies a where a.id = $1) second_factor_required
from invitations where agency_id = $1 and hash = $2 and state = 'pending' and expires_at > $3
"""
ROLE_NAME = "select name from roles where agency_id = $1 and id = $2"
ROOM_NAMES = "select id, name from workspaces where agency_id = $1 and id = any ($2)"
WHO = "select email, email_verified_at from users where id = $1"
LOCK_MEMBER = "select 1 from members where agency_id = $1 and user_id = $2 for update"
JOIN = """
insert into members (agency_id, id, user_id, role, custom_role_id, created_at) values ($1, $2, $3, $4, $5, $6)
on conflict (agency_id, user_id) do update set state = 'active',
  role = case when members.state = 'removed' then excluded.role else members.role end,
  custom_role_id = case when members.state = 'removed' then excluded.custom_role_id else members.custom_role_id end
returning id
"""
"""Who was a member once is one again, under the old id; who is one now keeps its role."""
JOIN_ROOM = """
insert into workspace_members (agency_id, member_id, workspace_id, role, custom_role_id, created_at)
values ($1, $2, $3, $4, $5, $6) on conflict (agency_id, member_id, workspace_id) do nothing
"""
ACCEPT = f"""
update invitations set state = 'accepted', member_id = $3, ended_at = $4 where agency_id = $1 and id = $2 returning {FIELDS}
"""


class InviterLacksRights(Conflict):
    """Who invites may not give this any more: removed, revoked, or with a smaller role by now."""

    code = "inviter_lacks_rights"


class EmailUnverified(Conflict):
    """Nothing proves that the address of the invitation is this person's."""

    code = "email_unverified"


class PersonExists(Conflict):
    """There is an account with this address already."""

    code = "person_exists"


async def find_invitation(db: Bare, presented: PresentedInvitation, now: datetime, *, lock: bool = False) -> Row:
    """Find the invitation of a token, in a transaction with its agency's stamp. Raises InvitationInvalid."""
    row = await db.fetchrow(FIND + (" for update" if lock else ""), presented.agency_id, presented.hash, now)
    if row is None:
        raise InvitationInvalid
    return row


async def _hold_invitation(db: Bare, presented: PresentedInvitation, now: datetime, user_id: UUID | None = None) -> Row:
    """Find and lock it, after its workspaces and the membership of who was or is one.

    Closing a workspace and ending a membership lock in the same order, and end the invitation.
    """
    await hold_open(db, presented.agency_id, (await find_invitation(db, presented, now))["workspace_ids"])
    if user_id is not None:
        await db.execute(LOCK_MEMBER, presented.agency_id, user_id)
    return await find_invitation(db, presented, now, lock=True)


async def rooms_for_people(db: Bare, presented: PresentedInvitation, row: Row) -> list[tuple[str, str]]:
    """Name the workspaces of an invitation with the role in each, as people call them, by name."""
    names = {one["id"]: one["name"] for one in await db.fetch(ROOM_NAMES, presented.agency_id, row["workspace_ids"])}
    rooms = zip(row["workspace_ids"], row["workspace_roles"], strict=True)
    return sorted([(names[id], await role_for_people(db, presented, role)) for id, role in rooms if id in names])


async def role_for_people(db: Bare, presented: PresentedInvitation, role: str) -> str:
    """Name a role of an invitation as people call it."""
    if "_" not in role:
        return role
    return str(await db.fetchval(ROLE_NAME, presented.agency_id, decode(PREFIXES["role"], role)) or "")


async def require_acceptable(db: Bare, presented: PresentedInvitation, row: Row) -> Grant:
    """Look at what the inviter may now, and not at what it could when it invited. Raises InviterLacksRights."""
    standing = await standing_of(db, presented.agency_id, row["created_by"], row["created_by_member"])
    if standing is None:
        raise InviterLacksRights
    try:
        grant = await read_grant(db, presented.agency_id, row)
        require_grantable(standing, grant)
    except (Missing, PermissionDenied) as error:
        raise InviterLacksRights from error
    return grant


async def accept(db: Bare, presented: PresentedInvitation, user_id: UUID, now: datetime) -> tuple[Row, Row]:
    """Make a person who is signed in a member, once. Returns the invitation before and after.

    The transaction has the person's stamp, and leaves with the agency's beside it. Raises InvitationInvalid, also where it is for
    another address, EmailUnverified, InviterLacksRights.
    """
    who = await db.fetchrow(WHO, user_id)
    await stamp_agency(db, presented.agency_id)
    row = await _hold_invitation(db, presented, now, user_id)
    if who is None or who["email"] != row["email"]:
        raise InvitationInvalid
    if who["email_verified_at"] is None:
        raise EmailUnverified
    return row, await _admit(db, presented, row, user_id, now)


async def join(
    db: Bare, presented: PresentedInvitation, name: str, password_hash: str, now: datetime
) -> tuple[Row, Row, UUID]:  # fmt: skip
    """Make a new person a member. The transaction has the agency's stamp, and leaves with the person's beside it.

    The token was sent to the mailbox and shown to nobody else, so who has it reads the mail of that address: it counts as verified.
    One that was shown to the inviter proves nothing of the kind. Raises InvitationInvalid, EmailUnverified, PersonExists,
    InviterLacksRights.
    """
    row = await _hold_invitation(db, presented, now)
    require_mailed(row)
    await require_nobody(db, row)
    email = row["email"]
    user_id = new_id()
    try:
        await db.execute(ADD_USER, user_id, email, name, now, now)
    except asyncpg.UniqueViolationError as error:
        raise PersonExists from error
    await stamp_person(db, user_id)
    await db.execute(ADD_PASSWORD, user_id, password_hash, now)
    return row, await _admit(db, presented, row, user_id, now), user_id


def require_mailed(row: Row) -> None:
    """Refuse to make an account by a token that did not come by mail. Raises EmailUnverified."""
    if not row["mailed"]:
        raise EmailUnverified


async def require_nobody(db: Bare, row: Row) -> None:
    """Refuse to make a second account of one address; the transaction is stamped with it. Raises PersonExists."""
    await stamp_login(db, row["email"])
    if await db.fetchval(FIND_USER, row["email"]) is not None:
        raise PersonExists


async def _admit(db: Bare, presented: PresentedInvitation, row: Row, user_id: UUID, now: datetime) -> Row:
    grant = await require_acceptable(db, presented, row)
    agency_id = presented.agency_id
    member_id = await db.fetchval(JOIN, agency_id, new_id(), user_id, *stored(grant.role), now)
    for workspace_id, role in grant.rooms.items():
        await db.execute(JOIN_ROOM, agency_id, member_id, workspace_id, *stored(role), now)
    return await db.fetchrow(ACCEPT, agency_id, row["id"], member_id, now)
