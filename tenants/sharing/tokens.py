"""The text of a link: `shl_`, the agency (26 characters of base32), the secret (43 characters, 215 random bits) and a checksum.

As in a key (docs/decisions/0005) the agency stands in the text so that the transaction can be stamped before the look-up.
"""

from dataclasses import dataclass
from uuid import UUID

from core.credentials import read_after, write_after
from core.crypto import hash_key
from core.errors import Missing

PREFIX = "shl_"
PAGE_PATH = "/shared/"


@dataclass(frozen=True, slots=True)
class PresentedLink:
    """A token that is well formed: whose it says it is, and its hash."""

    agency_id: UUID
    hash: bytes


def write_token(agency_id: UUID) -> str:
    """Make the text of a new link."""
    return write_after(PREFIX, agency_id)


def read_token(text: str) -> PresentedLink:
    """Read the text of a link. Raises Missing unless its form and checksum are right; looks nothing up."""
    try:
        return PresentedLink(read_after(PREFIX, text), hash_key(text))
    except ValueError as error:
        raise Missing from error


def link_address(public_url: str, token: str) -> str:
    """Where the page of a link is."""
    return public_url.rstrip("/") + PAGE_PATH + token
