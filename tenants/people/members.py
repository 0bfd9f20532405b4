"""Members: what a person is in an agency, and the caller that it makes of one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from core.db import Bare, Row, Tenant, restamp, stamp_agency, stamp_login, stamp_person
from core.errors import Malformed, Missing, PermissionDenied, Unauthenticated
from core.ids import new_id
from tenants.people.held import ROOMS, role_name, roles_of
from tenants.people.passwords import Passwords, require_good
from tenants.people.schemas import EMAIL_LENGTH_MAX, MemberRead, RoomRole
from tenants.people.sessions import Bound, PresentedSession, SessionBound, SignedIn, find_session
from tenants.permissions import Actor, AgencyRole, CustomRole, Permission, WorkspaceRole, actor_of_member, granted

EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
"""Something at a name with a dot: whether mail arrives there, only mail tells."""
MINE = "select agency_id, id, role from members where user_id = $1 and state = 'active' order by agency_id"
NAME = "select id, name, livemode from agencies where id = $1"
READ = f"""
select m.id, m.user_id, u.name, u.email, m.role, m.custom_role_id, m.created_at, {ROOMS}
from members m join users u on u.id = m.user_id where m.agency_id = $1 and m.id = $2
"""
LOOK_UP = f"""
select m.id, m.role, m.custom_role_id, a.name agency_name, a.livemode, a.second_factor_required, {ROOMS}
from members m join agencies a on a.id = m.agency_id
where m.agency_id = $1 and m.user_id = $2 and m.state = 'active'
"""
PROVIDER = f"""
select p.second_factor, m.role, m.custom_role_id, {ROOMS}
from identity_providers p join members m on m.agency_id = p.agency_id and m.id = p.set_by_member
where p.agency_id = $1 and p.id = $2 and m.state = 'active'
"""
SETTER = "select set_by_member from identity_providers where agency_id = $1 and id = $2"
FIND_USER = "select id from users where email = $1"
ADD_USER = "insert into users (id, email, name, email_verified_at, created_at) values ($1, $2, $3, $4, $5)"
ADD_PASSWORD = "insert into passwords (user_id, hash, changed_at) values ($1, $2, $3)"
ADD_MEMBER = "insert into members (agency_id, id, user_id, role, created_at) values ($1, $2, $3, $4, $5)"


class SecondFactorRequired(PermissionDenied):
    """The agency asks its members for a second factor, and this one has none."""

    code = "second_factor_required"


@dataclass(frozen=True, slots=True)
class PresentedMember:
    """A person who is signed in, and the agency in whose name the request speaks."""

    agency_id: UUID
    signed_in: SignedIn
    hash: bytes


async def agencies_of(db: Bare, user_id: UUID, bound: Bound | None = None) -> list[Row]:
    """The agencies of a person that its session opens: `id`, `name`, `livemode`. The transaction carries the person's stamp.

    Each name is read under its own agency's stamp, so that no policy has to show an agency to anybody else.
    """
    found: list[Row] = []
    for row in await db.fetch(MINE, user_id):
        if bound is not None and row["agency_id"] != bound.agency_id:
            continue
        await stamp_agency(db, row["agency_id"])
        found += await db.fetch(NAME, row["agency_id"])
    await stamp_agency(db, None)
    return found


async def choose_agency(db: Bare, user_id: UUID, wanted: UUID | None, bound: Bound | None = None) -> UUID:
    """Decide in the name of which agency a person speaks: the `wanted` one, or else the only one that is live.

    A session that is bound opens its agency and no other. Raises Missing where the person is no member, and Malformed
    `agency_required` where it is not clear.
    """
    if bound is not None:
        if wanted not in {None, bound.agency_id}:
            raise Missing
        wanted = bound.agency_id
    if wanted is not None:
        if all(row["agency_id"] != wanted for row in await db.fetch(MINE, user_id)):
            raise Missing
        return wanted
    live = [row["id"] for row in await agencies_of(db, user_id) if row["livemode"]]
    if len(live) != 1:
        raise Malformed("The header Octavo-Agency says in the name of which agency you speak.", code="agency_required")
    only: UUID = live[0]
    return only


async def admit_member(
    db: Bare, presented: PresentedMember, permission: Permission, workspace_id: UUID | None
) -> Actor:  # fmt: skip
    """Make the caller of a member, in the agency's transaction: its role is read anew for each request.

    Raises Missing where it is no member, or not of the workspace, and SecondFactorRequired where the agency lets nobody in
    without one. A person adds it in no agency's name, so it always can.
    """
    row = await db.fetchrow(LOOK_UP, presented.agency_id, presented.signed_in.user_id)
    if row is None:
        raise Missing
    role, rooms = await roles_of(db, presented.agency_id, row)
    bound, proven = presented.signed_in.bound, presented.signed_in.has_second_factor
    if bound is not None:
        proven = await vouched(db, bound, role, rooms) or proven
    if row["second_factor_required"] and not proven:
        raise SecondFactorRequired
    base = Actor(
        agency_id=presented.agency_id,
        agency_name=row["agency_name"],
        livemode=row["livemode"],
        key_id=None,
        key_name=presented.signed_in.name,
        member_id=row["id"],
        eyes=row["id"],
        session_id=presented.signed_in.session_id,
    )
    return actor_of_member(base, role, rooms, permission, workspace_id)


async def find_again(db: Bare, presented: PresentedMember, now: datetime) -> PresentedMember:
    """Look the session of a member up once more, from a transaction of the agency. Raises Unauthenticated.

    The person's stamp is gone afterwards.
    """
    user_id = presented.signed_in.user_id
    await stamp_person(db, user_id)
    found = await find_session(db, PresentedSession(user_id, presented.hash), now)
    await stamp_person(db, None)
    return replace(presented, signed_in=found)


async def vouched(
    db: Bare, bound: Bound, role: AgencyRole | CustomRole, rooms: Mapping[UUID, WorkspaceRole | CustomRole]
) -> bool:  # fmt: skip
    """Look whether a provider may sign in somebody of these roles. Returns whether it asks for a second factor itself.

    Whoever set it says who is who, so it signs in nobody who may more than that member, and nobody once that member has left or
    may set none any more. Raises Unauthenticated.
    """
    row = await db.fetchrow(PROVIDER, bound.agency_id, bound.provider_id)
    if row is None:
        raise Unauthenticated
    setter, _ = await roles_of(db, bound.agency_id, row)
    needed = granted(role).union({Permission.SIGN_ON_MANAGE}, *(granted(one) for one in rooms.values()))
    if not needed <= granted(setter):
        raise Unauthenticated
    return bool(row["second_factor"])


async def setter_holds(db: Bare, agency_id: UUID, provider_id: UUID) -> frozenset[Permission] | None:
    """What the member holds in the agency who set a provider; None once that member has left."""
    row = await db.fetchrow(PROVIDER, agency_id, provider_id)
    return None if row is None else granted((await roles_of(db, agency_id, row))[0])


async def require_own_word(db: Bare, signed_in: SignedIn, member_id: UUID | None) -> None:
    """Refuse what outlives a session to one that somebody else's provider vouches for. Raises SessionBound.

    Whoever set the provider says who this is: a key or a grant in the member's name would stay when both have gone.
    """
    bound = signed_in.bound
    if bound is not None and await db.fetchval(SETTER, bound.agency_id, bound.provider_id) != member_id:
        raise SessionBound


def member_of(row: Row, seen: tuple[UUID, ...] | None = None) -> MemberRead:
    """Write a member as it is shown, with its roles in the workspaces that are `seen` (None: all)."""
    rooms = [
        RoomRole(workspace_id=room, role=role_name(role, id))
        for room, role, id in zip(row["rooms"], row["room_roles"], row["room_role_ids"], strict=True)
        if seen is None or room in seen
    ]
    shown = {name: row[name] for name in ("id", "user_id", "name", "email", "created_at")}
    return MemberRead(**shown, role=role_name(row["role"], row["custom_role_id"]), workspaces=rooms)


async def read_member(db: Bare, agency_id: UUID, member_id: UUID | None) -> MemberRead:
    """Read a member of the agency, with its roles. Raises Missing."""
    row = await db.fetchrow(READ, agency_id, member_id)
    if row is None:
        raise Missing
    return member_of(row)


async def read_self(db: Bare, actor: Actor) -> MemberRead:
    """Read the member who calls: it sees itself in full, also where the request reaches fewer workspaces than it has."""
    await restamp(db, Tenant(actor.agency_id))
    read = await read_member(db, actor.agency_id, actor.member_id)
    await restamp(db, actor.tenant)
    return read


def read_email(text: str) -> str:
    """Bring an e-mail to the form by which people sign in. Raises ValueError for what cannot be one."""
    email = text.strip().lower()
    if len(email) > EMAIL_LENGTH_MAX or not EMAIL.fullmatch(email):
        raise ValueError("an e-mail such as ada@agency.example is wanted")
    return email


async def add_owner(
    db: Bare, passwords: Passwords, agency_ids: tuple[UUID, ...], email: str, password: str | None, now: datetime
) -> tuple[UUID, bool]:  # fmt: skip
    """Make a person the owner of agencies: the operator's command, and no route. Returns the person, and whether it is new.

    A person whom there is already keeps its name and its password. The operator vouches for the e-mail of a new one.
    """
    email = read_email(email)
    await stamp_login(db, email)
    user_id, made = await db.fetchval(FIND_USER, email), False
    if user_id is None:
        if password is None:
            raise ValueError("a new person needs a password")
        require_good("/password", password, names=tuple(email.split("@")))
        user_id, made = new_id(), True
        await db.execute(ADD_USER, user_id, email, email.partition("@")[0], now, now)
        await stamp_person(db, user_id)
        await db.execute(ADD_PASSWORD, user_id, await passwords.hash(password), now)
    for agency_id in agency_ids:
        await stamp_agency(db, agency_id)
        await db.execute(ADD_MEMBER, agency_id, new_id(), user_id, AgencyRole.OWNER.value, now)
    return user_id, made
