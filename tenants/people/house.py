"""What people's credentials need of the service: its address, its secret and its ring; and the mail that tells of a change."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self
from urllib.parse import urlsplit
from uuid import UUID

from core.crypto import KeyRing
from core.db import Bare
from core.settings import Settings
from tenants.mail.service import Wish, send_mail

LOCALE = "select locale from users where id = $1"


@dataclass(frozen=True, slots=True)
class House:
    """The service, as far as people's credentials go."""

    public_url: str
    secret: str
    ring: KeyRing

    @classmethod
    def of(cls, settings: Settings, ring: KeyRing) -> Self:
        """Take it from the settings."""
        return cls(settings.public_url.rstrip("/"), settings.secret.get_secret_value(), ring)

    def __repr__(self) -> str:
        return f"House({self.public_url})"

    @property
    def host(self) -> str:
        """The host that people see: passkeys are bound to it (the RP ID of WebAuthn)."""
        return urlsplit(self.public_url).hostname or ""

    @property
    def origin(self) -> str:
        """Where its pages stand, as browsers write it."""
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}"

    def page(self, path: str, token: str = "") -> str:
        """Write the address of a page, with the text of a link."""
        return f"{self.public_url}/{path}" + (f"?token={token}" if token else "")


async def locale_of(db: Bare, user_id: UUID) -> str:
    """Read which language a person has chosen, in its own transaction."""
    return str(await db.fetchval(LOCALE, user_id) or "en")


async def tell(db: Bare, house: House, user_id: UUID, template: str, to: str, now: datetime, **facts: str) -> None:
    """Send a person mail, in its own transaction."""
    await send_mail(db, house.ring, Wish(template, to, await locale_of(db, user_id), facts), now)
