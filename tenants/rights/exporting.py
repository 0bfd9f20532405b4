"""What an export holds: a file of JSON Lines for each table of the agency's, and the bytes of its media.

Every table that has an agency stands below, either with what is withheld of it or with the reason why none of it is given; a test
holds that against the catalogue. What is sealed or hashed is of no use to its owner and never leaves.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import LargeBinary

from core.db import Bare, Tenant, restamp, take_turn
from core.errors import Conflict
from core.ids import encode
from core.wire import PREFIXES
from tenants.permissions import Permission
from tenants.tables import METADATA

OF_AGENCY, OF_WORKSPACE = "agency_export", "workspace_export"
KEEP = timedelta(hours=24)
"""How long an archive can be fetched; then it and its operation are deleted."""
PAGE = 500
"""Rows of one short transaction. An archive is no picture of one instant: what changes meanwhile is in it before or after."""
FORM = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Resource:
    """One file: its name, the noun of its ids, columns that are withheld, what is added, and which rows are a workspace's."""

    name: str
    noun: str = ""
    withheld: tuple[str, ...] = ()
    added: str = ""
    inside: str | None = "t.workspace_id = $2"
    """None: of the whole agency alone."""
    _: KW_ONLY
    needs: Permission
    """What else its reader holds: an archive shows nobody what he could not read otherwise."""


_ROOM = "select w.member_id from workspace_members w where w.agency_id = $1 and w.workspace_id = $2"
_PERSON = "|| (select jsonb_build_object('name', u.name, 'email', u.email) from users u where u.id = t.user_id)"
RESOURCES: dict[str, Resource] = {
    "agencies": Resource("agency", "agency", inside=None, needs=Permission.AGENCY_READ),
    "workspaces": Resource("workspaces", "workspace", inside="t.id = $2", needs=Permission.WORKSPACE_READ),
    "members": Resource("members", "member", added=_PERSON, inside=f"t.id in ({_ROOM})", needs=Permission.MEMBER_READ),
    "workspace_members": Resource("workspace-members", needs=Permission.MEMBER_READ),
    "roles": Resource("roles", "role", inside=None, needs=Permission.ROLE_READ),
    "invitations": Resource(
        "invitations", "invitation", ("hash",), inside="t.workspace_ids <@ array[$2::uuid]", needs=Permission.MEMBER_ASSIGN
    ),
    "api_keys": Resource("api-keys", "key", ("hash",), inside="t.workspace_ids <@ array[$2::uuid]", needs=Permission.KEY_READ),
    "applications": Resource("applications", "application", inside=None, needs=Permission.APPLICATION_READ),
    "grants": Resource("grants", "grant", inside="t.workspace_ids <@ array[$2::uuid]", needs=Permission.APPLICATION_READ),
    "identity_providers": Resource(
        "identity-providers", "identity_provider", ("sealed_secret",), inside=None, needs=Permission.SIGN_ON_MANAGE
    ),
    "identities": Resource("identities", inside=None, needs=Permission.SIGN_ON_MANAGE),
    "accounts": Resource("accounts", "account", needs=Permission.ACCOUNT_READ),
    "connections": Resource("connections", "connection", ("sealed", "refresh_presented_digest"), needs=Permission.ACCOUNT_READ),
    "connect_sessions": Resource(
        "connect-sessions",
        "connect_session",
        ("state_hash", "link_hash", "sealed_verifier", "sealed_credentials", "authorize_url", "secret_id"),
        needs=Permission.ACCOUNT_CONNECT,
    ),
    "assets": Resource("assets", "asset", needs=Permission.MEDIA_READ),
    "asset_versions": Resource("asset-versions", "asset_version", ("storage_key",), needs=Permission.MEDIA_READ),
    "posts": Resource("posts", "post", needs=Permission.POST_READ),
    "variants": Resource("variants", "variant", needs=Permission.POST_READ),
    "publications": Resource("publications", "publication", needs=Permission.PUBLICATION_READ),
    "attempts": Resource("attempts", "attempt", needs=Permission.PUBLICATION_READ),
    "post_findings": Resource("post-findings", needs=Permission.POST_READ),
    "share_links": Resource("share-links", "share_link", ("hash",), needs=Permission.LINK_READ),
    "operations": Resource("operations", "operation", ("storage_key",), needs=Permission.OPERATION_READ),
    "events": Resource("events", "event", ("transaction_id",), needs=Permission.EVENT_READ),
    "audit_entries": Resource("audit-entries", "audit_entry", needs=Permission.AUDIT_READ),
    "audit_seals": Resource("audit-seals", inside=None, needs=Permission.AUDIT_READ),
}
"""Table -> what is exported of it, in the order of the archive."""
NOT_EXPORTED: dict[str, str] = {
    "agency_keys": "The data key, wrapped: of no use outside, and nothing is sealed for its owner to open.",
    "duties": "What is to be done when: ids and times, which stand with the things themselves.",
    "idempotency_records": "Answers that were given already, kept for a repeat; they end by themselves.",
    "application_secrets": "Hashes of what was shown once.",
    "authorization_codes": "Hashes of codes that live a minute.",
    "refresh_tokens": "Hashes of tokens; what they open stands with their grant.",
    "access_tokens": "Hashes of tokens that live minutes; what they open stands with their grant.",
    "pushed_requests": "Requests of applications that live a minute.",
    "sign_ons": "Sign-ins under way, which live ten minutes.",
    "mails": "What is still to be sent, sealed; what led to it stands with the invitation.",
    "erasures": "It is written when nothing is left to export.",
}
"""Tables with an agency that no archive holds, each with its reason."""
IDS = {
    "agency_id": "agency", "live_agency_id": "agency", "workspace_id": "workspace", "workspace_ids": "workspace",
    "member_id": "member", "user_id": "user", "created_by_member": "member", "set_by_member": "member",
    "account_id": "account", "account_ids": "account",
    "post_id": "post", "variant_id": "variant", "publication_id": "publication", "asset_id": "asset",
    "asset_version_id": "asset_version", "entry_id": "audit_entry", "custom_role_id": "role",
    "application_id": "application", "application_agency_id": "agency", "grant_id": "grant",
    "grant": "connect_session", "on_behalf_of": "member",
}  # fmt: skip
"""Columns, and names inside of them, that are ids: the noun of each."""
WHO = frozenset({"created_by", "content_by", "eyes"})
"""The same of whoever acts: a key, a member or an application."""
KINDS = """
select id, 'key' kind from api_keys where agency_id = $1 and id = any ($2)
union all select id, 'member' from members where agency_id = $1 and id = any ($2)
union all select id, 'application' from applications where agency_id = $1 and id = any ($2)
"""
UNDER_WAY = """
select 1 from operations where agency_id = $1 and kind = any($2::text[]) and workspace_id is not distinct from $3
  and state in ('queued', 'running') limit 1
"""
VERSIONS = """
select id, content_type, size_bytes, storage_key from asset_versions
where agency_id = $1 and ($2::uuid is null or workspace_id = $2) and ($3::uuid is null or id > $3) order by id limit 100
"""
SUFFIXES = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}


