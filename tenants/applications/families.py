"""What is issued upon a grant, and what ends it: codes, refresh tokens that rotate, access tokens. Statements under the stamp of
the agency that granted.

A grant is the family. A code or a refresh token that comes a second time was stolen, by the one who sent it first or by the one
who sends it now: nobody knows which, so the family ends (RFC 9700 sections 2.1.1 and 4.14.2). For some seconds a refresh token may
come again: two tabs of one browser, or an answer that was lost.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from core.credentials import hash_credential, read
from core.db import Bare, Row, stamp_agency
from core.ids import new_id
from tenants.applications.clients import Found
from tenants.audit.entries import Entry, Origin, pick, record

REVOKED = "grant.revoke"
CODE, REFRESH = "oac", "ort"
LEEWAY = timedelta(seconds=10)
"""Without it two tabs that refresh at once sign their person out."""
CODE_LIVES = timedelta(seconds=60)
"""RFC 6749 section 4.1.2 recommends ten minutes at most; a redirect takes a second."""
ACCESS_LIVES = timedelta(minutes=10)
REFRESH_LIVES = timedelta(days=30)
"""Counted from its last use: what nobody uses for a month ends."""
BEGIN = """
insert into grants (agency_id, id, member_id, application_agency_id, application_id, application_name, scopes, workspace_ids,
  expires_at, created_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
ADD_CODE = """
insert into authorization_codes (agency_id, id, grant_id, hash, redirect_uri, code_challenge, expires_at)
values ($1, $2, $3, $4, $5, $6, $7)
"""
GRANT = """g.id grant_id, g.agency_id, g.member_id, g.scopes, g.workspace_ids, g.application_agency_id, g.application_id,
  g.revoked_at is null and g.expires_at > $3 and exists (
    select from members m where m.agency_id = g.agency_id and m.id = g.member_id and m.state = 'active') alive"""
FIND = """
select x.id, x.used_at, x.expires_at > $3 fresh, {columns} from {table} x where x.agency_id = $1 and x.hash = $2 for update
"""
FIND_CODE = FIND.format(columns="x.grant_id, x.redirect_uri, x.code_challenge", table="authorization_codes")
FIND_REFRESH = FIND.format(columns="x.grant_id", table="refresh_tokens")
FAMILY = f"select {GRANT} from grants g where g.agency_id = $1 and g.id = $2"
END = """
update grants set revoked_at = $3, revoked_reason = $4 where agency_id = $1 and id = $2 and revoked_at is null
returning application_id, application_name, member_id, scopes, workspace_ids, revoked_at, revoked_reason
"""
USE_CODE = "update authorization_codes set used_at = $3 where agency_id = $1 and id = $2"
USE_REFRESH = "update refresh_tokens set used_at = $3 where agency_id = $1 and id = $2 and used_at is null"
EXTEND = "update grants set expires_at = greatest(expires_at, $3) where agency_id = $1 and id = $2"
ADD_ACCESS = """
insert into access_tokens (agency_id, id, kind, hash, grant_id, member_id, application_agency_id, application_id, secret_id, scopes,
  workspace_ids, expires_at, created_at) values ($1, $2, 'access', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""
ADD_REFRESH = """
insert into refresh_tokens (agency_id, id, grant_id, hash, expires_at, created_at) values ($1, $2, $3, $4, $5, $6)
"""
END_TOKEN = "update access_tokens set revoked_at = $3 where agency_id = $1 and hash = $2 and revoked_at is null"


@dataclass(frozen=True, slots=True)
class Consent:
    """What a member said yes to."""

    grant_id: UUID
    agency_id: UUID
    member_id: UUID
    scopes: tuple[str, ...]
    workspace_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Holder:
    """For whom a token is issued: a family, or an application itself (`secret_id`: by which secret)."""

    agency_id: UUID
    scopes: tuple[str, ...]
    workspace_ids: tuple[UUID, ...]
    grant_id: UUID | None = None
    member_id: UUID | None = None
    secret_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A code or a refresh token that may be used now, with its family."""

    id: UUID
    holder: Holder
    redirect_uri: str = ""
    code_challenge: str = ""


def agency_of(kind: str, text: str) -> UUID | None:
    """Whose a text says it is; None for what is not of this kind."""
    try:
        credential = read(text)
    except ValueError:
        return None
    return credential.agency_id if credential.kind == kind else None


async def begin(
    db: Bare, client: Found, consent: Consent, hash: bytes, redirect_uri: str, challenge: str, now: datetime
) -> None:  # fmt: skip
    """Write a grant and its code. Until the code is used the grant lives no longer than that one."""
    await stamp_agency(db, consent.agency_id)
    ends = now + CODE_LIVES
    await db.execute(
        BEGIN, consent.agency_id, consent.grant_id, consent.member_id, client.agency_id, client.id, client.name,
        list(consent.scopes), list(consent.workspace_ids), ends, now,
    )  # fmt: skip
    await db.execute(ADD_CODE, consent.agency_id, new_id(), consent.grant_id, hash, redirect_uri, challenge, ends)


async def show_code(db: Bare, pepper: str, client: Found, text: str, now: datetime) -> Shown | None:
    """Find a code of the application's, and lock it. One that was used already ends its family. None for what cannot be used."""
    found = await _show(db, pepper, client, CODE, FIND_CODE, text, now)
    if found is None:
        return None
    row, family = found
    if row["used_at"] is not None:
        await end(db, client, family["agency_id"], family["grant_id"], "code_reused", now)
        return None
    return _shown(row, family, row["redirect_uri"], row["code_challenge"])


async def show_refresh(db: Bare, pepper: str, client: Found, text: str, now: datetime) -> Shown | None:
    """Find a refresh token of the application's, and lock it. One that was used longer than `LEEWAY` ago ends its family."""
    found = await _show(db, pepper, client, REFRESH, FIND_REFRESH, text, now)
    if found is None:
        return None
    row, family = found
    if row["used_at"] is not None and row["used_at"] + LEEWAY <= now:
        await end(db, client, family["agency_id"], family["grant_id"], "token_reused", now)
        return None
    return _shown(row, family)


async def _show(
    db: Bare, pepper: str, client: Found, kind: str, statement: str, text: str, now: datetime
) -> tuple[Row, Row] | None:  # fmt: skip
    agency_id = agency_of(kind, text)
    if agency_id is None or not client.may_be_used_in(agency_id):
        return None
    await stamp_agency(db, agency_id)
    row = await db.fetchrow(statement, agency_id, hash_credential(pepper, text), now)
    if row is None:
        return None
    family = await db.fetchrow(FAMILY, agency_id, row["grant_id"], now)
    if family is None or (family["application_agency_id"], family["application_id"]) != (client.agency_id, client.id):
        return None
    reused = row["used_at"] is not None
    return (row, family) if reused or (row["fresh"] and family["alive"]) else None


def _shown(row: Row, family: Row, redirect_uri: str = "", challenge: str = "") -> Shown | None:
    if not (row["fresh"] and family["alive"]):
        return None
    holder = Holder(
        family["agency_id"], tuple(family["scopes"]), tuple(family["workspace_ids"]), family["grant_id"], family["member_id"]
    )
    return Shown(row["id"], holder, redirect_uri, challenge)


async def end(db: Bare, client: Found, agency_id: UUID, grant_id: UUID, reason: str, now: datetime) -> None:
    """End a family upon what its application did, and tell it in the log of the agency that granted."""
    row = await db.fetchrow(END, agency_id, grant_id, now, reason)
    if row is None:
        return
    after = pick("grant", row)
    entry = Entry("grant", grant_id, None, after | {"revoked_at": None, "revoked_reason": None}, after)
    await record(db, agency_id, REVOKED, Origin("application", client.id, request_id=""), entry)


async def use_code(db: Bare, shown: Shown, now: datetime) -> None:
    """Note that a code was used."""
    await db.execute(USE_CODE, shown.holder.agency_id, shown.id, now)


async def use_refresh(db: Bare, shown: Shown, now: datetime) -> None:
    """Note when a refresh token was used first: coming again within the leeway does not lengthen it."""
    await db.execute(USE_REFRESH, shown.holder.agency_id, shown.id, now)


async def issue(
    db: Bare, pepper: str, client: Found, holder: Holder, scopes: tuple[str, ...], access: str, refresh: str | None, now: datetime
) -> None:  # fmt: skip
    """Write the tokens that are handed out, under the stamp of the agency that granted."""
    await db.execute(
        ADD_ACCESS, holder.agency_id, new_id(), hash_credential(pepper, access), holder.grant_id, holder.member_id,
        client.agency_id, client.id, holder.secret_id, list(scopes), list(holder.workspace_ids), now + ACCESS_LIVES, now,
    )  # fmt: skip
    if refresh is not None:
        ends = now + REFRESH_LIVES
        await db.execute(ADD_REFRESH, holder.agency_id, new_id(), holder.grant_id, hash_credential(pepper, refresh), ends, now)
        await db.execute(EXTEND, holder.agency_id, holder.grant_id, ends)


async def end_access_token(db: Bare, agency_id: UUID, hash: bytes, now: datetime) -> None:
    """End one access token."""
    await db.execute(END_TOKEN, agency_id, hash, now)
