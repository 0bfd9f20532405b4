"""Sealing of secrets, hashing of keys, signing of what goes out and comes back.

Envelope encryption: each agency has a data key, wrapped by a key of the ring (`OCTAVO_ENCRYPTION_KEYS`) and stored in
`agency_keys`. A sealed value is `v1 | nonce(12) | AES-256-GCM(data key)` with the place it belongs to as associated data
(agency, table, row, column), so a value copied to another agency, row or column does not open.
Rotating the ring re-wraps one small row per agency; deleting that row makes everything of the agency unreadable.
"""

import base64
import hashlib
import hmac
import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"v1"
NONCE_BYTES = 12
KEY_BYTES = 32
KEY_ID_BYTES = 8


class SealBroken(Exception):
    """A sealed value does not open here: wrong place, wrong key, or changed."""


class KeyRing:
    """The keys that wrap data keys: the first of the list seals, all of them open."""

    def __init__(self, text: str) -> None:
        self._keys: dict[str, AESGCM] = {}
        for pair in text.split(","):
            key_id, _, value = pair.strip().partition(":")
            key = bytes.fromhex(value)
            if not key_id or len(key_id.encode()) > KEY_ID_BYTES or len(key) != KEY_BYTES:
                raise ValueError("OCTAVO_ENCRYPTION_KEYS wants id:hex pairs of 256 bits, ids of at most 8 bytes")
            self._keys[key_id] = AESGCM(key)
        self.current = next(iter(self._keys))

    def wrap(self, agency_id: UUID, data_key: bytes) -> bytes:
        """Seal an agency's data key under the current key; or a person's, or what lives for minutes and has no owner with a key."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._keys[self.current].encrypt(nonce, data_key, f"{agency_id}/{self.current}".encode())
        return self.current.encode().ljust(KEY_ID_BYTES, b"\0") + nonce + sealed

    def unwrap(self, agency_id: UUID, wrapped: bytes) -> bytes:
        """Open an agency's data key. Raises SealBroken when its key is not on the ring or it was changed."""
        key_id = self.key_id(wrapped)
        key = self._keys.get(key_id)
        if key is None:
            raise SealBroken(f"key {key_id} is not on the ring")
        nonce, sealed = wrapped[KEY_ID_BYTES : KEY_ID_BYTES + NONCE_BYTES], wrapped[KEY_ID_BYTES + NONCE_BYTES :]
        try:
            return key.decrypt(nonce, sealed, f"{agency_id}/{key_id}".encode())
        except InvalidTag as error:
            raise SealBroken("the data key does not open") from error

    @staticmethod
    def key_id(wrapped: bytes) -> str:
        """Name the key that sealed `wrapped`, so that rotation finds what is left to do."""
        return wrapped[:KEY_ID_BYTES].rstrip(b"\0").decode()


def new_data_key() -> bytes:
    """Make a data key of 256 bits."""
    return os.urandom(KEY_BYTES)


def _place(agency_id: UUID, table: str, row_id: UUID, column: str) -> bytes:
    return f"{agency_id}/{table}/{row_id}/{column}".encode()


def seal(data_key: bytes, plaintext: bytes, agency_id: UUID, table: str, row_id: UUID, column: str) -> bytes:
    """Seal `plaintext` so that it opens only in its own place."""
    nonce = os.urandom(NONCE_BYTES)
    return VERSION + nonce + AESGCM(data_key).encrypt(nonce, plaintext, _place(agency_id, table, row_id, column))


def unseal(data_key: bytes, sealed: bytes, agency_id: UUID, table: str, row_id: UUID, column: str) -> bytes:
    """Open what `seal` made. Raises SealBroken anywhere but in its own place."""
    if sealed[: len(VERSION)] != VERSION:
        raise SealBroken("unknown version of a sealed value")
    nonce, body = sealed[2 : 2 + NONCE_BYTES], sealed[2 + NONCE_BYTES :]
    try:
        return AESGCM(data_key).decrypt(nonce, body, _place(agency_id, table, row_id, column))
    except InvalidTag as error:
        raise SealBroken("the value does not open here") from error


def derive_key(data_key: bytes, purpose: str) -> bytes:
    """Derive a key of 256 bits for one purpose: one key never seals and signs (the expand step of HKDF, RFC 5869 section 2.3)."""
    return hmac.new(data_key, purpose.encode() + b"\x01", hashlib.sha256).digest()


def hash_key(key: str) -> bytes:
    """Hash an API key for storage: 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(key.encode()).digest()


def sign(secret: str, purpose: str, message: bytes) -> bytes:
    """HMAC-SHA256 of `message`, bound to its purpose."""
    return hmac.new(secret.encode(), purpose.encode() + b"\0" + message, hashlib.sha256).digest()


def same(left: bytes, right: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(left, right)


def derive_password(secret: str, role: str) -> str:
    """The password of a database role that `migrate` makes, so that one URL and one secret are enough."""
    return base64.urlsafe_b64encode(sign(secret, "database-role", role.encode())).decode().rstrip("=")
