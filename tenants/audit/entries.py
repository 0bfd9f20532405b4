"""What an entry of the audit log holds, and how one is written: in the transaction of the change, by one insert without a lock.

What is kept of a thing before and after is an allow-list for each noun: a new column is not in the log until somebody puts
it here. Content stands in it as a digest: the log is read with another permission than posts, and longer.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from core.duties import Statements
from core.ids import encode, new_id
from core.wire import write_instant

FIELDS: dict[str, tuple[str, ...]] = {
    "agency": ("name", "second_factor_required"),
    "workspace": ("name", "time_zone", "late_policy", "late_window_s", "four_eyes", "closed_at", "erase_at", "version"),
    "key": ("name", "scopes", "workspace_ids", "created_by", "created_by_member", "expires_at", "revoked_at"),
    "connect_session": ("network", "state", "account_id", "account_ids"),
    "account": ("network", "external_id", "name", "handle", "state", "state_reason", "version"),
    "asset": ("filename", "alt_text", "version"),
    "post": ("state", "due_at", "time_zone", "external_ref", "duplicate_policy", "version"),
    "publication": ("account_id", "network", "state", "due_at", "block_reason", "resolution", "external_url", "attempts"),
    "operation": ("kind", "state"),
    "member": ("role",),
    "role": ("name", "scope", "permissions"),
    "invitation": ("role", "workspace_ids", "workspace_roles", "state", "member_id", "expires_at"),
    "application": ("name", "confidential", "offered", "redirect_uris", "scopes", "workspace_ids"),
    "grant": ("application_id", "application_name", "member_id", "scopes", "workspace_ids", "revoked_at", "revoked_reason"),
    "embed_token": ("scopes", "workspace_ids", "expires_at"),
    "identity_provider": ("name", "issuer", "client_id", "domains", "second_factor", "set_by_member"),
    "share_link": ("purpose", "post_id", "max_opens", "opens", "expires_at", "revoked_at"),
}
"""Noun -> what of it an entry may tell. Nothing that is sealed, hashed or shown once stands here."""
DIGESTED: dict[str, tuple[str, ...]] = {"post": ("text", "media")}
"""Noun -> content of which the log keeps the SHA-256 alone, under `<name>_sha256`."""
IDS = {
    "account_id": "acc",
    "account_ids": "acc",
    "workspace_ids": "wsp",
    "created_by": "key",
    "created_by_member": "mem",
    "member_id": "mem",
    "set_by_member": "mem",
    "application_id": "app",
    "post_id": "pst",
}
"""Fields that are ids: the prefix of each."""
USER_AGENT_LENGTH_MAX = 200
COLUMNS = (
    "id", "workspace_id", "action", "actor_type", "actor_id", "on_behalf_of", "subject_type", "subject_id", "address", "user_agent",
    "request_id", "credential_type", "credential_id", "before", "after",
)  # fmt: skip
KIND = "audit"
"""The duty that seals an agency's entries; its subject is the agency."""
WAKE = """
update duties set due_at = now() + interval '2 seconds' where ctid = (
  select ctid from duties where agency_id = $1 and kind = 'audit' and subject_id = $1
    and state = 'waiting' and due_at > now() + interval '10 seconds' for update skip locked)
"""
"""Bring the sealing near when it is far. Whoever meets another that is moving it goes on: waiting could end in a circle, and should
the other roll back, the entry is sealed some minutes later. The place of the locked row, and not its key, stands for it: by the key
the planner may join all duties of the agency."""
NEAR_S = 10.0
"""So long after it was brought near the sealing comes by itself (`workers.audit.CALM`): the next writes need not look."""
NEAR_MAX = 10_000
"""Agencies of which a process remembers that; some hundred kilobytes."""
_near: OrderedDict[UUID, float] = OrderedDict()


@dataclass(frozen=True, slots=True)
class Origin:
    """Who acts, for whom, and from where."""

    actor_type: str
    actor_id: UUID
    request_id: str
    address: str | None = None
    user_agent: str | None = None
    on_behalf_of: UUID | None = None
    credential: tuple[str, UUID] | None = None
    """By what it acted, where that is not the actor itself: the noun and id of a member's session, of an application's grant."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: the noun and id of its subject, where it belongs (None: the whole agency), and what it was and is."""

    subject_type: str
    subject_id: UUID
    workspace_id: UUID | None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None

    @property
    def changes_nothing(self) -> bool:
        """Say whether the request left everything as it was, as a pause of what is paused does."""
        return self.before is not None and self.before == self.after


def pick(noun: str, row: Mapping[str, Any] | asyncpg.Record | object) -> dict[str, Any]:
    """Take what the log may tell of a row, in the forms of the wire."""
    of = row.__getitem__ if isinstance(row, Mapping | asyncpg.Record) else lambda name: getattr(row, name)
    told = {name: _plain(name, of(name)) for name in FIELDS[noun]}
    for name in DIGESTED.get(noun, ()):
        told[f"{name}_sha256"] = hashlib.sha256(of(name).encode()).hexdigest()
    return told


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return write_instant(value)
    if isinstance(value, UUID):
        return encode(IDS[name], value)
    return [_plain(name, one) for one in value] if isinstance(value, list) else value


def insertion(first: int) -> str:
    """Write the insert of an entry as a part of a WITH: $1 the agency, the others from `first` on. `wake` comes after it."""
    places = (f"${first + place}" + ("::text::jsonb" if name in {"before", "after"} else "") for place, name in enumerate(COLUMNS))
    return f"recorded as (insert into audit_entries (agency_id, {', '.join(COLUMNS)}) values ($1, {', '.join(places)}))"


RECORD = f"with {insertion(2)} select 1"


def values(action: str, origin: Origin, entry: Entry) -> tuple[Any, ...]:
    """The arguments of `insertion`, after the agency."""
    before, after = (None if one is None else orjson.dumps(one).decode() for one in (entry.before, entry.after))
    return (
        new_id(), entry.workspace_id, action, origin.actor_type, origin.actor_id, origin.on_behalf_of, entry.subject_type,
        entry.subject_id, origin.address, origin.user_agent, origin.request_id,
        *(origin.credential or (None, None)), before, after,
    )  # fmt: skip


async def wake(db: Statements, agency_id: UUID) -> None:
    """Let an entry of this transaction be sealed within seconds. Its lock is the last that a transaction takes."""
    moment = time.monotonic()
    if _near.get(agency_id, 0.0) > moment:
        return
    await db.execute(WAKE, agency_id)
    _near[agency_id] = moment + NEAR_S
    _near.move_to_end(agency_id)
    if len(_near) > NEAR_MAX:
        _near.popitem(last=False)


async def record(db: Statements, agency_id: UUID, action: str, origin: Origin, entry: Entry) -> None:
    """Write one entry in the transaction of the change that it tells."""
    await db.execute(RECORD, agency_id, *values(action, origin, entry))
    await wake(db, agency_id)
