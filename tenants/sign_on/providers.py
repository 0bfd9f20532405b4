"""The identity providers of an agency: set by its people in person, since whoever sets one says who its members are."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NoReturn
from uuid import UUID

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from core.crypto import KeyRing
from core.db import raw, take_turn
from core.errors import Conflict, Fault, InvalidInput, Missing, PermissionDenied
from core.ids import encode, new_id
from core.wire import PREFIXES
from networks.egress import UrlNotAllowed, check_url
from tenants.accounts.sealing import open_vault
from tenants.owned import find, owned
from tenants.people.members import setter_holds
from tenants.permissions import Actor, Permission
from tenants.sign_on.models import IdentityProvider
from tenants.sign_on.schemas import IdentityProviderCreate, IdentityProviderRead, IdentityProviderUpdate

SECRET = ("identity_providers", "sealed_secret")
PROVIDERS_MAX = 10
PAGE = "/sign-on/"
CALLBACK = "/sign-on/callback/"


def redirect_uri(public_url: str, agency_id: UUID) -> str:
    """Where providers send people back: an address for each agency, so that none gets another one's codes (RFC 9700, 4.4)."""
    return public_url.rstrip("/") + CALLBACK + encode(PREFIXES["agency"], agency_id)


def sign_on_url(public_url: str, agency_id: UUID) -> str:
    """The page on which an agency's members begin."""
    return public_url.rstrip("/") + PAGE + encode(PREFIXES["agency"], agency_id)


def read_provider(row: IdentityProvider, public_url: str) -> IdentityProviderRead:
    """Write a provider for the wire."""
    shown = row.model_dump(exclude={"agency_id", "sealed_secret", "set_by_member"})
    return IdentityProviderRead(
        **shown,
        set_by_member_id=row.set_by_member,
        redirect_uri=redirect_uri(public_url, row.agency_id),
        sign_on_url=sign_on_url(public_url, row.agency_id),
    )


def _in_person(actor: Actor) -> UUID:
    """The member who calls. Raises PermissionDenied for a key and for an application, whatever they hold."""
    if actor.member_id is None or actor.application_id is not None:
        _refuse("A provider is set in person: it signs in nobody who may more than that member.")
    assert actor.member_id is not None
    return actor.member_id


def _refuse(detail: str) -> NoReturn:
    raise PermissionDenied(detail, required_permission=Permission.SIGN_ON_MANAGE.value)


def _listed(domains: Iterable[str]) -> list[str]:
    return sorted(set(domains))


async def create_provider(
    session: AsyncSession, ring: KeyRing, actor: Actor, wish: IdentityProviderCreate, now: datetime, *, loopback: bool
) -> IdentityProvider:  # fmt: skip
    """Store a provider, its secret sealed. Raises PermissionDenied, InvalidInput (an issuer that is not public), Conflict."""
    set_by = _in_person(actor)
    try:
        check_url(wish.issuer, allow_loopback=loopback)
    except UrlNotAllowed as error:
        raise InvalidInput(faults=[Fault("/issuer", "url_not_allowed", str(error))]) from error
    if {"?", "#"} & set(wish.issuer):
        raise InvalidInput(faults=[Fault("/issuer", "url_not_allowed", "An issuer has neither query nor fragment.")])
    await take_turn(raw(session), "providers", actor.agency_id)
    held = owned(IdentityProvider, actor)
    if (await session.exec(held.where(IdentityProvider.issuer == wish.issuer))).first() is not None:
        raise Conflict("This issuer is a provider of the agency already.")
    count = select(func.count()).select_from(held.subquery())
    if (await session.exec(count)).one() >= PROVIDERS_MAX:
        raise Conflict(f"An agency has {PROVIDERS_MAX} providers at most.")
    id = new_id()
    vault = await open_vault(raw(session), ring, actor.agency_id)
    row = IdentityProvider(
        agency_id=actor.agency_id,
        id=id,
        sealed_secret=vault.seal_text(SECRET, id, wish.client_secret.get_secret_value()),
        set_by_member=set_by,
        created_at=now,
        domains=_listed(wish.domains),
        **wish.model_dump(include={"name", "issuer", "client_id", "second_factor"}),
    )
    session.add(row)
    await session.flush()
    return row


async def list_providers(session: AsyncSession, actor: Actor) -> Sequence[IdentityProvider]:
    """The agency's providers, newest first; none for a caller that is bound to workspaces."""
    if actor.workspace_ids is not None:
        return []
    return (await session.exec(owned(IdentityProvider, actor).order_by(col(IdentityProvider.id).desc()))).all()


async def find_provider(session: AsyncSession, actor: Actor, id: UUID) -> IdentityProvider:
    """One of the agency's providers. Raises Missing, for a caller that is bound to workspaces too."""
    if actor.workspace_ids is not None:
        raise Missing
    return await find(session, IdentityProvider, actor, id)


async def lock_provider(session: AsyncSession, actor: Actor, id: UUID) -> IdentityProvider:
    """One of the agency's providers that is to be changed. Raises Missing, for a caller that is bound to workspaces too."""
    if actor.workspace_ids is not None:
        raise Missing
    return await find(session, IdentityProvider, actor, id, lock=True)


async def update_provider(
    session: AsyncSession, ring: KeyRing, actor: Actor, row: IdentityProvider, wish: IdentityProviderUpdate
) -> None:  # fmt: skip
    """Change the fields that are given of a locked provider. Who set it stays, so it lets in neither more nor fewer people.

    Raises PermissionDenied for who may less than that member, since the provider speaks for all who may as much; and Conflict
    once that member has left: sessions that ended with him must not come to life again.
    """
    _in_person(actor)
    held = await setter_holds(raw(session), row.agency_id, row.id)
    if held is None:
        raise Conflict("Whoever set this provider has left. Take it away and set it anew: everybody is known again.")
    if not held <= actor.permissions:
        _refuse("Nobody changes a provider that was set by who may more than himself.")
    changes = wish.model_dump(include=wish.model_fields_set - {"client_secret", "domains"})
    if wish.domains is not None:
        changes["domains"] = _listed(wish.domains)
    if wish.client_secret is not None:
        vault = await open_vault(raw(session), ring, row.agency_id)
        changes["sealed_secret"] = vault.seal_text(SECRET, row.id, wish.client_secret.get_secret_value())
    row.sqlmodel_update(changes)
    session.add(row)
    await session.flush()


async def delete_provider(session: AsyncSession, actor: Actor, id: UUID) -> IdentityProvider:
    """Take a provider away: the sessions that it began open nothing from the commit on. Raises Missing."""
    row = await find_provider(session, actor, id)
    await session.delete(row)
    await session.flush()
    return row
