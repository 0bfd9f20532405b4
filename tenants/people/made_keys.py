"""The keys that members made, and those that these made: none holds more than its maker, when it is made and whenever the maker
loses something.

Secrets of applications end where these may more than who was shown them.

The rule is `shared` and `holding_for` of tenants/permissions.py. Here it is kept: making locks the maker and reads what it may now,
and whatever takes something of a member narrows its keys in the same transaction. So a request looks at its key alone.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from core.db import Bare, Row, Tenant, restamp
from core.ids import encode
from core.wire import PREFIXES
from tenants.people.held import ROOMS, roles_of
from tenants.permissions import KEY_MAY, Actor, Holding, granted, holding_for, shared

LOCK_MEMBER = "select 1 from members where agency_id = $1 and id = $2 and state = 'active' for key share"
LOCK_KEY = """
select scopes, workspace_ids, expires_at from api_keys where agency_id = $1 and id = $2 and revoked_at is null for key share
"""
"""Both wait for what is taken of the maker at this moment, and then see it: no key is made by one that is ending."""
ROLES = f"""
select m.id, m.role, m.custom_role_id, {ROOMS} from members m where m.agency_id = $1 and m.id = any ($2) and m.state = 'active'
"""
COLUMNS = "id, created_by, created_by_member, scopes, workspace_ids, revoked_at"
OF_MEMBERS = f"select {COLUMNS} from api_keys where agency_id = $1 and created_by_member = any ($2) order by id for update"
OF_KEYS = f"select {COLUMNS} from api_keys where agency_id = $1 and created_by = any ($2) order by id for update"
"""They wait for a key that one of them is making, which the next look then finds."""
NARROW = "update api_keys set scopes = $3, workspace_ids = $4 where agency_id = $1 and id = $2"
END = "update api_keys set revoked_at = $3 where agency_id = $1 and id = $2"
END_SECRETS = """
update application_secrets s set expires_at = now() from applications p
where s.agency_id = $1 and (s.created_by = $2 or s.created_by_member = $2) and (s.expires_at is null or s.expires_at > now())
  and p.agency_id = $1 and p.id = s.application_id and not p.scopes <@ $3::text[]
"""
"""Who was shown the secret of an application that may more than it does knows it still."""
LIVING_SECRETS = """
select id, created_by, created_by_member from application_secrets
where agency_id = $1 and application_id = $2 and (expires_at is null or expires_at > now()) order by id
"""
LOCK_MEMBERS = "select id from members where agency_id = $1 and id = any ($2) and state = 'active' order by id for key share"
LOCK_KEYS = (
    "select id, scopes from api_keys where agency_id = $1 and id = any ($2) and revoked_at is null order by id for key share"
)
END_THESE = "update application_secrets set expires_at = now() where agency_id = $1 and id = any ($2)"
NOTHING = Holding(frozenset(), ())


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What became of keys because their maker lost something."""

    narrowed: list[UUID] = field(default_factory=list)
    ended: list[UUID] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """Tell it to the audit log, as a part of what is after the change."""
        both = {"narrowed_key_ids": self.narrowed, "ended_key_ids": self.ended}
        return {name: [encode(PREFIXES["key"], id) for id in ids] for name, ids in both.items() if ids}


def held_by_key(row: Row) -> Holding:
    """Read what a key holds."""
    within = row["workspace_ids"]
    return Holding(frozenset(one for one in KEY_MAY if one.value in row["scopes"]), None if within is None else tuple(within))


async def lock_maker(db: Bare, actor: Actor, wanted: Sequence[UUID] | None) -> tuple[Holding, datetime | None] | None:
    """Lock who makes a key for the workspaces that are `wanted` (None: all that it reaches), a member or a key.

    Returns what it can hand on there, as that is now, and when it ends. None: it has ended.
    """
    agency_id = actor.agency_id
    if actor.member_id is None:
        row = await db.fetchrow(LOCK_KEY, agency_id, actor.key_id)
        return None if row is None else (held_by_key(row), row["expires_at"])
    if await db.fetchval(LOCK_MEMBER, agency_id, actor.member_id) is None:
        return None
    roles = await roles_of(db, agency_id, await db.fetchrow(ROLES, agency_id, [actor.member_id]))
    return holding_for(*roles, wanted), None


