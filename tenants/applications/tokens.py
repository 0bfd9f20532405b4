"""Tokens that call the API, and the look-up that makes a caller of one: anew at each request, of all who stand behind it.

A token never holds more than its grant, its member, the key that minted it and its application hold at that moment. So whoever
is demoted narrows it at once, and whoever leaves ends it.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import UUID

from core.credentials import hash_credential, read
from core.db import Bare, Row
from core.errors import Missing, Unauthenticated
from tenants.applications.clients import LIVES, scopes_of_application
from tenants.people.held import roles_of
from tenants.people.members import LOOK_UP as MEMBER
from tenants.people.members import PresentedMember, admit_member, vouched
from tenants.people.sessions import Bound, SignedIn, has_second_factor
from tenants.permissions import ALL, Actor, Permission

ACCESS, EMBED = "oat", "oem"
VOUCHED = """
select p.id from identities i join identity_providers p on p.agency_id = i.agency_id and p.issuer = i.issuer
where i.agency_id = $1 and i.member_id = $2 and p.second_factor
"""
"""The providers of the agency that know the member and ask for a second factor themselves."""
LAST_USED_STEP_S = 60
"""`last_used_at` of a grant is written at most this often, so that reading does not mean writing."""
MAKER_OF_SECRET = """(
  select coalesce(s.created_by_member, y.eyes) from application_secrets s
  left join api_keys y on y.agency_id = s.agency_id and y.id = s.created_by where s.agency_id = $1 and s.id = t.secret_id)"""
"""Whose eyes an application has that calls for itself: whoever made the secret can call by it."""
LOOK_UP = f"""
select t.id, t.kind, t.grant_id, t.member_id, t.key_id, t.application_agency_id, t.application_id, t.scopes, t.workspace_ids,
  t.expires_at, t.created_at, a.name agency_name, a.livemode, a.second_factor_required,
  m.user_id, u.name member_name, u.email, u.locale, g.application_name,
  g.last_used_at is null or g.last_used_at < now() - make_interval(secs => {LAST_USED_STEP_S}) stale,
  k.name key_name, k.hash key_hash, k.scopes key_scopes, k.workspace_ids key_workspace_ids,
  p.name own_name, p.scopes own_scopes, p.workspace_ids own_workspace_ids,
  coalesce(t.member_id, k.eyes, {MAKER_OF_SECRET}, t.application_id) eyes
from access_tokens t join agencies a on a.id = t.agency_id
left join grants g on g.agency_id = $1 and g.id = t.grant_id
left join members m on m.agency_id = $1 and m.id = t.member_id and m.state = 'active'
left join users u on u.id = m.user_id
left join api_keys k on k.agency_id = $1 and k.id = t.key_id and k.revoked_at is null
  and (k.expires_at is null or k.expires_at > now())
left join applications p on p.agency_id = $1 and t.application_agency_id = $1 and p.id = t.application_id
where t.agency_id = $1 and t.hash = $2 and t.revoked_at is null and t.expires_at > now()
  and (t.grant_id is null or (g.revoked_at is null and g.expires_at > now()))
  and (t.member_id is null or m.id is not null) and (t.key_id is null or k.id is not null)
  and (t.application_agency_id is distinct from $1 or p.id is not null)
  and (t.secret_id is null or exists (select from application_secrets s where s.agency_id = $1 and s.id = t.secret_id and {LIVES}))
"""
TOUCH = """
update grants set last_used_at = now() where agency_id = $1 and id in (
  select id from grants where agency_id = $1 and id = $2 for no key update skip locked)
"""


@dataclass(slots=True)
class PresentedToken:
    """A token that is well formed: whose it says it is, and its hash."""

    agency_id: UUID
    livemode: bool
    hash: bytes
    holder: bytes = b""
    """Under whom its requests count, once that is known: its grant, its application, or the key or member that minted it."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a living token holds by itself, before the roles of its member are looked at."""

    row: Row
    scopes: frozenset[str]
    workspace_ids: tuple[UUID, ...]


def read_token(pepper: str, text: str) -> PresentedToken:
    """Read the text of a token. Raises Unauthenticated unless its form and checksum are right; looks nothing up."""
    try:
        credential = read(text)
    except ValueError as error:
        raise Unauthenticated from error
    if credential.kind not in {ACCESS, EMBED}:
        raise Unauthenticated
    return PresentedToken(credential.agency_id, credential.livemode, hash_credential(pepper, text))


