"""Identifiers: UUIDv7 in the database, TypeID (prefix + base32) on the wire.

The text form follows the TypeID specification 0.3 (github.com/jetify-com/typeid, read 2026-11): lower-case prefix,
an underscore, then the 128 bits in 26 characters of Crockford's base32. It is written here because a page of fifty posts
carries two hundred ids; the tests hold it against `typeid-python`.
"""

from uuid import UUID

import uuid_utils.compat

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
SUFFIX_LENGTH = 26
_TRIPLES = tuple(high + middle + low for high in ALPHABET for middle in ALPHABET for low in ALPHABET)
_VALUES = {character: value for value, character in enumerate(ALPHABET)}


def new_id() -> UUID:
    """Mint a UUIDv7: ids of one process sort by the time of their making."""
    return uuid_utils.compat.uuid7()


def suffix(value: UUID) -> str:
    """Encode the 128 bits of `value` in 26 characters: fifteen bits at a time, for pages are full of ids."""
    n, t = int.from_bytes(value.bytes, "big"), _TRIPLES
    high = t[n >> 120][1:] + t[n >> 105 & 32767] + t[n >> 90 & 32767] + t[n >> 75 & 32767]
    return high + t[n >> 60 & 32767] + t[n >> 45 & 32767] + t[n >> 30 & 32767] + t[n >> 15 & 32767] + t[n & 32767]


def encode(prefix: str, value: UUID) -> str:
    """Write `value` as a TypeID with `prefix`."""
    return f"{prefix}_{suffix(value)}"


def decode_suffix(text: str) -> UUID:
    """Read 26 characters of base32 back into a UUID. Raises ValueError for anything that `suffix` would not have written."""
    if len(text) != SUFFIX_LENGTH or text[0] > "7":
        raise ValueError("not a TypeID suffix")
    number = 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            raise ValueError("not a TypeID suffix")
        number = (number << 5) | value
    return UUID(int=number)


def decode(prefix: str, text: str) -> UUID:
    """Read a TypeID that must carry `prefix`. Raises ValueError otherwise."""
    given, separator, rest = text.rpartition("_")
    if not separator or given != prefix:
        raise ValueError(f"expected an id that begins with {prefix}_")
    return decode_suffix(rest)
