"""What a person can say yes to, and what becomes of a yes."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from authlib.oauth2 import OAuth2Error
from sqlmodel.ext.asyncio.session import AsyncSession

from core.db import Bare, Row, raw, stamp_agency
from core.errors import Missing
from core.ids import new_id
from tenants.applications.asking import Wish, spend
from tenants.applications.authority import Asked, Authority, Pairs, served
from tenants.applications.clients import Found
from tenants.applications.families import Consent
from tenants.closed import hold_open
from tenants.people.members import PresentedMember, admit_member, require_own_word
from tenants.permissions import Permission

WORKSPACES = """
select id, name from workspaces where agency_id = $1 and closed_at is null and ($2::uuid[] is null or id = any ($2))
order by lower(name), id limit $3
"""
SHOWN_MAX = 500


@dataclass(frozen=True, slots=True)
class Reach:
    """What a member could hand on: its workspaces, and of the scopes that were asked for those that it holds."""

    workspaces: list[Row]
    held: dict[str, frozenset[UUID] | None]
    """Scope -> where it holds it; None: everywhere."""


def agencies_for(client: Found, agencies: Collection[Row]) -> list[Row]:
    """The agencies of a person in which it can grant this application something: live ones a live one, test ones a test one."""
    return [row for row in agencies if row["livemode"] == client.livemode and client.may_be_used_in(row["id"])]


async def reach_of(db: Bare, presented: PresentedMember, scopes: Collection[str]) -> Reach:
    """Look at what a member holds now, under its agency's stamp. Raises Missing where it is no member."""
    await stamp_agency(db, presented.agency_id)
    everywhere = await admit_member(db, presented, Permission.WORKSPACE_READ, None)
    rows = await db.fetch(WORKSPACES, presented.agency_id, everywhere.reach, SHOWN_MAX)
    held: dict[str, frozenset[UUID] | None] = {}
    for scope in scopes:
        actor = await admit_member(db, presented, Permission(scope), None)
        if actor.may(Permission(scope)):
            held[scope] = None if actor.workspace_ids is None else frozenset(actor.workspace_ids)
    return Reach(rows, held)


def narrowed(wish: Wish, reach: Reach, chosen: Collection[UUID]) -> tuple[str, ...]:
    """The scopes that the member holds in one of the chosen workspaces. Raises Missing for a workspace that it does not reach."""
    known = {row["id"] for row in reach.workspaces}
    if not known.issuperset(chosen):
        raise Missing
    return tuple(
        scope
        for scope in wish.scopes
        if scope in reach.held and (reach.held[scope] is None or set(chosen) & (reach.held[scope] or set()))
    )


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant that was made, and its code."""

    grant: dict[str, Any]
    member_id: UUID
    code: str


async def say_yes(
    session: AsyncSession, pepper: str, issuer: str, wish: Wish, presented: PresentedMember, scopes: tuple[str, ...],
    chosen: tuple[UUID, ...], now: datetime,
) -> Granted:  # fmt: skip
    """Write the grant with its code. The transaction keeps the stamp of the agency that granted.

    Raises Missing where the person is no member, or the pushed request was answered before.
    """
    db = raw(session)
    await stamp_agency(db, wish.client.agency_id)
    if wish.pushed is not None and not await spend(session, wish.client, wish.pushed, now):
        raise Missing
    await stamp_agency(db, presented.agency_id)
    member = await admit_member(db, presented, Permission.WORKSPACE_READ, None)
    if member.member_id is None:
        raise Missing
    await require_own_word(db, presented.signed_in, member.member_id)
    if not set(chosen) <= await hold_open(db, presented.agency_id, chosen):
        raise Missing
    consent = Consent(new_id(), presented.agency_id, member.member_id, scopes, chosen)
    code = await served(session, pepper, issuer, now, lambda server: _answer(server, wish.pairs, consent))
    grant = {
        "id": consent.grant_id, "application_id": wish.client.id, "application_name": wish.client.name,
        "member_id": member.member_id, "scopes": list(scopes), "workspace_ids": list(chosen), "revoked_at": None,
        "revoked_reason": None,
    }  # fmt: skip
    return Granted(grant, member.member_id, code)


def _answer(server: Authority, pairs: Pairs, consent: Consent) -> str:
    asked = Asked("GET", pairs)
    asked.consent = consent
    try:
        grant = server.get_authorization_grant(asked)
        grant.validate_authorization_request()
    except OAuth2Error as error:  # it was right a moment ago: the application was changed meanwhile
        raise Missing from error
    code: str = grant.generate_authorization_code()
    grant.save_authorization_code(code, asked)
    return code
