"""What a token of an application is worth now, for that application (RFC 7662)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from core.credentials import hash_credential, read
from core.db import Bare, Row, stamp_agency
from core.ids import encode
from tenants.applications import families
from tenants.applications.clients import Found, client_id
from tenants.applications.tokens import ACCESS, EMBED, find_holding

OWN_ACCESS = """
select 1 from access_tokens where agency_id = $1 and hash = $2 and application_agency_id = $3 and application_id = $4
"""
OWN_REFRESH = """
select x.grant_id, x.used_at, x.expires_at, x.created_at, g.member_id, g.scopes, g.workspace_ids,
  x.expires_at > $5 and g.revoked_at is null and g.expires_at > $5 and exists (select from members m where m.agency_id = $1
    and m.id = g.member_id and m.state = 'active') alive
from refresh_tokens x join grants g on g.agency_id = $1 and g.id = x.grant_id
where x.agency_id = $1 and x.hash = $2 and g.application_agency_id = $3 and g.application_id = $4
"""


@dataclass(frozen=True, slots=True)
class Own:
    """A token of the application that shows it, living or not."""

    agency_id: UUID
    refresh: Row | None
    """What there is of a refresh token; None: it is an access token."""


def workspaces_told(ids: Iterable[UUID]) -> list[dict[str, Any]]:
    """Name workspaces in the form of RFC 9396."""
    return [{"type": "workspace", "identifiers": [encode("wsp", id) for id in ids]}]


async def find_own(db: Bare, pepper: str, client: Found, text: str, now: datetime) -> Own | None:
    """Find a token that belongs to an application; None for everybody else's. The stamp is the token's afterwards."""
    try:
        credential = read(text)
    except ValueError:
        return None
    agency_id, kind = credential.agency_id, credential.kind
    if kind not in {ACCESS, EMBED, families.REFRESH}:
        return None
    await stamp_agency(db, agency_id)
    who = (agency_id, hash_credential(pepper, text), client.agency_id, client.id)
    row = await db.fetchrow(OWN_REFRESH, *who, now) if kind == families.REFRESH else await db.fetchrow(OWN_ACCESS, *who)
    return None if row is None else Own(agency_id, row if kind == families.REFRESH else None)


async def describe(
    db: Bare, pepper: str, client: Found, text: str, issuer: str, now: datetime
) -> dict[str, Any] | None:  # fmt: skip
    """Describe a living token of the application's; None for what is ended, unknown or not its own."""
    own = await find_own(db, pepper, client, text, now)
    if own is None:
        return None
    if own.refresh is not None:
        row = own.refresh
        if not row["alive"] or row["used_at"] is not None:
            return None
        scopes, workspace_ids = frozenset(row["scopes"]), tuple(row["workspace_ids"])
    else:
        holding = await find_holding(db, own.agency_id, hash_credential(pepper, text))
        if holding is None:
            return None
        row, scopes, workspace_ids = holding.row, holding.scopes, holding.workspace_ids
    name = client_id(client.agency_id, client.id)
    told = {
        "active": True,
        "iss": issuer,
        "aud": issuer,
        "client_id": name,
        "sub": encode("mem", row["member_id"]) if row["member_id"] else name,
        "scope": " ".join(sorted(scopes)),
        "iat": int(row["created_at"].timestamp()),
        "exp": int(row["expires_at"].timestamp()),
        "agency_id": encode("agc", own.agency_id),
        "authorization_details": workspaces_told(workspace_ids),
    }
    return told if own.refresh is not None else told | {"token_type": "Bearer"}
