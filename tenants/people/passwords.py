"""Passwords: what a new one must be, and their slow hashes, made in threads so that the event loop never waits for one.

argon2id with the least parameters of OWASP's Password Storage Cheat Sheet (19 MiB, 2 rounds, 1 lane; read 2026-11): 29 ms a
look here, and 19 MiB each. When the parameters grow, whoever signs in gets a new hash.
"""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from core.errors import Fault, InvalidInput, TemporarilyUnavailable

MEMORY_KIB, ROUNDS, LANES = 19_456, 2, 1
LENGTH_MIN = 15
"""NIST SP 800-63B-4 section 3.1.1.2: at least 15 characters where the password is the only factor (8 beside a second one)."""
LENGTH_MAX = 128
"""The same section asks for at least 64 to be taken; the end keeps a hash from costing more than it should."""
DISTINCT_MIN = 6
"""Fewer different characters than this are a pattern and no password."""
AT_ONCE = 4
"""Hashes in work at a time in one process: 76 MiB, and no more cores than an API process can spare."""
WAITING_MAX = 64
"""Beyond this many waiting, two seconds of work, one more is told to come again."""
Result = TypeVar("Result")
_HASHER = PasswordHash((Argon2Hasher(time_cost=ROUNDS, memory_cost=MEMORY_KIB, parallelism=LANES),))


@cache
def _nobodys() -> str:
    """A hash that no password fits: looked at for who does not exist, so that the time tells nothing."""
    return _HASHER.hash(secrets.token_urlsafe(32))


def normal(password: str) -> str:
    """Bring a password to one form of Unicode (NFC), whichever keyboard wrote it, as the same section advises."""
    return unicodedata.normalize("NFC", password)


def require_good(pointer: str, password: str, *, names: tuple[str, ...] = ()) -> None:
    """Refuse a new password that is short, a pattern, or made of the person's own names. No rules of composition, no expiry."""
    text = normal(password)
    if len(text) < LENGTH_MIN:
        _refuse(pointer, f"At least {LENGTH_MIN} characters: several words are easy to keep in mind.")
    if len(set(text)) < DISTINCT_MIN:
        _refuse(pointer, "It repeats a few characters only.")
    rest = text.casefold()
    for name in ("octavo", "password", *names):
        rest = rest.replace(name.casefold(), "") if name else rest
    if len(rest) < LENGTH_MIN // 2:
        _refuse(pointer, "It is made of names that others can guess.")


def _refuse(pointer: str, detail: str) -> None:
    raise InvalidInput(faults=[Fault(pointer, "validation_failed", detail)])


def _look(password: str, hash: str) -> tuple[bool, str | None]:
    try:
        return _HASHER.verify_and_update(password, hash)
    except UnknownHashError:
        return False, None


class Passwords:
    """The hashing of one process: bounded, and never in the event loop."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def _run(self, work: Callable[..., Result], *arguments: str) -> Result:
        if self._waiting >= WAITING_MAX:
            raise TemporarilyUnavailable(headers={"Retry-After": "2"})
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self._waiting -= 1

    async def hash(self, password: str) -> str:
        """Hash a new password."""
        return await self._run(_HASHER.hash, normal(password))

    async def verify(self, password: str, hash: str | None) -> tuple[bool, str | None]:
        """Say whether it fits, and the new hash if the stored one is weaker than today's. None fits nothing, and takes as long."""
        fits, better = await self._run(lambda text, known: _look(text, known or _nobodys()), normal(password), hash or "")
        return (fits, better) if hash is not None else (False, None)
