"""The one guard for addresses that come from outside: servers that people name, media by URL, webhooks.

Two walls. `check_url` reads an address once, by one grammar, and says no to everything that is not plainly a public
HTTPS address. `GuardedResolver` looks a name up when a connection is made, refuses it when any of its addresses is not
public, and hands the connector the very addresses it checked: what a name means later (DNS rebinding) cannot matter,
while SNI and Host stay the name.
"""

import asyncio
import re
import socket
import unicodedata
from collections.abc import Awaitable, Callable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

import idna
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

Reason = Literal["url_scheme", "url_not_allowed", "blocked_address"]
Address = IPv4Address | IPv6Address
Lookup = Callable[[str, int], Awaitable[list[str]]]

URL_LENGTH_MAX = 2_048
HOST_LENGTH_MAX = 253
"""RFC 1035, section 2.3.4, written without the last dot (read 2026-11)."""
HTTPS_PORT = 443
CHECKED_URLS_KEPT = 4_096

SPLIT = re.compile(r"(?i)([a-z][a-z0-9+.-]*)://([^/?#]*)")
AUTHORITY = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:@%\\]+)(?::([0-9]{1,5}))?")
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label like this makes the whole host an IPv4 address (WHATWG URL, "ends in a number", read 2026-11)."""
LOOK_ALIKE = ("LATIN", "CYRILLIC", "GREEK")
"""Scripts with letters that look the same: no registry sells a label that mixes them."""

INNER_NAMES = ("localhost", "local", "internal", "home.arpa", "onion", "invalid")
"""Special-use and cloud-internal names (IANA special-use domain names; .internal by ICANN, 2024; read 2026-11)."""
BLOCKED_V4 = tuple(
    IPv4Network(one)
    for one in (
        "100.64.0.0/10",  # carrier-grade NAT, RFC 6598; metadata of Alibaba Cloud lives here
        "192.0.0.0/24",  # IETF protocol assignments; metadata of Oracle Cloud (192.0.0.192)
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "168.63.129.16/32",  # Azure's host, public by number only
    )
)
NAT64 = IPv6Network("64:ff9b::/96")
NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
COMPATIBLE = IPv6Network("::/96")


class UrlNotAllowed(ValueError):
    """An address that we do not call. `reason` is stable and may be shown; the text says what is wrong."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


def check_url(url: str, *, allow_loopback: bool = False) -> URL:
    """Read a URL from outside and return it in the form to call.

    HTTPS on port 443 to a public name or address; with `allow_loopback` also http, other ports and loopback. Names are
    not looked up here. Raises UrlNotAllowed.
    """
    return _checked(url, allow_loopback)


@lru_cache(maxsize=CHECKED_URLS_KEPT)
def _checked(url: str, allow_loopback: bool) -> URL:
    split = SPLIT.match(url)
    scheme = split[1].lower() if split else ""
    if split is None or scheme not in {"https", "http"}:
        raise UrlNotAllowed("url_scheme", "The address must begin with https://.")
    if len(url) > URL_LENGTH_MAX or not url.isprintable() or " " in url or "\\" in url:
        raise UrlNotAllowed("url_not_allowed", "The address is too long or holds characters that no address has.")
    authority = AUTHORITY.fullmatch(split[2])
    if authority is None:
        raise UrlNotAllowed("url_not_allowed", "The address must name a host, without user, password or escapes.")
    host = _check_host(authority[1], allow_loopback)
    if scheme == "http" and not allow_loopback:
        raise UrlNotAllowed("url_scheme", "The address must begin with https://.")
    port = int(authority[2]) if authority[2] else (HTTPS_PORT if scheme == "https" else 80)
    if not (port == HTTPS_PORT or (allow_loopback and 0 < port <= 65_535)):
        raise UrlNotAllowed("url_not_allowed", "The address must use port 443.")
    return _parsed(url, host, port)


def _parsed(url: str, host: str, port: int) -> URL:
    """Parse with the parser that the client uses, and insist that it sees what the guard saw."""
    try:
        parsed = URL(url)
        same = (parsed.raw_host, parsed.port, parsed.user) == (host, port, None)
    except ValueError:
        same = False
    if not same:
        raise UrlNotAllowed("url_not_allowed", "The address is ambiguous.")
    return parsed.with_fragment(None)