async def find_holding(db: Bare, agency_id: UUID, hash: bytes) -> Holding | None:
    """Find a living token and all who stand behind it, in its agency's transaction. None for what is unknown, ended or orphaned."""
    row = await db.fetchrow(LOOK_UP, agency_id, hash)
    if row is None:
        return None
    scopes, workspace_ids = frozenset(row["scopes"]), tuple(row["workspace_ids"])
    if row["application_id"] is not None:
        allowed = await scopes_of_application(db, agency_id, row)
        if allowed is None:
            return None
        scopes &= allowed
        if row["grant_id"] is None:
            workspace_ids = tuple(id for id in workspace_ids if id in row["own_workspace_ids"])
    if row["key_id"] is not None:
        scopes &= frozenset(row["key_scopes"])
        bound = row["key_workspace_ids"]
        workspace_ids = tuple(id for id in workspace_ids if bound is None or id in bound)
    return Holding(row, scopes, workspace_ids)


async def admit_token(db: Bare, presented: PresentedToken, permission: Permission, workspace_id: UUID | None) -> Actor:
    """Make the caller of a token, in its agency's transaction.

    It lacks `permission` where the token's scopes do. Raises Unauthenticated for a token that is unknown, has ended or lost whom
    it stood for, and Missing outside its workspaces.
    """
    holding = await find_holding(db, presented.agency_id, presented.hash)
    if holding is None or holding.row["livemode"] != presented.livemode:
        raise Unauthenticated
    row, reach = holding.row, holding.workspace_ids
    presented.holder = _holder(row)
    base = _base(presented, row)
    if permission.value not in holding.scopes:  # the same everywhere, so it tells nothing of a workspace
        return replace(base, permissions=frozenset(), workspace_ids=reach)
    if workspace_id is not None and workspace_id not in reach:
        raise Missing
    if row["member_id"] is not None:
        proven = not row["second_factor_required"] or await _is_proven(db, presented.agency_id, row)
        signed_in = SignedIn(row["user_id"], row["id"], row["email"], row["member_name"], row["locale"], has_second_factor=proven)
        member = await admit_member(db, PresentedMember(presented.agency_id, signed_in, presented.hash), permission, workspace_id)
        seen = member.workspace_ids
        reach = tuple(id for id in reach if seen is None or id in seen)
        base = replace(base, member_id=member.member_id, permissions=member.permissions)
    if row["grant_id"] is not None and row["stale"]:
        await db.execute(TOUCH, presented.agency_id, row["grant_id"])
    permissions = frozenset(one for one in base.permissions if one.value in holding.scopes)
    return replace(base, permissions=permissions, workspace_ids=reach)


async def _is_proven(db: Bare, agency_id: UUID, row: Row) -> bool:
    """Say whether a second factor stands behind the member of a token, as it would behind its session."""
    if await has_second_factor(db, row["user_id"]):
        return True
    providers = await db.fetch(VOUCHED, agency_id, row["member_id"])
    if not providers:
        return False
    role, rooms = await roles_of(db, agency_id, await db.fetchrow(MEMBER, agency_id, row["user_id"]))
    for provider in providers:
        with suppress(Unauthenticated):
            if await vouched(db, Bound(agency_id, provider["id"]), role, rooms):
                return True
    return False


def _base(presented: PresentedToken, row: Row) -> Actor:
    return Actor(
        agency_id=presented.agency_id,
        agency_name=row["agency_name"],
        livemode=row["livemode"],
        key_id=row["key_id"],
        key_name=row["application_name"] or row["own_name"] or row["key_name"] or row["member_name"],
        permissions=ALL,
        application_id=row["application_id"],
        token_id=row["id"],
        eyes=row["eyes"],
        grant_id=row["grant_id"],
    )


def _holder(row: Row) -> bytes:
    """Name whose requests these are: an embed token spends what the key that minted it has."""
    if row["key_hash"] is not None:
        return bytes(row["key_hash"])
    holder: UUID = row["grant_id"] or row["application_id"] or row["member_id"]
    return holder.bytes
