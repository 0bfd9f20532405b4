"""Where people are sent back to: compared character by character, but for the port of a loopback address."""

from collections.abc import Collection
from urllib.parse import urlsplit

LITERAL = frozenset({"127.0.0.1", "::1"})
"""A program on somebody's machine listens where there is room (RFC 8252 section 7.3). `localhost` is a name, and stays exact."""


def fits(uri: str, registered: Collection[str]) -> bool:
    """Say whether an application registered this address."""
    if uri in registered:
        return True
    rest = _without_port(uri)
    return rest is not None and rest in {_without_port(one) for one in registered}


def _without_port(uri: str) -> str | None:
    """Write a loopback address without its port; None for every other one."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme != "http" or parts.hostname not in LITERAL or not uri.isascii() or not uri.isprintable() or "#" in uri:
        return None
    host = "[::1]" if parts.hostname == "::1" else parts.hostname
    if parts.netloc != (host if port is None else f"{host}:{port}"):
        return None
    return f"http://{host}{uri[len('http://') + len(parts.netloc) :]}"
