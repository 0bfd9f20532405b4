"""Sealing of what an authorisation is made of, with the agency's data key, and the short memory of that key.

A data key is asked of the ring once a minute and process at most. The memory is bounded in size and in time, so an
agency whose row in `agency_keys` is deleted becomes unreadable everywhere within that minute.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from weakref import WeakKeyDictionary

import orjson

from core.crypto import KeyRing, SealBroken, seal, unseal
from core.duties import Statements
from networks.base import Credentials

KEEP_S = 60.0
KEEP_MAX = 1_024
WRAPPED = "select wrapped from agency_keys where agency_id = $1"
CONNECTION = ("connections", "sealed")
PENDING = ("connect_sessions", "sealed_credentials")
VERIFIER = ("connect_sessions", "sealed_verifier")

Place = tuple[str, str]
"""Table and column that a sealed value belongs to."""

_kept: WeakKeyDictionary[KeyRing, OrderedDict[UUID, tuple[float, bytes]]] = WeakKeyDictionary()
"""Data keys by ring, oldest first, each with the monotonic second at which it is forgotten."""


@dataclass(frozen=True, slots=True)
class Vault:
    """The open data key of one agency."""

    agency_id: UUID
    data_key: bytes

    def __repr__(self) -> str:
        return f"Vault({self.agency_id})"

    def seal_text(self, place: Place, row_id: UUID, text: str) -> bytes:
        """Seal a short secret for one column of one row."""
        return seal(self.data_key, text.encode(), self.agency_id, place[0], row_id, place[1])

    def unseal_text(self, place: Place, row_id: UUID, sealed: bytes) -> str:
        """Open what `seal_text` made. Raises SealBroken anywhere but in its own place."""
        return unseal(self.data_key, sealed, self.agency_id, place[0], row_id, place[1]).decode()

    def seal(self, credentials: Credentials, row_id: UUID, place: Place = CONNECTION) -> bytes:
        """Seal credentials for one row; by default a connection's."""
        return self.seal_text(place, row_id, write(credentials))

    def unseal(self, sealed: bytes, row_id: UUID, place: Place = CONNECTION) -> Credentials:
        """Open the credentials of one row. Raises SealBroken anywhere but in its own place."""
        return read(self.unseal_text(place, row_id, sealed))


async def open_vault(db: Statements, ring: KeyRing, agency_id: UUID) -> Vault:
    """Get the agency's data key, from memory or in its stamped transaction. Raises SealBroken when the row is gone."""
    kept = _kept.setdefault(ring, OrderedDict())
    known = kept.get(agency_id)
    # An age and no instant: the monotonic clock, which no change of the wall clock can lengthen.
    moment = time.monotonic()
    if known is not None and known[0] > moment:
        return Vault(agency_id, known[1])
    wrapped = await db.fetchval(WRAPPED, agency_id)
    if not isinstance(wrapped, bytes):
        kept.pop(agency_id, None)
        raise SealBroken("the agency has no data key")
    data_key = ring.unwrap(agency_id, wrapped)
    kept.pop(agency_id, None)
    kept[agency_id] = (moment + KEEP_S, data_key)
    while len(kept) > KEEP_MAX:
        kept.popitem(last=False)
    return Vault(agency_id, data_key)


def write(credentials: Credentials) -> str:
    """Write credentials as the JSON that is sealed."""
    return orjson.dumps(
        {
            "values": dict(credentials.values),
            "expires_at": credentials.expires_at.isoformat() if credentials.expires_at else None,
            "scopes": list(credentials.scopes),
        }
    ).decode()


def read(text: str) -> Credentials:
    """Read what `write` wrote."""
    stored = orjson.loads(text)
    expires_at = stored["expires_at"]
    return Credentials(
        values=stored["values"],
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
        scopes=tuple(stored["scopes"]),
    )