async def refuse_second(db: Bare, agency_id: UUID, workspace_id: UUID | None, *kinds: str) -> None:
    """Refuse long work of some kinds while there is one for the same place. Raises Conflict.

    Of many at once one is first. A workspace is locked before, as when it is closed: what is accepted refers to it.
    """
    await take_turn(db, "exports", workspace_id or agency_id)
    if await db.fetchval(UNDER_WAY, agency_id, list(kinds), workspace_id) is not None:
        raise Conflict("One is under way already: wait for its operation.")


def resources(workspace_id: UUID | None, held: Collection[str] | None) -> list[tuple[str, Resource]]:
    """The tables of an archive, of the agency or of one workspace, for who holds these permissions (None: all of them)."""
    return [
        (table, one)
        for table, one in RESOURCES.items()
        if (workspace_id is None or one.inside is not None) and (held is None or one.needs.value in held)
    ]


def shows_media(held: Collection[str] | None) -> bool:
    """Say whether the bytes of the files are in an archive for who holds these permissions."""
    return held is None or RESOURCES["asset_versions"].needs.value in held


def withheld(workspace_id: UUID | None, held: Collection[str] | None) -> list[str]:
    """Name what an archive leaves out, since who asked for it may not read that."""
    given = {table for table, _ in resources(workspace_id, held)}
    return [one.name for table, one in resources(workspace_id, None) if table not in given]


