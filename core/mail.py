"""Mail as it leaves the house: its headers, and the way to a mail server or, without one, to a folder.

Authentication and content go over TLS: at once (`smtps://`), or by STARTTLS, which is asked for and not merely tried. Without
it only a server of this machine is spoken to, in development.
"""

import ssl
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aiosmtplib

from core.settings import Settings, is_loopback

DEADLINE_S = 30.0
"""Of one mail, from the connection to the server's word for it. RFC 5321 section 4.5.3.2 is more patient; we come again."""
PERMANENT = range(500, 600)


class Refused(Exception):
    """The server will never take this mail. `code` is its answer's number; what else it said may name the recipient."""

    def __init__(self, code: int) -> None:
        self.code = code


class Away(Exception):
    """The server could not be reached, or may take it later. `reason` names an error, and nothing that it said."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail. The same `id` makes the same Message-ID, by which a mailbox knows what came twice."""

    id: UUID
    to: str
    locale: str
    subject: str
    body: str


def write(settings: Settings, letter: Letter, at: datetime) -> EmailMessage:
    """Write the message. Raises ValueError where a header would hold the end of a line.

    Auto-Submitted (RFC 3834) keeps answering machines from answering.
    """
    name, sender = parseaddr(settings.mail_from)
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(name, addr_spec=sender)
    message["To"] = Address(addr_spec=letter.to)
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{letter.id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.body.strip() + "\n", charset="utf-8", cte="quoted-printable")
    message["Content-Language"] = letter.locale
    return message


def outbox(settings: Settings) -> Path:
    """Where mail lies in development, when there is no mail server."""
    return Path(settings.home) / "outbox"


async def deliver(settings: Settings, message: EmailMessage) -> None:
    """Hand the message over. Raises Refused or Away."""
    if settings.smtp_url is not None:
        await _over_smtp(settings, settings.smtp_url.get_secret_value(), message)
    elif settings.environment == "development":
        folder = outbox(settings)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{message['Message-ID'].strip('<>').partition('@')[0]}.eml"
        (folder / name).write_bytes(message.as_bytes())
    else:
        raise Away("no OCTAVO_SMTP_URL")


async def _over_smtp(settings: Settings, url: str, message: EmailMessage) -> None:
    parts = urlsplit(url)
    at_once = parts.scheme == "smtps"
    plain = settings.environment == "development" and is_loopback(parts.hostname)
    try:
        await aiosmtplib.send(
            message,
            hostname=parts.hostname,
            port=parts.port or (465 if at_once else 587),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            use_tls=at_once,
            start_tls=None if at_once or plain else True,
            tls_context=ssl.create_default_context(),
            timeout=DEADLINE_S,
        )
    except aiosmtplib.SMTPRecipientsRefused as error:
        code = error.recipients[0].code
        raise (Refused(code) if code in PERMANENT else Away(f"recipient {code}")) from None
    except aiosmtplib.SMTPDataError as error:
        raise (Refused(error.code) if error.code in PERMANENT else Away(f"data {error.code}")) from None
    except (aiosmtplib.SMTPException, OSError) as error:
        raise Away(type(error).__name__) from None
