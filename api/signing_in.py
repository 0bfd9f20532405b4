"""Signing in by a password, for the operation of the API and for the page alike."""

from fastapi import Request

from core.clock import now
from core.db import Person
from tenants.people import service
from tenants.people.schemas import SignIn
from tenants.people.service import Begun

ONLY_ADDRESS_LENGTH_MAX = 45


def where_from(request: Request) -> tuple[str | None, str]:
    """Say from which address and with which browser somebody signs in."""
    address = request.client.host[:ONLY_ADDRESS_LENGTH_MAX] if request.client else None
    return address, request.headers.get("user-agent", "")


async def by_password(request: Request, body: SignIn) -> Begun:
    """Begin a session for who knows the password. Raises Refused, TooManyRequests.

    A wrong password and an e-mail that nobody has are answered alike, and as late.
    """
    state, limits = request.app.state, request.app.state.rate_limits
    email = body.email.strip().lower()
    limits.try_password(request.scope, email)
    async with state.database.connection(Person()) as db:
        person, hash = await service.known_hash(db, email)
    fits, better = await state.passwords.verify(body.password.get_secret_value(), hash)
    if person is None or hash is None or not fits:
        limits.refuse(request.scope)
        raise service.Refused
    address, agent = where_from(request)
    async with state.database.connection(Person(person["id"])) as db:
        begun = await service.begin(db, person, hash, better, address=address, user_agent=agent, now=now())
    limits.password_was_right(request.scope, email)
    return begun
