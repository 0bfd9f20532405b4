"""Texts of credentials: what opens a door and is kept by whoever it was given to.

Text: three letters that say what it is, `_live_` or `_test_`, the agency (26 characters of base32), a secret (43 characters, 215
random bits) and a checksum (6 characters): a mistyped one is refused without a look-up, and secret scanners can tell one. The
agency stands in it so that a transaction can be stamped before the look-up (docs/decisions/0005).
"""

import secrets
import zlib
from typing import NamedTuple
from uuid import UUID

from core.crypto import sign
from core.ids import ALPHABET, SUFFIX_LENGTH, decode_suffix, suffix

SECRET_LENGTH = 43
CHECKSUM_LENGTH = 6
KIND_LENGTH = 3
LIVE, TEST = "_live_", "_test_"
HEAD_LENGTH = KIND_LENGTH + len(LIVE)


class Credential(NamedTuple):
    """A text that is well formed: what it says it is, and whose."""

    kind: str
    agency_id: UUID
    livemode: bool


def checksum(body: str) -> str:
    """Write the CRC32 of `body` in base32."""
    number = zlib.crc32(body.encode())
    return "".join(ALPHABET[(number >> shift) & 31] for shift in range(25, -1, -5)).rjust(CHECKSUM_LENGTH, "0")


def new_secret() -> str:
    """Draw a secret."""
    return "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))


def write_after(head: str, agency_id: UUID) -> str:
    """Make a text of `head`, an agency, a new secret and the checksum."""
    body = head + suffix(agency_id) + new_secret()
    return body + checksum(body)


def read_after(head: str, text: str) -> UUID:
    """Read the agency of a text that `write_after` made. Raises ValueError unless form and checksum are right."""
    length = len(head) + SUFFIX_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH
    if len(text) != length or not text.isascii() or not text.startswith(head):
        raise ValueError("not a credential")
    if checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        raise ValueError("not a credential")
    return decode_suffix(text[len(head) : len(head) + SUFFIX_LENGTH])


def write(kind: str, agency_id: UUID, *, livemode: bool) -> str:
    """Make the text of a new credential."""
    return write_after(kind + (LIVE if livemode else TEST), agency_id)


def read(text: str) -> Credential:
    """Read the text of a credential. Raises ValueError unless form and checksum are right; looks nothing up."""
    mode = text[KIND_LENGTH:HEAD_LENGTH]
    if mode not in {LIVE, TEST}:
        raise ValueError("not a credential")
    return Credential(text[:KIND_LENGTH], read_after(text[:HEAD_LENGTH], text), mode == LIVE)


def hash_credential(secret: str, text: str) -> bytes:
    """Hash a credential for storage, under the service's own secret: a table alone tells nothing, and finds nothing."""
    return sign(secret, "credential", text.encode())
