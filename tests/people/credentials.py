"""What people sign in with beside the password, as a test holds it: an authenticator app, a device with passkeys, a mailbox."""

import hashlib
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import httpx2
import pyotp
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from core import duties
from core.clock import seconds
from core.ids import new_id
from core.settings import Settings
from workers.context import Context
from workers.duties import run_batch

PUBLIC = "http://localhost:8000"
"""Where people find the service in these tests: passkeys are bound to a host by its name."""
LINK = re.compile(r"https?://\S+\?token=(\S+)")


def url64(value: bytes) -> str:
    """Base64 as browsers write it in URLs (RFC 4648 section 5, no padding)."""
    return urlsafe_b64encode(value).decode().rstrip("=")


@dataclass
class App:
    """An authenticator app."""

    secret: str

    def code(self, steps: int = 0) -> str:
        """What it shows now, or `steps` of 30 s from now."""
        return pyotp.TOTP(self.secret).at(int(seconds()) + 30 * steps)


@dataclass
class Device:
    """A software authenticator with one resident key (WebAuthn Level 3, section 6): ES256, `none` attestation."""

    origin: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    id: bytes = field(default_factory=lambda: new_id().bytes)
    handle: bytes = b""
    count: int = 0
    counts: bool = True
    """Passkeys that several devices share answer with 0 always."""
    verifies: bool = True

    @property
    def host(self) -> str:
        return self.origin.partition("://")[2].partition(":")[0]

    def _data(self, attested: bytes = b"") -> bytes:
        flags = 0x01 | (0x04 if self.verifies else 0) | (0x40 if attested else 0)
        return hashlib.sha256(self.host.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big") + attested

    def _client(self, kind: str, options: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "challenge": options["challenge"], "origin": self.origin}).encode()

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """Make a passkey, as `navigator.credentials.create` does."""
        padded = options["user"]["id"] + "=" * (-len(options["user"]["id"]) % 4)
        self.handle = urlsafe_b64decode(padded)
        numbers = self.key.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        cose = bytes.fromhex("a5010203262001215820") + x + bytes.fromhex("225820") + y
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cose
        data = self._data(attested)
        length = bytes([0x58, len(data)]) if len(data) < 256 else b"\x59" + len(data).to_bytes(2, "big")
        made = bytes.fromhex("a363666d74646e6f6e656761747453746d74a0686175746844617461") + length + data
        response = {"clientDataJSON": url64(self._client("webauthn.create", options)), "attestationObject": url64(made)}
        return {"id": url64(self.id), "rawId": url64(self.id), "type": "public-key", "response": response}

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """Answer with it, as `navigator.credentials.get` does."""
        self.count += self.counts
        data, client = self._data(), self._client("webauthn.get", options)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        response = {
            "clientDataJSON": url64(client), "authenticatorData": url64(data), "signature": url64(signature),
            "userHandle": url64(self.handle),
        }  # fmt: skip
        return {"id": url64(self.id), "rawId": url64(self.id), "type": "public-key", "response": response}

    def copy(self) -> "Device":
        """The same key, as a thief has copied it now."""
        return replace(self)


async def add_app(client: httpx2.AsyncClient) -> tuple[App, list[str]]:
    """Add an authenticator app to who is signed in. Returns it, and the recovery codes."""
    begun = await client.post("/v1/me/totp")
    assert begun.status_code == 200, begun.text
    app = App(begun.json()["secret"])
    confirmed = await client.post("/v1/me/totp/confirm", json={"code": app.code()})
    assert confirmed.status_code == 200, confirmed.text
    return app, confirmed.json()["recovery_codes"]


async def add_passkey(client: httpx2.AsyncClient, device: Device, name: str = "Laptop") -> httpx2.Response:
    """Add a passkey to who is signed in."""
    options = (await client.post("/v1/me/passkeys/options")).json()["options"]
    return await client.post("/v1/me/passkeys", json={"name": name, "passkey": device.create(options)})


async def passkey_options(client: httpx2.AsyncClient) -> dict[str, Any]:
    """What a browser is asked to sign in by a passkey."""
    options: dict[str, Any] = (await client.post("/v1/sessions/passkey-options")).json()["options"]
    return options


async def deliver_mail(context: Context) -> None:
    """Send the mail that is due."""
    async with context.duties_pool.acquire() as db:
        claimed = await duties.claim(db, "mail", 100, context.settings.lease, 1_000)
    await run_batch(context, "mail", claimed)


@dataclass(frozen=True)
class Letter:
    """A mail that came."""

    to: str
    subject: str
    body: str

    @property
    def token(self) -> str:
        """The text in its link."""
        found = LINK.search(self.body)
        assert found is not None, self.body
        return found[1]


def read_mail(settings: Settings) -> list[Letter]:
    """Take what lies in the outbox, in the order of its writing."""
    found = []
    for path in sorted((Path(settings.home) / "outbox").glob("*.eml")):
        message = message_from_bytes(path.read_bytes(), policy=default)
        found.append(Letter(message["To"], message["Subject"], message.get_content()))  # type: ignore[attr-defined]  # the policy makes it an EmailMessage
        path.unlink()
    return found
