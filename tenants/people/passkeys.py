"""Passkeys (WebAuthn Level 3, W3C): registering one, and signing in by one, beside the password or in its place.

A challenge is stored nowhere: it carries its time and an HMAC over itself and its purpose, which names the session that asked.
It counts for five minutes, and for a passkey only once: each passkey remembers the time of the last one it has answered.
"""

import secrets
from base64 import urlsafe_b64decode
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import webauthn
from webauthn.helpers import exceptions, structs

from core.crypto import same, sign
from core.db import Bare, Row
from core.errors import Conflict, Missing, Unprocessable
from core.ids import new_id
from tenants.people.house import House
from tenants.people.sessions import SignedIn

LIFETIME = timedelta(minutes=5)
"""WebAuthn recommends 5 to 10 minutes for the ceremony of registering."""
PASSKEYS_MAX = 20
TIME_BYTES, RANDOM_BYTES = 8, 24
TIMEOUT_MS = 300_000
MICROSECONDS = 1_000_000
REGISTER, SECOND, FIRST = "register", "second-factor", "sign-in"
LIST = "select id, name, credential_id, created_at, last_used_at from passkeys where user_id = $1 order by id"
READ = """
select id, public_key, sign_count, last_challenge_us from passkeys where user_id = $1 and credential_id = $2 for update
"""
INSERT = """
insert into passkeys (user_id, id, name, credential_id, public_key, sign_count, created_at) values ($1, $2, $3, $4, $5, $6, $7)
on conflict do nothing returning id
"""
"""Of one that is there already nothing comes back, and the transaction goes on: a page is still to be shown in it."""
USED = "update passkeys set sign_count = $3, last_challenge_us = $4, last_used_at = $5 where user_id = $1 and id = $2"
REMOVE = "delete from passkeys where user_id = $1 and id = $2 returning id"
REQUIRED, PREFERRED = structs.UserVerificationRequirement.REQUIRED, structs.UserVerificationRequirement.PREFERRED


class PasskeyInvalid(Unprocessable):
    """What the browser gave is no passkey for this service, or its challenge is not of this moment."""

    code = "passkey_invalid"


def make_challenge(house: House, purpose: str, now: datetime) -> bytes:
    """Make a challenge for one purpose."""
    begin = int(now.timestamp() * MICROSECONDS).to_bytes(TIME_BYTES, "big") + secrets.token_bytes(RANDOM_BYTES)
    return begin + sign(house.secret, f"passkey-{purpose}", begin)


def _time_of(house: House, purpose: str, challenge: bytes, now: datetime) -> int:
    begin = challenge[: TIME_BYTES + RANDOM_BYTES]
    if not same(challenge[len(begin) :], sign(house.secret, f"passkey-{purpose}", begin)):
        raise PasskeyInvalid
    at = int.from_bytes(begin[:TIME_BYTES], "big")
    age = now.timestamp() - at / MICROSECONDS
    if not 0 <= age <= LIFETIME.total_seconds():
        raise PasskeyInvalid
    return at


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str):
        raise PasskeyInvalid
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise PasskeyInvalid from error


def _part(credential: dict[str, Any], name: str) -> Any:
    response = credential.get("response")
    return response.get(name) if isinstance(response, dict) else None


def _challenge_in(credential: dict[str, Any]) -> bytes:
    try:
        told = orjson.loads(_bytes(_part(credential, "clientDataJSON")))
    except orjson.JSONDecodeError as error:
        raise PasskeyInvalid from error
    return _bytes(told.get("challenge") if isinstance(told, dict) else None)


async def list_passkeys(db: Bare, user_id: UUID) -> list[Row]:
    """The person's passkeys, oldest first."""
    rows: list[Row] = await db.fetch(LIST, user_id)
    return rows


def _known(rows: list[Row]) -> list[structs.PublicKeyCredentialDescriptor]:
    return [structs.PublicKeyCredentialDescriptor(id=row["credential_id"]) for row in rows]


