"""Codes for the second step of signing in: those of an authenticator app (RFC 6238), and those of recovery.

The secret of an app must be read again, so it is sealed with the person's own data key, which the ring wraps as it wraps an
agency's: people belong to no agency. Its place is that of every sealed value: owner, table, row and column, where the owner and
the row are the person. A code of an app works once: the step of the last one is kept. Codes of recovery are kept as an HMAC.
"""

import secrets
from datetime import datetime
from uuid import UUID

import pyotp

from core.crypto import new_data_key, same, seal, sign, unseal
from core.db import Bare, Row
from core.errors import Conflict, Missing
from core.ids import ALPHABET
from tenants.people.house import House
from tenants.people.sessions import SignedIn

STEP_S = 30
DRIFT = (0, -1, 1)
"""Steps that an app's clock may be off (RFC 6238 section 5.2 advises one)."""
CODES = 10
GROUPS, GROUP = 3, 5
"""Fifteen characters of base32 are 75 bits: no slow hash is needed."""
READ_ALIKE = str.maketrans("oil", "011", "- ")
PLACE = ("totp_factors", "sealed")
WRAPPED = "select wrapped from user_keys where user_id = $1"
ADD_KEY = "insert into user_keys (user_id, wrapped) values ($1, $2) on conflict (user_id) do nothing"
READ = "select sealed, confirmed_at, last_step from totp_factors where user_id = $1 for update"
ADD = """
insert into totp_factors (user_id, sealed, created_at) values ($1, $2, $3)
on conflict (user_id) do update set sealed = excluded.sealed, created_at = excluded.created_at, last_step = 0
where totp_factors.confirmed_at is null
returning user_id
"""
STEP = "update totp_factors set last_step = $2 where user_id = $1"
CONFIRM = "update totp_factors set confirmed_at = $2 where user_id = $1"
REMOVE = "delete from totp_factors where user_id = $1 and confirmed_at is not null returning user_id"
CLEAR_CODES = "delete from recovery_codes where user_id = $1"
ADD_CODES = "insert into recovery_codes (user_id, hash) select $1, unnest($2::bytea[])"
USE_CODE = "update recovery_codes set used_at = $3 where user_id = $1 and hash = $2 and used_at is null returning user_id"


async def data_key(db: Bare, house: House, user_id: UUID) -> bytes:
    """Open the person's data key, which is made when it is first needed. Raises SealBroken when the ring does not open it."""
    if await db.fetchval(WRAPPED, user_id) is None:
        await db.execute(ADD_KEY, user_id, house.ring.wrap(user_id, new_data_key()))
    return house.ring.unwrap(user_id, await db.fetchval(WRAPPED, user_id))


async def begin_app(db: Bare, house: House, signed: SignedIn, now: datetime) -> tuple[str, str]:
    """Make the secret of an app. Returns it, and as the address that a QR code holds. Raises Conflict beside one that counts.

    Until a code of it was given it may be made anew, and counts for nothing.
    """
    secret = pyotp.random_base32()
    key = await data_key(db, house, signed.user_id)
    sealed = seal(key, secret.encode(), signed.user_id, PLACE[0], signed.user_id, PLACE[1])
    if await db.fetchval(ADD, signed.user_id, sealed, now) is None:
        raise Conflict("There is an app already: remove it first.")
    return secret, _address(secret, signed)


async def pending_app(db: Bare, house: House, signed: SignedIn) -> tuple[str, str]:
    """Read the secret of an app that waits for its first code, and its address. Raises Missing when none waits."""
    row: Row | None = await db.fetchrow(READ, signed.user_id)
    if row is None or row["confirmed_at"] is not None:
        raise Missing
    key, id = await data_key(db, house, signed.user_id), signed.user_id
    secret = unseal(key, row["sealed"], id, PLACE[0], id, PLACE[1]).decode()
    return secret, _address(secret, signed)


def _address(secret: str, signed: SignedIn) -> str:
    return pyotp.TOTP(secret).provisioning_uri(name=signed.email, issuer_name="Octavo")


async def check_app(db: Bare, house: House, user_id: UUID, code: str, now: datetime, *, confirmed: bool = True) -> bool:
    """Say whether a code is one of the person's app, and has not been used. A right one is used by it."""
    row: Row | None = await db.fetchrow(READ, user_id)
    if row is None or (row["confirmed_at"] is not None) != confirmed:
        return False
    secret = unseal(await data_key(db, house, user_id), row["sealed"], user_id, PLACE[0], user_id, PLACE[1]).decode()
    app, step, given = pyotp.TOTP(secret), int(now.timestamp()) // STEP_S, code.replace(" ", "").encode()
    fitting = [step + off for off in DRIFT if same(app.generate_otp(step + off).encode(), given)]
    fresh = [one for one in fitting if one > row["last_step"]]
    if not fresh:
        return False
    await db.execute(STEP, user_id, fresh[0])
    return True


async def confirm_app(db: Bare, user_id: UUID, now: datetime) -> None:
    """Let the app count from now on."""
    await db.execute(CONFIRM, user_id, now)


async def remove_app(db: Bare, user_id: UUID) -> None:
    """Remove the app. Raises Missing when there is none that counts."""
    if await db.fetchval(REMOVE, user_id) is None:
        raise Missing


def _hash(house: House, user_id: UUID, code: str) -> bytes:
    return sign(house.secret, "recovery-code", user_id.bytes + code.lower().translate(READ_ALIKE).encode())


async def make_codes(db: Bare, house: House, user_id: UUID) -> list[str]:
    """Make new codes of recovery; those before end. Returns their texts, which are stored nowhere."""
    made = ["-".join("".join(secrets.choice(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS)) for _ in range(CODES)]
    await db.execute(CLEAR_CODES, user_id)
    await db.execute(ADD_CODES, user_id, [_hash(house, user_id, one) for one in made])
    return made


async def renew_codes(db: Bare, house: House, signed: SignedIn) -> list[str]:
    """Make new codes for who has a second factor. Raises Conflict otherwise."""
    if not signed.has_second_factor:
        raise Conflict("There is no second factor that they could stand for.")
    return await make_codes(db, house, signed.user_id)


async def clear_codes(db: Bare, user_id: UUID) -> None:
    """End all codes of recovery."""
    await db.execute(CLEAR_CODES, user_id)


async def use_code(db: Bare, house: House, user_id: UUID, code: str, now: datetime) -> bool:
    """Say whether it is a code of recovery that was not used. A right one is used by it."""
    return await db.fetchval(USE_CODE, user_id, _hash(house, user_id, code), now) is not None
