"""The text of a link: `shl_`, the agency (26 characters of base32), the secret (43 characters, 215 random bits) and a checksum.

As in a key (docs/decisions/0005) the agency stands in the text so that the transaction can be stamped before the look-up.
"""

import secrets
from dataclasses import dataclass
from uuid import UUID

from core.credentials import CHECKSUM_LENGTH, SECRET_LENGTH, checksum
from core.crypto import hash_key
from core.errors import Missing
from core.ids import ALPHABET, SUFFIX_LENGTH, decode_suffix, suffix

PREFIX = "shl_"
TOKEN_LENGTH = len(PREFIX) + SUFFIX_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH


@dataclass(frozen=True, slots=True)
class PresentedLink:
    """A token that is well formed: whose it says it is, and its hash."""

    agency_id: UUID
    hash: bytes


def write_token(agency_id: UUID) -> str:
    """Make the text of a new link."""
    body = PREFIX + suffix(agency_id) + "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    return body + checksum(body)


def read_token(text: str) -> PresentedLink:
    """Read the text of a link. Raises Missing unless its form and checksum are right; looks nothing up."""
    if len(text) != TOKEN_LENGTH or not text.isascii() or not text.startswith(PREFIX):
        raise Missing
    body = text[:-CHECKSUM_LENGTH]
    if checksum(body) != text[-CHECKSUM_LENGTH:]:
        raise Missing
    try:
        return PresentedLink(decode_suffix(body[len(PREFIX) : len(PREFIX) + SUFFIX_LENGTH]), hash_key(text))
    except ValueError as error:
        raise Missing from error