async def end_secrets_outgrown(db: Bare, agency_id: UUID, application_id: UUID, scopes: Collection[str]) -> int:
    """End the secrets of an application, which is locked and may `scopes` from now on, whose makers may less. Returns how many.

    The makers are locked, as for a key that they make: what is taken of one at this moment is seen here, or sees the secret.
    """
    secrets = await db.fetch(LIVING_SECRETS, agency_id, application_id)
    member_ids = [row["created_by_member"] for row in secrets if row["created_by_member"] is not None]
    key_ids = [row["created_by"] for row in secrets if row["created_by"] is not None]
    await db.fetch(LOCK_MEMBERS, agency_id, member_ids)
    held: dict[UUID, Collection[str]] = {}
    for row in await db.fetch(ROLES, agency_id, member_ids):
        held[row["id"]] = granted((await roles_of(db, agency_id, row))[0])
    held |= {row["id"]: row["scopes"] for row in await db.fetch(LOCK_KEYS, agency_id, key_ids)}
    outgrown = [row["id"] for row in secrets if not set(scopes) <= set(held.get(row["created_by_member"] or row["created_by"], ()))]
    await db.execute(END_THESE, agency_id, outgrown)
    return len(outgrown)


async def narrow_keys(db: Bare, actor: Actor, member_ids: Sequence[UUID], now: datetime) -> Narrowed:
    """Narrow the keys of members who lost something, and what these keys made, to what their makers may still do.

    Secrets of applications end that hold more.

    The members are locked, so that they make none meanwhile, and what they lost is written. A key that has no scope or no
    workspace left ends, and so do all keys of who is no member any more. Doing it twice changes nothing.
    """
    await restamp(db, Tenant(actor.agency_id))  # a member's roles in workspaces that the caller does not reach count too
    result, holdings = Narrowed(), dict[UUID, Holding]()
    roles = {row["id"]: await roles_of(db, actor.agency_id, row) for row in await db.fetch(ROLES, actor.agency_id, member_ids)}
    for id, (role, _) in roles.items():
        await db.execute(END_SECRETS, actor.agency_id, id, sorted(granted(role)))
    level = await db.fetch(OF_MEMBERS, actor.agency_id, member_ids)
    while level:
        for row in level:
            maker, held = row["created_by_member"], held_by_key(row)
            if maker is None:
                limit = holdings[row["created_by"]]
            else:
                limit = holding_for(*roles[maker], held.workspace_ids) if maker in roles else NOTHING
            holdings[row["id"]] = await _narrow(db, actor.agency_id, row, held, shared(held, limit), now, result)
        level = await db.fetch(OF_KEYS, actor.agency_id, [row["id"] for row in level])
    await restamp(db, actor.tenant)
    return result


async def _narrow(
    db: Bare, agency_id: UUID, row: Row, held: Holding, left: Holding, now: datetime, result: Narrowed
) -> Holding:  # fmt: skip
    """Write down what is left of a key. Returns what it can have handed on."""
    if row["revoked_at"] is not None:
        return NOTHING
    if not left.scopes or left.workspace_ids == ():
        await db.execute(END, agency_id, row["id"], now)
        result.ended.append(row["id"])
        return NOTHING
    if left != held:
        within = None if left.workspace_ids is None else list(left.workspace_ids)
        await db.execute(NARROW, agency_id, row["id"], sorted(left.scopes), within)
        await db.execute(END_SECRETS, agency_id, row["id"], sorted(left.scopes))
        result.narrowed.append(row["id"])
    return left
