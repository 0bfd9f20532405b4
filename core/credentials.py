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
LENGTH = HEAD_LENGTH + SUFFIX_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH


class Credential(NamedTuple):
    """A text that is well formed: what it says it is, and whose."""

    kind: str
    agency_id: UUID
    livemode: bool


def checksum(body: str) -> str:
    """Write the CRC32 of `body` in base32."""
    number = zlib.crc32(body.encode())
    return "".join(ALPHABET[(number >> shift) & 31] for shift in range(25, -1, -5)).rjust(CHECKSUM_LENGTH, "0")


def write(kind: str, agency_id: UUID, *, livemode: bool) -> str:
    """Make the text of a new credential."""
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    body = kind + (LIVE if livemode else TEST) + suffix(agency_id) + secret
    return body + checksum(body)


def read(text: str) -> Credential:
    """Read the text of a credential. Raises ValueError unless form and checksum are right; looks nothing up."""
    mode = text[KIND_LENGTH:HEAD_LENGTH]
    if len(text) != LENGTH or not text.isascii() or mode not in {LIVE, TEST}:
        raise ValueError("not a credential")
    if checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        raise ValueError("not a credential")
    agency_id = decode_suffix(text[HEAD_LENGTH : HEAD_LENGTH + SUFFIX_LENGTH])
    return Credential(text[:KIND_LENGTH], agency_id, mode == LIVE)


def hash_credential(secret: str, text: str) -> bytes:
    """Hash a credential for storage, under the service's own secret: a table alone tells nothing, and finds nothing."""
    return sign(secret, "credential", text.encode())
