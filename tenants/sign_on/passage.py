"""The way through a provider: leaving for one, coming back once, and who of the agency that is."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from core.crypto import KeyRing, hash_key, same
from core.db import Bare, Row
from core.errors import Malformed, Missing, PermissionDenied, Unauthenticated
from core.ids import new_id
from tenants.accounts.redirects import State, digest_state, read_state, write_state
from tenants.accounts.sealing import open_vault
from tenants.people.held import ROOMS, roles_of
from tenants.people.members import vouched
from tenants.people.sessions import Bound
from tenants.sign_on.providers import SECRET

LIFETIME = timedelta(minutes=10)
"""How long a person has to come back from the provider."""
VERIFIER = ("sign_ons", "sealed_verifier")
LIST = "select id, name from identity_providers where agency_id = $1 order by id"
FIND = "select id, name, issuer, client_id, sealed_secret, domains from identity_providers where agency_id = $1 and id = $2"
SWEEP = "delete from sign_ons where agency_id = $1 and expires_at < $2"
BEGIN = """
insert into sign_ons (agency_id, id, provider_id, state_hash, browser_hash, sealed_verifier, nonce, onward, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
LOOK = "select * from sign_ons where agency_id = $1 and id = $2 and expires_at > $3 for update"
SPEND = "delete from sign_ons where agency_id = $1 and id = $2"
KNOWN = "select member_id from identities where agency_id = $1 and issuer = $2 and subject = $3"
BY_EMAIL = """
select m.id from members m join users u on u.id = m.user_id where m.agency_id = $1 and u.email = $2 and m.state = 'active'
"""
LINK = (
    "insert into identities (agency_id, issuer, subject, member_id, created_at) values ($1, $2, $3, $4, $5) on conflict do nothing"
)
MEMBER = f"""
select m.id, m.user_id, m.role, m.custom_role_id, {ROOMS} from members m
where m.agency_id = $1 and m.id = $2 and m.state = 'active'
"""


class SignOnInvalid(Malformed):
    """Nothing that was begun in this browser, or not any more."""

    code = "sign_on_invalid"


class SignOnRefused(PermissionDenied):
    """The provider's word signs nobody in."""

    code = "sign_on_refused"


@dataclass(frozen=True, slots=True)
class Known:
    """A provider as the agency has set it."""

    agency_id: UUID
    id: UUID
    name: str
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    domains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """What a person left with."""

    state: str = field(repr=False)
    browser: str = field(repr=False)
    nonce: str


@dataclass(frozen=True, slots=True)
class Back:
    """What a person came back to. It is spent."""

    provider: Known
    code_verifier: str = field(repr=False)
    nonce: str
    onward: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """Who came, as a member of the agency."""

    user_id: UUID
    member_id: UUID
    bound: Bound
    second_factor: bool
    linked: bool


async def list_known(db: Bare, agency_id: UUID) -> list[Row]:
    """The providers of an agency by which people can sign in. Raises Missing where there is none, or no such agency."""
    rows: list[Row] = await db.fetch(LIST, agency_id)
    if not rows:
        raise Missing
    return rows


async def find_known(db: Bare, ring: KeyRing, agency_id: UUID, id: UUID) -> Known:
    """One of them, with its secret. Raises Missing."""
    row = await db.fetchrow(FIND, agency_id, id)
    if row is None:
        raise Missing
    secret = (await open_vault(db, ring, agency_id)).unseal_text(SECRET, id, row["sealed_secret"])
    return Known(agency_id, id, row["name"], row["issuer"], row["client_id"], secret, tuple(row["domains"]))


def leave(agency_id: UUID) -> tuple[UUID, Left]:
    """Make what somebody leaves with: the id of the passage, and its secrets, which are stored as digests."""
    id = new_id()
    return id, Left(write_state(agency_id, id), secrets.token_urlsafe(32), secrets.token_urlsafe(32))


async def note_left(
    db: Bare, ring: KeyRing, provider: Known, id: UUID, left: Left, code_verifier: str, onward: str | None, now: datetime
) -> datetime:  # fmt: skip
    """Remember who left, for ten minutes. Returns until when."""
    until, agency_id = now + LIFETIME, provider.agency_id
    sealed = (await open_vault(db, ring, agency_id)).seal_text(VERIFIER, id, code_verifier)
    await db.execute(SWEEP, agency_id, now)
    await db.execute(
        BEGIN, agency_id, id, provider.id, digest_state(left.state), hash_key(left.browser), sealed, left.nonce, onward, until
    )
    return until


def read_passage(text: str | None) -> State:
    """Read a state that came back. Raises SignOnInvalid."""
    try:
        return read_state(text)
    except Malformed as error:
        raise SignOnInvalid from error


async def spend(db: Bare, ring: KeyRing, state: State, browser: str | None, now: datetime) -> Back:
    """Take the passage of a state, which is gone with the commit whatever becomes of the rest. Raises SignOnInvalid."""
    row = await db.fetchrow(LOOK, state.agency_id, state.session_id, now)
    fits = row is not None and browser is not None and same(row["browser_hash"], hash_key(browser))
    if row is None or not fits or not same(row["state_hash"], state.digest):
        raise SignOnInvalid
    await db.execute(SPEND, state.agency_id, state.session_id)
    verifier = (await open_vault(db, ring, state.agency_id)).unseal_text(VERIFIER, state.session_id, row["sealed_verifier"])
    provider = await find_known(db, ring, state.agency_id, row["provider_id"])
    return Back(provider, verifier, row["nonce"], row["onward"])


def require_domain(provider: Known, email: str, *, verified: bool) -> None:
    """Refuse an e-mail that the provider does not vouch for, or that it may not speak for. Raises SignOnRefused."""
    if not verified:
        raise SignOnRefused("The provider does not say that the e-mail is verified.")
    if email.count("@") != 1 or email.rpartition("@")[2] not in provider.domains:
        raise SignOnRefused("The provider may not speak for this e-mail.")


async def find_member(db: Bare, provider: Known, subject: str, email: str, now: datetime) -> Found:
    """Find the member of the agency that a subject is; the first time by the e-mail of a member, and from then on by the subject.

    The transaction sees this agency alone, so an account of another one is never found. Raises SignOnRefused.
    """
    agency_id = provider.agency_id
    member_id, linked = await db.fetchval(KNOWN, agency_id, provider.issuer, subject), False
    if member_id is None:
        member_id = await db.fetchval(BY_EMAIL, agency_id, email)
        if member_id is not None:
            written = await db.execute(LINK, agency_id, provider.issuer, subject, member_id, now)
            linked = written == "INSERT 0 1"
            if not linked:
                raise SignOnRefused("Somebody else of the provider is this member.")
    row = await db.fetchrow(MEMBER, agency_id, member_id)
    if row is None:
        raise SignOnRefused("The agency has no such member.")
    bound = Bound(agency_id, provider.id)
    role, rooms = await roles_of(db, agency_id, row)
    try:
        second_factor = await vouched(db, bound, role, rooms)
    except Unauthenticated as error:
        raise SignOnRefused("Whoever set the provider may not let this member in.") from error
    return Found(row["user_id"], row["id"], bound, second_factor, linked)
