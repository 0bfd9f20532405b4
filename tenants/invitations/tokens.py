"""The text of an invitation's token: the agency (26 characters of base32) and a secret (43 characters, 215 random bits).

As in a key (docs/decisions/0005) the agency stands in the text, so that the transaction can be stamped before the look-up.
"""

from dataclasses import dataclass
from uuid import UUID

from core.credentials import SECRET_LENGTH, new_secret
from core.crypto import hash_key
from core.errors import Missing
from core.ids import SUFFIX_LENGTH, decode_suffix, suffix

TOKEN_LENGTH = SUFFIX_LENGTH + SECRET_LENGTH


class InvitationInvalid(Missing):
    """No such invitation, used, revoked, expired, or somebody else's: one answer for all of them."""

    code = "invitation_invalid"


@dataclass(frozen=True, slots=True)
class PresentedInvitation:
    """A token that is well formed: whose it says it is, and its hash."""

    agency_id: UUID
    hash: bytes


def write_token(agency_id: UUID) -> str:
    """Make the text of a new token."""
    return suffix(agency_id) + new_secret()


def read_token(text: str) -> PresentedInvitation:
    """Read the text of a token. Raises InvitationInvalid unless its form is right; looks nothing up."""
    if len(text) != TOKEN_LENGTH or not text.isascii():
        raise InvitationInvalid
    try:
        return PresentedInvitation(decode_suffix(text[:SUFFIX_LENGTH]), hash_key(text))
    except ValueError as error:
        raise InvitationInvalid from error
