"""Rate limits: of each key, of each agency, and of refused keys for each client address.

A request is counted before anything is begun for it when its key was right a moment ago, and after the look-up of the key
otherwise: so who is over a limit costs no transaction, and nobody can use up the quota of an agency whose key he lacks.
Answers tell by `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10, read 2026-11).
"""

import hashlib
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil, floor
from typing import NamedTuple
from uuid import UUID

from limits import RateLimitItemPerMinute
from starlette.types import Scope

from core.errors import TooManyRequests
from core.settings import Settings
from core.windows import WINDOW_S, Windows
from tenants.agencies.keys import PresentedKey
from tenants.applications.tokens import PresentedToken
from tenants.people.members import PresentedMember
from tenants.people.sessions import PresentedSession

Caller = PresentedKey | PresentedToken | PresentedMember

FIELDS = "rate_limit"
"""Where the scope of a request keeps the two fields of its answer, for the edge to write."""
NAME_BYTES = 16
"""Of a key's hash: enough to tell keys apart, and nothing to find one by."""
HOLDERS_MAX = 100_000
"""Tokens whose holder a process remembers; then it begins anew, and looks each up once more."""
PASSWORDS = 5
"""For one account from one address in a minute: who mistypes has room, and who guesses gets 7,200 a day."""
PASSWORDS_IN_ALL = 20
"""Right ones and wrong ones, likewise: each costs a hash."""
JOINS = 5
"""For one invitation in a minute: each that makes an account costs a hash."""
LINKS = 120
"""For one share link in a minute: a page with its pictures, opened by some people at once."""
UNREADABLE = "unreadable"
IPV6_PREFIX = 64
"""One customer of a provider gets a network of this size (RFC 6177), so its addresses count as one."""


class Standing(NamedTuple):
    """What is left of a quota: `remaining` requests for the next `seconds`; when none is, in how many seconds there is one."""

    remaining: int
    seconds: int


def room(quota: int, before: int, left: float, count: int) -> int:
    """Count the requests that are free, from the counts of two windows and the seconds that are left of the second. Pure."""
    return quota - floor(before * left / WINDOW_S) - count


def standing(quota: int, before: int, left: float, count: int) -> Standing:
    """Say what is left, from the same. Pure."""
    remaining = room(quota, before, left, count)
    if remaining > 0:
        return Standing(remaining, ceil(left))
    if count < quota:  # the window before fades: at `quota - count` of its requests there is room for one
        return Standing(0, floor(left - (quota - count) * WINDOW_S / before) + 1)
    return Standing(0, floor(left + WINDOW_S - quota * WINDOW_S / count) + 1)


class Policies:
    """Quotas that are counted together, and the field that tells them."""

    def __init__(self, **quotas: int) -> None:
        self.items = [RateLimitItemPerMinute(quota, namespace=name) for name, quota in quotas.items()]
        self.field = ", ".join(f'"{name}";q={quota};w={WINDOW_S}' for name, quota in quotas.items())