def _check_host(text: str, allow_loopback: bool) -> str:
    """Check the host of a URL and return it as it goes on the wire."""
    if text.startswith("["):
        return str(_check_literal(text[1:-1], allow_loopback))
    host = _ascii_host(text.lower())
    labels = host.split(".")
    if len(host) > HOST_LENGTH_MAX or not all(LABEL.fullmatch(one) for one in labels):
        raise UrlNotAllowed("url_not_allowed", "The address does not name a valid host.")
    if NUMBER.fullmatch(labels[-1]):
        return str(_check_literal(host, allow_loopback))
    if allow_loopback and labels[-1] == "localhost":
        return host
    if len(labels) == 1 or any(host == one or host.endswith("." + one) for one in INNER_NAMES):
        raise UrlNotAllowed("url_not_allowed", "The address names a host that is not public.")
    return host


def _ascii_host(host: str) -> str:
    try:
        # strict IDNA 2008: what would first have to be mapped to something else (full-width forms, say) is refused
        plain = idna.encode(host).decode() if not host.isascii() else host
        shown = idna.decode(plain) if "xn--" in plain else host
    except UnicodeError as error:
        raise UrlNotAllowed("url_not_allowed", "The address does not name a valid host.") from error
    if not shown.isascii() and any(_mixes_scripts(label) for label in shown.split(".")):
        raise UrlNotAllowed("url_not_allowed", "The address mixes scripts that look alike.")
    return plain


def _mixes_scripts(label: str) -> bool:
    names = [unicodedata.name(one, "") for one in label if one.isalpha()]
    return sum(any(name.startswith(script) for name in names) for script in LOOK_ALIKE) > 1


def _check_literal(text: str, allow_loopback: bool) -> Address:
    try:
        address = ip_address(text)
    except ValueError as error:
        raise UrlNotAllowed("url_not_allowed", "The address names a host by an unusual number.") from error
    if not is_allowed(address, allow_loopback=allow_loopback):
        raise UrlNotAllowed("url_not_allowed", "The address is not public.")
    return address


# --- addresses -----------------------------------------------------------------------------------------------------


def is_allowed(address: Address, *, allow_loopback: bool = False) -> bool:
    """Say whether we may connect to an IP address: public, in itself and in every address wrapped in it."""
    if isinstance(address, IPv4Address):
        if address.is_loopback:
            return allow_loopback
        return _public(address) and not any(address in network for network in BLOCKED_V4)
    if address == IPv6Address("::1"):
        return allow_loopback
    mapped = address.ipv4_mapped
    if mapped is not None:
        return is_allowed(mapped, allow_loopback=allow_loopback)
    if address in COMPATIBLE or address in NAT64_LOCAL or address.is_site_local or address.scope_id:
        return False
    # a wrapped loopback is another machine's loopback: never ours to call
    return _public(address) and all(is_allowed(one) for one in _wrapped(address))


def _public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_unspecified


def _wrapped(address: IPv6Address) -> Iterator[IPv4Address]:
    if address in NAT64:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


# --- names ---------------------------------------------------------------------------------------------------------


async def look_up(host: str, port: int) -> list[str]:
    """Ask the system for every address of a name, v4 and v6. Raises OSError when there is none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class GuardedResolver(AbstractResolver):
    """Resolver for aiohttp that lets a name through only when all its addresses are allowed.

    The connector connects to exactly the addresses that are returned here and asks nobody again.
    """

    def __init__(self, *, allow_loopback: bool = False, lookup: Lookup = look_up) -> None:
        self._allow_loopback = allow_loopback
        self._lookup = lookup

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """Resolve and check. Raises OSError for a name without address, UrlNotAllowed for one with a blocked one."""
        addresses = [ip_address(text) for text in await self._lookup(host, port)]
        if not addresses:
            raise OSError(f"{host} has no address")
        if not all(is_allowed(one, allow_loopback=self._allow_loopback) for one in addresses):
            raise UrlNotAllowed("blocked_address", f"{host} leads to an address that is not public.")
        return [
            ResolveResult(
                hostname=host,
                host=str(one),
                port=port,
                family=socket.AF_INET if one.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for one in addresses
        ]

    async def close(self) -> None:
        """Hold nothing, close nothing."""


async def check_destination(url: str, *, allow_loopback: bool = False, lookup: Lookup = look_up) -> URL:
    """Check a URL and, once, where its name leads now: for the moment when somebody enters it.

    Raises UrlNotAllowed; OSError when the name has no address. The connection itself is checked again when it is made.
    """
    parsed = check_url(url, allow_loopback=allow_loopback)
    host = str(parsed.raw_host)
    if ":" not in host and not NUMBER.fullmatch(host.rpartition(".")[2]):
        await GuardedResolver(allow_loopback=allow_loopback, lookup=lookup).resolve(host, parsed.port or HTTPS_PORT)
    return parsed
