"""A real mail server on loopback: STARTTLS or TLS at once, with a certificate of its own, and a password."""

import datetime
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import free_port

USER, PASSWORD = "octavo", "post office key"
DAY = datetime.timedelta(days=1)


def certificate(folder: Path) -> Path:
    """A key and a certificate for loopback in one file, which is its own authority."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    moment = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(moment - DAY).not_valid_after(moment + DAY)
    made = made.add_extension(names, critical=False).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    form = serialization.PrivateFormat.PKCS8
    path = folder / "mail.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    return path


class PostOffice:
    """What was taken, and what the server says to the next ones."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []
        self.answers: list[str] = []
        self.url = ""

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        """Take a message, or say what was to be said."""
        if self.answers:
            return self.answers.pop(0)
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=default)
        assert isinstance(message, EmailMessage)
        self.taken.append(message)
        return "250 taken"


def _knows(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=right)


@contextmanager
def post_office(pem: Path, *, at_once: bool = False, tls: bool = True) -> Iterator[PostOffice]:
    """Serve until the end of the block."""
    office, port = PostOffice(), free_port()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    locks: dict[str, Any] = {"authenticator": _knows, "auth_required": True, "auth_require_tls": not at_once}
    if not tls:
        locks = {}
    elif not at_once:
        locks |= {"tls_context": context, "require_starttls": True}
    ssl_context = context if at_once else None
    controller = Controller(office, hostname="127.0.0.1", port=port, ssl_context=ssl_context, **locks)
    controller.start()
    scheme, secret = ("smtps" if at_once else "smtp"), f"{USER}:{PASSWORD.replace(' ', '%20')}@" if tls else ""
    office.url = f"{scheme}://{secret}127.0.0.1:{port}"
    try:
        yield office
    finally:
        controller.stop()
