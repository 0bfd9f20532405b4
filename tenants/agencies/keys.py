"""API keys: their text, their making, and the one look-up that authenticates a request.

Text: a credential (core/credentials.py) that begins with `oct_live_` or `oct_test_`. The agency stands in it, so that the
transaction can be stamped before the look-up: nothing is read across agencies.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from core.credentials import read, write
from core.crypto import hash_key
from core.db import Row, raw
from core.duties import Statements
from core.errors import Conflict, Fault, InvalidInput, PermissionDenied, Unauthenticated
from core.ids import new_id
from tenants.agencies.models import ApiKey
from tenants.agencies.schemas import KEY_LIFETIME_DAYS_MAX, KeyCreate
from tenants.closed import hold_open
from tenants.idempotency.records import LIVING, LOCKED, LOOKED
from tenants.owned import find, owned
from tenants.people.made_keys import lock_maker
from tenants.permissions import KEY_MAY, Actor, Holding, Permission, shared

KIND = "oct"
LAST_USED_STEP_S = 60
"""`last_used_at` is written at most this often, so that reading does not mean writing."""
HINT_LENGTH = 4

FOUND = f"""k.id, k.name, k.eyes, k.scopes, k.workspace_ids, a.name agency_name, a.livemode,
       k.last_used_at < now() - make_interval(secs => {LAST_USED_STEP_S}) stale, k.last_used_at is null fresh"""
OF_KEYS = "api_keys k join agencies a on a.id = k.agency_id"
RIGHT = "k.agency_id = $1 and k.hash = {hash} and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())"
LOOK_UP = f"select {FOUND} from {OF_KEYS} where {RIGHT.format(hash='$2')}"
LOOK_UP_AND_LOCK = f"""
select {FOUND}, l.locked, {LOOKED} from {OF_KEYS}
left join lateral (select {LOCKED} locked where k.workspace_ids is null) l on true
left join idempotency_records r on {LIVING} and l.locked
where {RIGHT.format(hash="$4")}
"""
TOUCH = """
update api_keys set last_used_at = now() where agency_id = $1 and id in (
  select id from api_keys where agency_id = $1 and id = $2 for no key update skip locked)
"""


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key that is well formed: whose it says it is, and its hash."""

    agency_id: UUID
    livemode: bool
    hash: bytes


def write_key(agency_id: UUID, *, livemode: bool) -> str:
    """Make the text of a new key."""
    return write(KIND, agency_id, livemode=livemode)


def read_key(text: str) -> PresentedKey:
    """Read the text of a key. Raises Unauthenticated unless its form and checksum are right; looks nothing up."""
    try:
        credential = read(text)
    except ValueError as error:
        raise Unauthenticated from error
    if credential.kind != KIND:
        raise Unauthenticated
    return PresentedKey(credential.agency_id, credential.livemode, hash_key(text))


async def authenticate(db: Statements, key: PresentedKey) -> Actor:
    """Look the key up in its agency's transaction. Raises Unauthenticated for unknown, revoked and expired ones alike."""
    return await _actor(db, key, await db.fetch(LOOK_UP, key.agency_id, key.hash))


async def authenticate_and_lock(db: Statements, key: PresentedKey, idempotency_key: str) -> tuple[Actor, Row | None]:
    """Do the same for a write, whose Idempotency-Key is locked and looked up in the same round trip, by a right key alone.

    None in the place of the look for a caller that is bound to workspaces, since its keys have other names.
    """
    lock = f"{key.agency_id}/{idempotency_key}"
    rows = await db.fetch(LOOK_UP_AND_LOCK, key.agency_id, idempotency_key, lock, key.hash)
    actor = await _actor(db, key, rows)
    return actor, rows[0] if actor.workspace_ids is None else None


async def _actor(db: Statements, key: PresentedKey, rows: list[Row]) -> Actor:
    if not rows or rows[0]["livemode"] != key.livemode:
        raise Unauthenticated
    row = rows[0]
    if row["stale"] or row["fresh"]:
        await db.execute(TOUCH, key.agency_id, row["id"])
    return Actor(
        agency_id=key.agency_id,
        agency_name=row["agency_name"],
        livemode=key.livemode,
        key_id=row["id"],
        key_name=row["name"],
        permissions=_permissions(tuple(row["scopes"])),
        workspace_ids=None if row["workspace_ids"] is None else tuple(row["workspace_ids"]),
        eyes=row["eyes"],
    )


