"""The ways to sign in, and to show again that it is you: for the operations of the API and for the pages alike.

Whoever counts what it refuses does so in a transaction that ends before the refusal, and nothing slow happens inside of one.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import Request, Response

from api.rate_limits import RateLimits
from api.signed_in import place_of, remember_device, set_cookie
from core.clock import now
from core.db import Person
from tenants.people import codes, passkeys, resets, service
from tenants.people.credential_schemas import PasskeyCreate, Reauthentication, SecondFactor
from tenants.people.factors import after_adding
from tenants.people.links import RESET, LinkInvalid, read_link
from tenants.people.passkeys import PasskeyInvalid, person_in
from tenants.people.passwords import require_good
from tenants.people.schemas import SignIn
from tenants.people.service import Begun
from tenants.people.sessions import SignedIn, confirm, hold_signed, require_recent
from tenants.people.tries import Devices, count_code, forget_codes


async def by_password(request: Request, body: SignIn) -> Begun:
    """Begin a session for who knows the password; with a second factor it is half of one. Raises Refused, TooManyRequests.

    A wrong password and an e-mail that nobody has are answered alike, and as late.
    """
    state, limits = request.app.state, request.app.state.rate_limits
    email, place = body.email.strip().lower(), place_of(request)
    limits.try_password(request.scope, email)
    async with state.database.connection(Person()) as db:
        tried = await service.try_password(db, Devices(state.house.secret), email, place, now())
    fits, better = await state.passwords.verify(body.password.get_secret_value(), tried.hash)
    if tried.person is None or tried.hash is None or not fits:
        if tried.last:
            async with state.database.connection(Person()) as db:
                await resets.tell_of_closing(db, state.ring, email, now())
        limits.refuse(request.scope)
        raise service.Refused
    async with state.database.connection(Person(tried.person["id"])) as db:
        begun = await service.begin(db, tried.person, tried.hash, better, place, now())
    limits.password_was_right(request.scope, email)
    return begun


async def by_second_factor(request: Request, waiting: SignedIn, body: SecondFactor) -> Begun:
    """Complete half a session. Raises Refused, and TooManyRequests while there is a pause after wrong codes."""
    state = request.app.state
    factor, answer = await _counted(request, waiting, body)
    try:
        async with state.database.connection(Person(waiting.user_id)) as db:
            return await service.complete(db, state.house, waiting, factor, answer, place_of(request), now())
    except service.Refused:
        state.rate_limits.refuse(request.scope)
        raise


async def by_passkey(request: Request, passkey: dict[str, Any]) -> Begun:
    """Begin a session for who answers with a passkey alone. Raises Refused, TooManyRequests."""
    state, limits = request.app.state, request.app.state.rate_limits
    limits.let_strangers(request.scope)
    try:
        user_id = person_in(passkey)
        async with state.database.connection(Person(user_id)) as db:
            return await service.begin_by_passkey(db, state.house, user_id, passkey, place_of(request), now())
    except (service.Refused, PasskeyInvalid) as error:
        limits.refuse(request.scope)
        raise service.Refused from error


def give_session(request: Request, response: Response, begun: Begun) -> None:
    """Give the browser its session; one that is through is remembered."""
    set_cookie(response, request.app.state.settings, begun.text)
    if not begun.factors and begun.bound is None:
        remember_device(request, response, begun.person["id"], begun.person["changed_at"])


async def show_again(request: Request, signed: SignedIn, body: Reauthentication) -> None:
    """Take a password or a second factor of who is signed in. Raises Refused, TooManyRequests."""
    state = request.app.state
    if body.password is not None:
        await require_password(request, signed, body.password.get_secret_value())
        async with state.database.connection(Person(signed.user_id)) as db:
            await confirm(db, signed, now())
        return
    factor, answer = await _counted(request, signed, body)
    async with state.database.connection(Person(signed.user_id)) as db:
        if not await service.is_right(db, state.house, signed, factor, answer, now()):
            raise service.Refused
        await forget_codes(db, signed.user_id, signed.bound_to)
        await confirm(db, signed, now())


async def _counted(request: Request, who: SignedIn, body: SecondFactor | Reauthentication) -> tuple[str, Any]:
    """Read which factor is given. A code is counted before it is looked at."""
    ((factor, answer),) = ((name, value) for name, value in body if value is not None)
    if factor == "passkey":
        return factor, answer
    await count(request, who)
    return factor, answer.get_secret_value()


async def count(request: Request, who: SignedIn) -> None:
    """Count a code. Raises TooManyRequests."""
    async with request.app.state.database.connection(Person(who.user_id)) as db:
        await count_code(db, who.user_id, who.bound_to, now())


async def confirm_app(request: Request, signed: SignedIn, code: str) -> tuple[list[str] | None, str | None]:
    """Let an app count by its first code. Returns what `after_adding` does. Raises Refused, TooManyRequests."""
    state = request.app.state
    require_recent(signed, now())
    await count(request, signed)
    async with state.database.connection(Person(signed.user_id)) as db:
        signed = await hold_signed(db, signed)
        if not await codes.check_app(db, state.house, signed.user_id, code, now(), confirmed=False):
            raise service.Refused
        await forget_codes(db, signed.user_id, signed.bound_to)
        await codes.confirm_app(db, signed.user_id, now())
        return await after_adding(db, state.house, signed, now())


async def add_passkey(
    request: Request, signed: SignedIn, body: PasskeyCreate, moment: datetime
) -> tuple[UUID, list[str] | None, str | None]:  # fmt: skip
    """Keep a passkey that the browser has made. Returns its id, and what `after_adding` does. Raises PasskeyInvalid, Conflict."""
    state = request.app.state
    require_recent(signed, moment)
    async with state.database.connection(Person(signed.user_id)) as db:
        signed = await hold_signed(db, signed)
        id = await passkeys.add_passkey(db, state.house, signed, body.name, body.passkey, moment)
        return id, *await after_adding(db, state.house, signed, moment)


async def require_password(request: Request, signed: SignedIn, password: str) -> str:
    """Look at a password of who is signed in. Returns its hash. Raises Refused, TooManyRequests."""
    state = request.app.state
    limits: RateLimits = state.rate_limits
    limits.try_password(request.scope, signed.email)
    async with state.database.connection(Person(signed.user_id)) as db:
        hash = await service.try_own_password(db, signed, now())
    fits, _ = await state.passwords.verify(password, hash)
    if hash is None or not fits:
        raise service.Refused
    async with state.database.connection(Person(signed.user_id)) as db:
        await service.own_password_was_right(db, signed)
    limits.password_was_right(request.scope, signed.email)
    return hash


async def change_password(request: Request, response: Response, signed: SignedIn, current: str, new: str) -> None:
    """Change the password of who is signed in, and give its browser a new text. Raises Refused, InvalidInput."""
    state = request.app.state
    before = await require_password(request, signed, current)
    require_good("/new_password", new, names=(signed.name, *signed.email.split("@")))
    after = await state.passwords.hash(new)
    async with state.database.connection(Person(signed.user_id)) as db:
        moment = now()
        text = await service.change_password(db, state.house, signed, before, after, moment)
    set_cookie(response, state.settings, text)
    remember_device(request, response, signed.user_id, moment)


async def ask_for_reset(request: Request, email: str) -> None:
    """Send a link for a new password to whoever has this e-mail. Raises TooManyRequests."""
    limits: RateLimits = request.app.state.rate_limits
    limits.let_strangers(request.scope)
    limits.refuse(request.scope)  # each counts as a wrong key does: nobody needs many
    async with request.app.state.database.connection(Person()) as db:
        await resets.ask_for_reset(db, request.app.state.ring, email, now())


async def reset_password(request: Request, token: str, new: str) -> None:
    """Store a new password by a link. Raises LinkInvalid, InvalidInput, TooManyRequests."""
    state = request.app.state
    user_id, id = link_of(request, RESET, token)
    async with state.database.connection(Person(user_id)) as db:
        await resets.look_at_reset(db, user_id, id, new, now())
    hash = await state.passwords.hash(new)
    async with state.database.connection(Person(user_id)) as db:
        await resets.reset(db, state.house, user_id, id, hash, now())


def link_of(request: Request, purpose: str, token: str) -> tuple[UUID, UUID]:
    """Read a link; one that is none counts against its address. Raises LinkInvalid, TooManyRequests."""
    limits: RateLimits = request.app.state.rate_limits
    limits.let_strangers(request.scope)
    try:
        return read_link(request.app.state.house.secret, purpose, token)
    except LinkInvalid:
        limits.refuse(request.scope)
        raise