class RateLimits:
    """The limits of one API process."""

    def __init__(self, settings: Settings) -> None:
        self.windows = Windows()
        self._callers = Policies(key=settings.rate_limit_key, agency=settings.rate_limit_agency)
        self._strangers = Policies(address=settings.rate_limit_address)
        self._people = Policies(key=settings.rate_limit_key)
        self._passwords = Policies(password=PASSWORDS, passwords=PASSWORDS_IN_ALL)
        self._joins = Policies(invitation=JOINS)
        self._applications = Policies(application=settings.rate_limit_key)
        self._holders: dict[bytes, bytes] = {}
        """Of tokens that were right a moment ago: under whom their requests count."""
        self._links = Policies(link=LINKS)

    def let_strangers(self, scope: Scope) -> None:
        """Refuse an address from which too many keys, cookies or passwords were wrong lately. Raises TooManyRequests."""
        address = _address(scope)
        strangers = self._strangers.items[0]
        if address is not None and room(strangers.amount, *self.windows.read(strangers.key_for(address))) <= 0:
            self._count(scope, self._strangers, (address,))

    def try_password(self, scope: Scope, email: str) -> None:
        """Count a password for an account, by where it comes from, before it is looked at. Raises TooManyRequests.

        By both, so that who hammers an account from one place does not shut its owner out elsewhere. Where no client's address
        is seen (development, or a proxy that is not trusted) all count as one place.
        """
        self.let_strangers(scope)
        self._count(scope, self._passwords, (_account(scope, email),) * 2)

    def password_was_right(self, scope: Scope, email: str) -> None:
        """Count the wrong passwords of this account from here from nothing again."""
        self.windows.forget(self._passwords.items[0].key_for(_account(scope, email)))
        scope.pop(FIELDS, None)

    def admit_person(self, scope: Scope, hash: bytes) -> None:
        """Count a request of a person in no agency's name. Raises TooManyRequests."""
        self._count(scope, self._people, (hash[:NAME_BYTES].hex(),))

    def admit_application(self, scope: Scope, id: UUID, *, proven: bool) -> None:
        """Count what an application asks of the authorization server. Raises TooManyRequests.

        One that has proven nothing, since it has no secret, counts by where it is: nobody uses it up for others.
        """
        name = id.hex if proven else hashlib.sha256(f"{id.hex} {_address(scope)}".encode()).hexdigest()
        self._count(scope, self._applications, (name[: 2 * NAME_BYTES],))

    def try_join(self, scope: Scope, hash: bytes) -> None:
        """Count what would make an account by an invitation, before the password is hashed. Raises TooManyRequests."""
        self._count(scope, self._joins, (hash[:NAME_BYTES].hex(),))

    def admit_link(self, scope: Scope, hash: bytes) -> None:
        """Count a request by a share link that is well formed, whether it lives or not. Raises TooManyRequests."""
        self._count(scope, self._links, (hash[:NAME_BYTES].hex(),))

    def enter(self, scope: Scope, key: PresentedKey | PresentedToken) -> None:
        """Count a request whose key was right a moment ago. Raises TooManyRequests, also where too many keys were wrong lately."""
        if isinstance(key, PresentedToken):
            key.holder = self._holders.get(key.hash, b"")
        if self.windows.knows(self._counter(key)):
            self.admit(scope, key)
            return
        self.let_strangers(scope)

    def enter_person(self, scope: Scope, session: PresentedSession) -> None:
        """Let a cookie pass that was right a moment ago, whatever else came from its address. Raises TooManyRequests."""
        if not self.windows.knows(self._counter(session)):
            self.let_strangers(scope)

    def admit(self, scope: Scope, key: Caller) -> None:
        """Count a request whose key is right, once. Raises TooManyRequests."""
        if isinstance(key, PresentedToken):
            if len(self._holders) >= HOLDERS_MAX:
                self._holders.clear()
            self._holders[key.hash] = key.holder
        if FIELDS not in scope:
            self._count(scope, self._callers, (_name(key), key.agency_id.hex))

    def refuse(self, scope: Scope, key: Caller | PresentedSession | None = None) -> None:
        """Count a request whose key or cookie is wrong. Raises TooManyRequests when there were too many from its address."""
        if isinstance(key, PresentedToken):  # others may count under the same holder: what they have used stays used
            self._holders.pop(key.hash, None)
            scope.pop(FIELDS, None)
        elif key is not None:  # it may have been right until now, and must not count for its agency any more
            self.windows.forget(self._counter(key))
            scope.pop(FIELDS, None)
        address = _address(scope)
        if address is not None:
            self._count(scope, self._strangers, (address,))

    def _counter(self, key: Caller | PresentedSession) -> str:
        return self._callers.items[0].key_for(_name(key))

    def _count(self, scope: Scope, policies: Policies, names: tuple[str, ...]) -> None:
        """Count under all of these or, when one of them is used up, under none."""
        items = policies.items
        keys = [item.key_for(name) for item, name in zip(items, names, strict=True)]
        seen = [self.windows.read(key) for key in keys]
        spent = [item.namespace for item, counts in zip(items, seen, strict=True) if room(item.amount, *counts) <= 0]
        if not spent:
            for key in keys:
                self.windows.add(key)
            seen = [(before, left, count + 1) for before, left, count in seen]
        told = [standing(item.amount, *counts) for item, counts in zip(items, seen, strict=True)]
        states = [f'"{item.namespace}";r={remaining};t={wait}' for item, (remaining, wait) in zip(items, told, strict=True)]
        scope[FIELDS] = policies.field, ", ".join(states)
        if spent:
            wait = max(one.seconds for one in told if not one.remaining)
            raise TooManyRequests(headers={"Retry-After": str(wait)}, violated_policies=spent)


def _name(key: Caller | PresentedSession) -> str:
    if isinstance(key, PresentedToken):
        return (key.holder or key.hash)[:NAME_BYTES].hex()
    return key.hash[:NAME_BYTES].hex()


def _account(scope: Scope, email: str) -> str:
    """Name an account and where it is tried from: no address book in the memory of a process, nor in a Redis."""
    return hashlib.sha256(f"{email} {_address(scope)}".encode()).hexdigest()[: 2 * NAME_BYTES]


def _address(scope: Scope) -> str | None:
    """Name the client's network; None for an address that is not public, since that is a proxy's, or of this house.

    What a trusted proxy hands on unread may be no address at all: all of these are one place.
    """
    try:
        address = ip_address(scope["client"][0])
    except (KeyError, TypeError):
        return None
    except ValueError:
        return UNREADABLE
    address = getattr(address, "ipv4_mapped", None) or address
    if not address.is_global:
        return None
    if isinstance(address, IPv6Address):
        return str(ip_network((address, IPV6_PREFIX), strict=False).network_address)
    return str(address)