async def next_rows(
    db: Bare, table: str, agency_id: UUID, workspace_id: UUID | None, after: Sequence[Any] | None
) -> tuple[bytes, int, Sequence[Any] | None]:
    """Read a page of a table behind the row `after`, as JSON Lines. Returns them, how many, and where to go on (None: the end)."""
    resource = RESOURCES[table]
    names = [column.name for column in METADATA.tables[table].primary_key.columns if column.name != "agency_id"]
    columns = ", ".join(f"t.{name}" for name in names)
    place, arguments = ("t.id = $1" if table == "agencies" else "t.agency_id = $1"), [agency_id, workspace_id]
    # $2 stands in each statement, so that its number is always the same
    place += f" and ($2::uuid is null or {resource.inside})" if resource.inside is not None else " and $2::uuid is null"
    if after is not None:
        arguments += after
        place += f" and ({columns}) > ({', '.join(f'${number}' for number in range(3, 3 + len(names)))})"
    withheld = ", ".join(f"'{name}'" for name in resource.withheld)
    document = f"(to_jsonb(t) - array[{withheld}]::text[] {resource.added})::text"
    rows = await db.fetch(
        f"select {document} document, {columns} from {table} t where {place} order by {columns} limit {PAGE}", *arguments
    )
    documents = [orjson.loads(row["document"]) for row in rows]
    kinds = await _kinds(db, agency_id, workspace_id, {id for one in documents for id in _acting(one)})
    lines = b"".join(orjson.dumps(shown(table, one, kinds), option=orjson.OPT_APPEND_NEWLINE) for one in documents)
    return lines, len(rows), [rows[-1][name] for name in names] if len(rows) == PAGE else None


def _acting(value: Any, name: str = "") -> Iterator[UUID]:
    """The ids of whoever acts, in a row and inside of its columns."""
    if isinstance(value, dict):
        for inner, one in value.items():
            yield from _acting(one, inner)
    elif name in WHO and isinstance(value, str) and FORM.fullmatch(value):
        yield UUID(value)


async def _kinds(db: Bare, agency_id: UUID, workspace_id: UUID | None, ids: Collection[UUID]) -> dict[str, str]:
    """Say what each of them is. A workspace's archive names keys and members of the whole agency, and tells no more of them."""
    if not ids:
        return {}
    await restamp(db, Tenant(agency_id))
    found = {str(row["id"]): str(row["kind"]) for row in await db.fetch(KINDS, agency_id, list(ids))}
    await restamp(db, Tenant(agency_id, None if workspace_id is None else (workspace_id,)))
    return found


def shown(table: str, row: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Write a row as the API writes things: ids with their prefix, hashes in hexadecimal. Pure."""
    noun = RESOURCES[table].noun
    hashes = {column.name for column in METADATA.tables[table].columns if isinstance(column.type, LargeBinary)}
    told = {
        name: value[2:] if name in hashes and isinstance(value, str) else _plain(name, value, kinds) for name, value in row.items()
    }
    if noun:
        told["id"] = encode(PREFIXES[noun], UUID(row["id"]))
    for name, value in row.items():
        kind = row.get(name.removesuffix("_id") + "_type") if name.endswith("_id") else None
        if table == "events" and name == "subject_id":
            kind = row["type"].partition(".")[0]
        if kind in PREFIXES and isinstance(value, str):
            told[name] = encode(PREFIXES[kind], UUID(value))
    return told


def _plain(name: str, value: Any, kinds: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {inner: _plain(inner, one, kinds) for inner, one in value.items()}
    if isinstance(value, list):
        return [_plain(name, one, kinds) for one in value]
    if isinstance(value, str) and FORM.fullmatch(value):
        noun = kinds.get(value) if name in WHO else IDS.get(name)
        return value if noun is None else encode(PREFIXES[noun], UUID(value))
    return value


async def next_versions(db: Bare, agency_id: UUID, workspace_id: UUID | None, after: UUID | None) -> list[asyncpg.Record]:
    """Some of the files whose bytes are exported, behind `after`."""
    rows: list[asyncpg.Record] = await db.fetch(VERSIONS, agency_id, workspace_id, after)
    return rows


def media_name(row: asyncpg.Record) -> str:
    """Name a file inside of the archive: by its id, so that no name from outside is ever a path."""
    return f"media/{encode(PREFIXES['asset_version'], row['id'])}.{SUFFIXES.get(row['content_type'], 'bin')}"


def folder(agency_id: UUID, workspace_id: UUID | None, operation_id: UUID) -> str:
    """Name the folder of the media store where the archive of an operation lies, and those of workers that did not end it."""
    room = "" if workspace_id is None else f"{workspace_id}/"
    return f"{agency_id}/{room}exports/{operation_id}/"
