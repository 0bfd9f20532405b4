"""How an application is named and found, and which of its secrets live. Statements on whatever stamp is set: see `find_client`."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from core.credentials import hash_credential
from core.crypto import same
from core.db import Bare, Row, stamp_agency
from core.ids import SUFFIX_LENGTH, decode_suffix, suffix
from tenants.permissions import AGENCY_ROLES, Permission

PREFIX = "oci_"
SECRET = "ocs"
FORMER_LIVES = timedelta(days=1)
"""How long the secrets before the newest go on, so that nothing stands still while a new one is brought out."""
MANAGERS = ", ".join(f"'{role}'" for role, held in AGENCY_ROLES.items() if Permission.APPLICATION_MANAGE in held)
LIVES = f"""(s.expires_at is null or s.expires_at > now())
  and (s.created_by is null or exists (select from api_keys y where y.agency_id = s.agency_id and y.id = s.created_by
    and y.revoked_at is null and (y.expires_at is null or y.expires_at > now())
    and y.workspace_ids is null and '{Permission.APPLICATION_MANAGE.value}' = any (y.scopes)))
  and (s.created_by_member is null or exists (select from members z where z.agency_id = s.agency_id and z.id = s.created_by_member
    and z.state = 'active' and (z.role in ({MANAGERS}) or exists (select from roles x where x.agency_id = z.agency_id
      and x.id = z.custom_role_id and '{Permission.APPLICATION_MANAGE.value}' = any (x.permissions)))))"""
"""A secret lives as long as whom it was shown to: who has left knows it still."""
APPLICATION = """
select p.id, p.agency_id, p.name, p.confidential, p.offered, p.redirect_uris, p.scopes, p.workspace_ids,
  a.name agency_name, a.livemode
from applications p join agencies a on a.id = p.agency_id where p.agency_id = $1 and p.id = $2
"""
SECRETS = f"select s.id, s.hash from application_secrets s where s.agency_id = $1 and s.application_id = $2 and {LIVES}"
LOOK = "select scopes from applications where agency_id = $1 and id = $2 and offered"


@dataclass(frozen=True, slots=True)
class Found:
    """An application as the authorization server sees it."""

    agency_id: UUID
    id: UUID
    name: str
    agency_name: str
    livemode: bool
    confidential: bool
    offered: bool
    redirect_uris: tuple[str, ...]
    scopes: frozenset[str]
    workspace_ids: tuple[UUID, ...]
    secrets: tuple[tuple[UUID, bytes], ...]

    @property
    def client_id(self) -> str:
        """Its name in OAuth."""
        return client_id(self.agency_id, self.id)

    def secret_that_fits(self, pepper: str, text: str) -> UUID | None:
        """Find the living secret that this is; every one is compared, in constant time."""
        hash = hash_credential(pepper, text)
        fitting = [id for id, known in self.secrets if same(known, hash)]
        return fitting[0] if fitting else None

    def may_be_used_in(self, agency_id: UUID) -> bool:
        """Say whether members of this agency can grant it something: of its own, and of others where it is offered."""
        return agency_id == self.agency_id or self.offered


def client_id(agency_id: UUID, id: UUID) -> str:
    """Name an application in OAuth. Its agency stands in it, as in a key: the look-up needs a stamp."""
    return PREFIX + suffix(agency_id) + suffix(id)


def read_client_id(text: str) -> tuple[UUID, UUID]:
    """Read a name. Raises ValueError for what `client_id` would not have written."""
    if not text.startswith(PREFIX) or len(text) != len(PREFIX) + 2 * SUFFIX_LENGTH:
        raise ValueError("not a client_id")
    middle = len(PREFIX) + SUFFIX_LENGTH
    return decode_suffix(text[len(PREFIX) : middle]), decode_suffix(text[middle:])


async def find_client(db: Bare, text: str) -> Found | None:
    """Find an application by its name, under its own agency's stamp, which stays. None for what is none."""
    try:
        agency_id, id = read_client_id(text)
    except ValueError:
        return None
    await stamp_agency(db, agency_id)
    row = await db.fetchrow(APPLICATION, agency_id, id)
    if row is None:
        return None
    secrets = await db.fetch(SECRETS, agency_id, id)
    return Found(
        **{name: row[name] for name in ("agency_id", "id", "name", "agency_name", "livemode", "confidential", "offered")},
        redirect_uris=tuple(row["redirect_uris"]),
        scopes=frozenset(row["scopes"]),
        workspace_ids=tuple(row["workspace_ids"]),
        secrets=tuple((one["id"], one["hash"]) for one in secrets),
    )


async def scopes_of_application(db: Bare, agency_id: UUID, row: Row) -> frozenset[str] | None:
    """What the application of a `row` can ask for by now; None where it is gone, or is not offered any more.

    The agency's own stand in the row, as `own_scopes`. One of another agency is looked for there; the stamp is back afterwards.
    """
    owner_id, scopes = row["application_agency_id"], row["own_scopes"]
    if owner_id != agency_id:
        await stamp_agency(db, owner_id)
        scopes = await db.fetchval(LOOK, owner_id, row["application_id"])
        await stamp_agency(db, agency_id)
    return None if scopes is None else frozenset(scopes)
