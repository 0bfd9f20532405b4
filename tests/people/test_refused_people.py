"""What no permission opens, a person's own: tried by everybody who is not that person."""

import httpx2
from fastapi import FastAPI

from core.db import Database, Person
from core.ids import encode, new_id
from tests.conftest import TestAgency, client_of
from tests.people.credentials import PUBLIC, Device, add_passkey
from tests.people.people import browser, join, make_person, signed_in
from tests.walls.slots import Operation, operations

OPEN = {
    "sign_in_by_passkey", "begin_sign_in_by_passkey", "sign_in", "look_at_invitation", "join_by_invitation", "begin_sign_on",
    "confirm_email", "request_password_reset", "confirm_password_reset", "open_shared", "open_shared_media",
}  # fmt: skip
"""Who nobody knows yet may ask this. What he gives decides, and here it is made up."""
ANSWERED = {"begin_sign_in_by_passkey": 200, "request_password_reset": 202}
"""What is answered alike to everybody: a challenge, and a mail that goes out or does not."""
TABLES = ("users", "passwords", "sessions", "passkeys", "totp_factors", "recovery_codes")
ORDER = ("GET", "POST", "PUT", "DELETE")
ENDS = "sign_out"


async def rows_of(database: Database, user_id: object) -> dict[str, list[str]]:
    """Everything that is a person's."""
    async with database.connection(Person(user_id)) as db:  # type: ignore[arg-type]  # a UUID
        return {table: sorted(row[0] for row in await db.fetch(f"select t::text from {table} t")) for table in TABLES}


async def ask(client: httpx2.AsyncClient, operation: Operation, ids: dict[str, str]) -> httpx2.Response:
    """Send the operation with somebody's ids."""
    return await client.request(operation.method, operation.fill(ids), json=operation.body(ids))


async def test_what_is_a_persons_own_is_refused_to_everybody_else(
    app: FastAPI, database: Database, agency: TestAgency, other: TestAgency
) -> None:
    # Given a person with a passkey and a session
    victim = await make_person(database, "victim@first.example")
    await join(database, agency, victim, "owner")
    home = await signed_in(app, database, victim, agency)
    assert (await add_passkey(home, Device(PUBLIC))).status_code == 201
    passkey = (await home.get("/v1/me/second-factors")).json()["passkeys"][0]["id"]
    session = (await home.get("/v1/sessions")).json()["data"][0]["id"]
    nobody = {prefix: encode(prefix, new_id()) for prefix in ("agc", "idp", "ast", "asv")}
    ids = nobody | {"psk": passkey, passkey[:3]: passkey, "ses": session}
    before = await rows_of(database, victim)
    known = sorted(operations(app.openapi(), own=True), key=lambda one: (one.id == ENDS, ORDER.index(one.method)))
    assert {one.id for one in known} > OPEN
    # When nobody, a key and a member of another agency try everything
    robber = await make_person(database, "robber@second.example")
    await join(database, other, robber, "owner")
    callers = {
        "nobody": browser(app),
        "a key": client_of(app, agency.key),
        "a key of another agency": client_of(app, other.key),
        "a member of another agency": await signed_in(app, database, robber, agency),
    }
    surprises, tried = [], 0
    for name, client in callers.items():
        for operation in known:
            answer = await ask(client, operation, ids)
            status, tried = answer.status_code, tried + 1
            if operation.id in OPEN:
                right = status == ANSWERED.get(operation.id) or (400 <= status < 500 and operation.id not in ANSWERED)
            elif name != "a member of another agency":
                right = status == 401
            elif operation.of("path"):
                right = status == 404
            else:
                right = status < 500  # it is the caller's own
            if not right:
                surprises.append(f"{name} {operation.id}: {status} {answer.text[:150]}")
        await client.aclose()
    # Then nobody is let in, nothing breaks, and the person has what it had
    assert surprises == []
    assert tried == len(known) * len(callers)
    assert await rows_of(database, victim) == before
    await home.aclose()
