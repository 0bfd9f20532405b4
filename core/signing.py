"""The keys that this service signs by, published as a JWK Set: the one of this month, and the next.

They are derived from the service's secret and the number of the month, so every process has the same ones and nothing is stored:
a month's key is published a month before it signs anything, and nobody has to think of it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from core.crypto import sign

PERIOD = timedelta(days=30)
ALGORITHM = "ES256"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the curve P-256 (SP 800-186 section 3.2.1.3)."""


def _period(now: datetime) -> int:
    return int(now.timestamp() // PERIOD.total_seconds())


@lru_cache(maxsize=4)
def _key(secret: str, period: int) -> ECKey:
    """Derive a key: twice as many bits as it has, so that no value of it is likelier (FIPS 186-5 appendix A.2.1)."""
    number = str(period).encode()
    bits = sign(secret, "signing-key-high", number) + sign(secret, "signing-key-low", number)
    private = ec.derive_private_key(int.from_bytes(bits) % (ORDER - 1) + 1, ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = ECKey.import_key(pem, {"use": "sig", "alg": ALGORITHM})
    key.ensure_kid()
    return key


def public_keys(secret: str, now: datetime) -> Mapping[str, Any]:
    """Publish the key that signs now, and the one that follows it (RFC 7517)."""
    period = _period(now)
    return dict(KeySet([_key(secret, period), _key(secret, period + 1)]).as_dict(private=False))


def sign_claims(secret: str, now: datetime, kind: str, claims: Mapping[str, Any]) -> str:
    """Sign claims as a JWT of a kind (its `typ`)."""
    key = _key(secret, _period(now))
    return jwt.encode({"alg": ALGORITHM, "typ": kind, "kid": key.kid}, dict(claims), key)