async def registration_options(db: Bare, house: House, signed: SignedIn, now: datetime) -> dict[str, Any]:
    """Write what a browser needs to make a passkey that signs in by itself: it keeps the person, and asks who uses it."""
    made = webauthn.generate_registration_options(
        rp_id=house.host,
        rp_name="Octavo",
        user_id=signed.user_id.bytes,
        user_name=signed.email,
        user_display_name=signed.name,
        challenge=make_challenge(house, f"{REGISTER}-{signed.session_id}", now),
        timeout=TIMEOUT_MS,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.REQUIRED, user_verification=REQUIRED
        ),
        exclude_credentials=_known(await list_passkeys(db, signed.user_id)),
    )
    written: dict[str, Any] = orjson.loads(webauthn.options_to_json(made))
    return written


async def add_passkey(db: Bare, house: House, signed: SignedIn, name: str, credential: dict[str, Any], now: datetime) -> UUID:
    """Keep a passkey that the browser has made. Raises PasskeyInvalid, and Conflict for one that there is."""
    challenge = _challenge_in(credential)
    _time_of(house, f"{REGISTER}-{signed.session_id}", challenge, now)
    try:
        verified = webauthn.verify_registration_response(
            credential=credential, expected_challenge=challenge, expected_rp_id=house.host, expected_origin=house.origin,
            require_user_verification=True,
        )  # fmt: skip
    except (exceptions.WebAuthnException, ValueError, TypeError, KeyError) as error:
        raise PasskeyInvalid from error
    if len(await list_passkeys(db, signed.user_id)) >= PASSKEYS_MAX:
        raise Conflict(f"There are {PASSKEYS_MAX} passkeys already: remove one first.")
    id = new_id()
    values = (verified.credential_id, verified.credential_public_key, verified.sign_count, now)
    if await db.fetchval(INSERT, signed.user_id, id, name, *values) is None:
        raise Conflict("This passkey is there already.")
    return id


async def remove_passkey(db: Bare, user_id: UUID, passkey_id: UUID) -> None:
    """Remove a passkey. Raises Missing for one that is not the person's."""
    if await db.fetchval(REMOVE, user_id, passkey_id) is None:
        raise Missing


async def sign_in_options(db: Bare, house: House, waiting: SignedIn | None, now: datetime) -> dict[str, Any]:
    """Write what a browser needs to answer with a passkey: one of the person who `waiting` is, or whichever it has."""
    rows = [] if waiting is None else await list_passkeys(db, waiting.user_id)
    made = webauthn.generate_authentication_options(
        rp_id=house.host,
        challenge=make_challenge(house, _purpose(waiting), now),
        timeout=TIMEOUT_MS,
        allow_credentials=_known(rows) or None,
        user_verification=REQUIRED if waiting is None else PREFERRED,
    )
    written: dict[str, Any] = orjson.loads(webauthn.options_to_json(made))
    return written


def _purpose(waiting: SignedIn | None) -> str:
    return FIRST if waiting is None else f"{SECOND}-{waiting.session_id}"


def person_in(credential: dict[str, Any]) -> UUID:
    """Read of whom a passkey says that it is: its user handle, which we chose. Raises PasskeyInvalid."""
    handle = _bytes(_part(credential, "userHandle"))
    if len(handle) != len(UUID(int=0).bytes):
        raise PasskeyInvalid
    return UUID(bytes=handle)


async def check_passkey(
    db: Bare, house: House, user_id: UUID, waiting: SignedIn | None, credential: dict[str, Any], now: datetime
) -> bool:
    """Say whether it is an answer of one of the person's passkeys, given now and for the first time.

    Alone it must have asked who uses it. A counter that went back tells a copy, and is refused (WebAuthn section 6.1.1).
    """
    try:
        challenge = _challenge_in(credential)
        at = _time_of(house, _purpose(waiting), challenge, now)
        row = await db.fetchrow(READ, user_id, _bytes(credential.get("rawId", credential.get("id"))))
        if row is None or at <= row["last_challenge_us"]:
            return False
        verified = webauthn.verify_authentication_response(
            credential=credential, expected_challenge=challenge, expected_rp_id=house.host, expected_origin=house.origin,
            credential_public_key=row["public_key"], credential_current_sign_count=row["sign_count"],
            require_user_verification=waiting is None,
        )  # fmt: skip
    except (exceptions.WebAuthnException, PasskeyInvalid, ValueError, TypeError, KeyError):
        return False
    await db.execute(USED, user_id, row["id"], verified.new_sign_count, at, now)
    return True
