"""The state of the redirect kind, and the address that a person returns to.

A state is `<agency>.<session>.<random>`: the first two (base32 of the ids) say where to look, so that a callback without
a key can stamp its transaction; the last (256 random bits) is what must be known. Only the SHA-256 of it all is kept.
"""

import hashlib
import secrets
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID

from core.errors import Fault, InvalidInput, Malformed
from core.ids import decode_suffix, encode, suffix
from core.wire import PREFIXES

STATE_BYTES = 32
STATE_LENGTH_MAX = 128
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
CALLBACK_PATH = "/connect/callback/"
PAGE_PATH = "/connect/"


class State(NamedTuple):
    """A state that came back: where to look, and the digest to compare."""

    agency_id: UUID
    session_id: UUID
    digest: bytes


def write_state(agency_id: UUID, session_id: UUID) -> str:
    """Make a state for one session."""
    return f"{suffix(agency_id)}.{suffix(session_id)}.{secrets.token_urlsafe(STATE_BYTES)}"


def digest_state(text: str) -> bytes:
    """What is kept of a state."""
    return hashlib.sha256(text.encode()).digest()


def read_state(text: str | None) -> State:
    """Read a state. Raises Malformed `connect_state_invalid` for what `write_state` would not have written."""
    parts = text.split(".") if text is not None and len(text) <= STATE_LENGTH_MAX and text.isascii() else []
    try:
        agency, session, _ = parts
        return State(decode_suffix(agency), decode_suffix(session), digest_state(".".join(parts)))
    except ValueError as error:
        raise Malformed(code="connect_state_invalid") from error


def redirect_uri(public_url: str, network: str) -> str:
    """Where a network sends people back: an address of its own for each, so that their answers cannot be mixed up."""
    return public_url.rstrip("/") + CALLBACK_PATH + network


def link_address(public_url: str, text: str) -> str:
    """Where the page of a session is: its secret has the form of a state."""
    return public_url.rstrip("/") + PAGE_PATH + text


def check_return_url(url: str | None, *, development: bool) -> str | None:
    """Let an address pass that a person may be sent to: https without userinfo, or loopback in development."""
    if url is None:
        return None
    plain = all(character.isprintable() and character not in ' \\<>"' for character in url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        plain, host, parts = False, None, urlsplit("")
    bracketed = f"[{host}]" if host and ":" in host else host
    loopback = development and parts.scheme == "http" and bracketed in LOOPBACK
    if not plain or not host or "@" in parts.netloc or parts.fragment or not (parts.scheme == "https" or loopback):
        detail = "An https address without user, password and fragment is wanted."
        raise InvalidInput(faults=[Fault("/return_url", "url_not_allowed", detail)])
    return url


def return_address(url: str, session_id: UUID, state: str) -> str:
    """Add what the person comes back with."""
    parts = urlsplit(url)
    ours = {"connect_session": encode(PREFIXES["connect_session"], session_id), "state": state}
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in ours]
    return urlunsplit(parts._replace(query=urlencode(query + list(ours.items()))))