_KNOWN = {permission.value: permission for permission in KEY_MAY}


def _permissions(scopes: tuple[str, ...]) -> frozenset[Permission]:
    return frozenset(_KNOWN[scope] for scope in scopes if scope in _KNOWN)


async def create_key(session: AsyncSession, actor: Actor, wish: KeyCreate, now: datetime) -> tuple[ApiKey, str]:
    """Make a key within what its maker holds, of what a key can. Returns the row and the key's text, which is stored nowhere."""
    wanted = None if wish.workspace_ids is None else tuple(dict.fromkeys(wish.workspace_ids))
    maker = await lock_maker(raw(session), actor, wanted)
    if maker is None or actor.eyes is None:
        raise Unauthenticated
    holding, ends_at = maker
    if Permission.KEY_MANAGE not in holding.scopes:
        raise PermissionDenied("The maker may make keys no more.", required_permission=Permission.KEY_MANAGE.value)
    wished = Holding(KEY_MAY.intersection(wish.scopes), wanted)
    held = shared(wished, holding)
    lacking = sorted(scope.value for scope in wished.scopes or wish.scopes if scope not in held.scopes)
    if lacking:
        raise PermissionDenied(f"A key cannot hold what its maker lacks: {', '.join(lacking)}.")
    if wish.expires_at is not None and wish.expires_at <= now:
        raise InvalidInput(faults=[Fault("/expires_at", "in_the_past", "The expiry lies in the past.")])
    if wish.expires_at is not None and wish.expires_at > now + timedelta(days=KEY_LIFETIME_DAYS_MAX):
        raise InvalidInput(faults=[Fault("/expires_at", "too_far_ahead", f"At most {KEY_LIFETIME_DAYS_MAX} days.")])
    ends = [moment for moment in (wish.expires_at, ends_at) if moment is not None]
    within = held.workspace_ids
    known = frozenset(within or ()) & await hold_open(raw(session), actor.agency_id, wanted or ())
    for position, workspace_id in enumerate(wanted or ()):
        if workspace_id not in known:
            raise InvalidInput(faults=[Fault(f"/workspace_ids/{position}", "not_found", "There is no such workspace.")])
    text = write_key(actor.agency_id, livemode=actor.livemode)
    row = ApiKey(
        agency_id=actor.agency_id,
        id=new_id(),
        name=wish.name,
        hash=hash_key(text),
        hint=text[-HINT_LENGTH:],
        scopes=sorted(held.scopes),
        workspace_ids=None if within is None else list(within),
        created_by=actor.key_id,
        created_by_member=actor.member_id,
        eyes=actor.eyes,
        expires_at=min(ends, default=None),
        created_at=now,
    )
    session.add(row)
    await session.flush()
    return row, text


async def revoke_key(session: AsyncSession, actor: Actor, key_id: UUID, now: datetime) -> list[ApiKey]:
    """End a key, and with it every key that it made. Takes effect with the commit. Raises Missing, Conflict (own key).

    Returns the key, then those that ended with it.
    """
    row = await find(session, ApiKey, actor, key_id, lock=True)
    if row.id == actor.key_id:
        raise Conflict("A key cannot revoke itself.")
    lacking = sorted(set(row.scopes) - {permission.value for permission in actor.permissions})
    if lacking:
        raise PermissionDenied(f"A key cannot end one that holds more than itself: {', '.join(lacking)}.")
    level, ended = [row], [row]
    while level:
        for current in level:
            if current.revoked_at is None:
                current.revoked_at = now
                session.add(current)
        by = owned(ApiKey, actor).where(col(ApiKey.created_by).in_([one.id for one in level]), col(ApiKey.revoked_at).is_(None))
        # Locked, so that a key that one of them is making at this moment is found at the next level
        level = list((await session.exec(by.order_by(col(ApiKey.id)).with_for_update())).all())
        ended.extend(level)
    await session.flush()
    return ended


async def list_keys(session: AsyncSession, actor: Actor, *, after: UUID | None, limit: int) -> list[ApiKey]:
    """The agency's keys, newest first."""
    query = owned(ApiKey, actor).order_by(col(ApiKey.id).desc()).limit(limit)
    if after is not None:
        query = query.where(ApiKey.id < after)
    return list((await session.exec(query)).all())
