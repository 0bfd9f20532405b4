"""The operator's commands over the domain. They print one JSON line."""

import argparse
import asyncio
import secrets
import sys
from typing import Any

import asyncpg
import orjson

from core import duties
from core.clock import now
from core.crypto import KeyRing
from core.db import Database, Person, Tenant
from core.errors import InvalidInput
from core.ids import decode, encode
from core.settings import Settings
from core.wire import write_instant
from tenants.agencies.keys import authenticate, read_key
from tenants.agencies.schemas import WorkspaceCreate
from tenants.agencies.service import create_agency, create_workspace
from tenants.people.members import add_owner, read_email
from tenants.people.passwords import Passwords, require_good
from tenants.rights.closing import AGENCY_GRACE
from tenants.rights.erasing import KIND

MARK = """
update agencies set erase_at = $2 where (id = $1 or live_agency_id = $1)
  and exists (select from agencies where id = $1 and livemode) returning id
"""
PASSWORD_BYTES = 18
"""144 random bits, 24 characters: written down once, and changed by its owner."""


async def create(
    settings: Settings, name: str, workspace: str | None, time_zone: str, owner: str | None = None, password: str | None = None
) -> dict[str, Any]:
    """Create an agency with its first keys, its owner if there is an e-mail and, in test mode, a workspace.

    The keys are shown this once, and so is the password of a new owner when none was given.
    """
    room = None if workspace is None else WorkspaceCreate(name=workspace, time_zone=time_zone)
    if owner is not None:
        owner = read_email(owner)
    if owner is not None and password is not None:
        require_good("/password", password, names=tuple(owner.split("@")))
    database = Database(settings)
    ring = KeyRing(settings.encryption_keys.get_secret_value())
    try:
        async with database.session() as session:
            made = await create_agency(session, ring, name, now())
        answer: dict[str, Any] = {
            "agency": encode("agc", made.live_id), "test_agency": encode("agc", made.test_id),
            "live_key": made.live_key, "test_key": made.test_key,
        }  # fmt: skip
        if owner is not None:
            made_up = None if password else secrets.token_urlsafe(PASSWORD_BYTES)
            async with database.connection(Person()) as connection:
                ids = (made.live_id, made.test_id)
                user_id, new = await add_owner(connection, Passwords(), ids, owner, password or made_up, now())
            answer["owner"] = encode("usr", user_id)
            if new and made_up is not None:
                answer["owner_password"] = made_up
        if room is not None:
            key = read_key(made.test_key)
            async with database.connection(Tenant(key.agency_id)) as connection:
                actor = await authenticate(connection, key)
            async with database.session(actor.tenant) as session:
                row = await create_workspace(session, actor, room, now())
                answer["workspace"] = encode("wsp", row.id)
        return answer
    finally:
        await database.close()


async def erase(settings: Settings, agency: str, *, at_once: bool) -> dict[str, Any]:
    """Let an agency and its test data be erased, after the grace or at once: the workers do it. Raises ValueError, LookupError.

    What the application may not do, the owner of the tables does here: to leave the grace away.
    """
    id, moment = decode("agc", agency), now()
    erase_at = moment if at_once else moment + AGENCY_GRACE
    owner = await asyncpg.connect(settings.database_url)
    try:
        async with owner.transaction():
            await owner.execute("alter table agencies no force row level security")
            ids = [row["id"] for row in await owner.fetch(MARK, id, erase_at)]
            await owner.execute("alter table agencies force row level security")
    finally:
        await owner.close()
    if not ids:
        raise LookupError("there is no such live agency")
    database = Database(settings)
    try:
        for one in ids:
            async with database.connection(Tenant(one)) as db:
                await duties.put(db, KIND, one, [(one, erase_at, None)], moment)
    finally:
        await database.close()
    return {"agencies": [encode("agc", one) for one in ids], "erase_at": write_instant(erase_at)}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tenants")
    commands = parser.add_subparsers(dest="command", required=True)
    agency = commands.add_parser("create-agency", help="create an agency with its first keys")
    agency.add_argument("--name", required=True)
    agency.add_argument("--workspace", help="also create this workspace, in test mode")
    agency.add_argument("--time-zone", default="UTC")
    agency.add_argument("--owner-email", help="also make this person its owner, in both modes; a new one gets a password")
    agency.add_argument(
        "--password-stdin", action="store_true", help="read the new owner's password from the first line of the standard input"
    )
    gone = commands.add_parser("erase-agency", help="have an agency and its test data erased, when the grace is over")
    gone.add_argument("--agency", required=True, help="id of the live agency: agc_...")
    gone.add_argument("--at-once", action="store_true", help="without the grace, and without return")
    commands.add_parser("demo", help="fill the agency of .octavo/dev.env with a lively week")
    arguments = parser.parse_args()
    if arguments.command == "demo":
        from tenants.demo import fill

        fill()
        return
    if arguments.command == "erase-agency":
        try:
            told = asyncio.run(erase(Settings(), arguments.agency, at_once=arguments.at_once))
        except (LookupError, ValueError) as refusal:
            raise SystemExit(str(refusal)) from refusal
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
        return
    password = sys.stdin.readline().rstrip("\r\n") if arguments.password_stdin else None
    try:
        answer = asyncio.run(
            create(Settings(), arguments.name, arguments.workspace, arguments.time_zone, arguments.owner_email, password)
        )
    except InvalidInput as refusal:
        raise SystemExit(" ".join(fault.detail for fault in refusal.faults)) from refusal
    sys.stdout.write(orjson.dumps(answer).decode() + "\n")
