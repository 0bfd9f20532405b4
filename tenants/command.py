"""The operator's commands over the domain. They print one JSON line."""

import argparse
import asyncio
import sys
from typing import Any

import orjson

from core.clock import now
from core.crypto import KeyRing
from core.db import Database, Tenant
from core.ids import encode
from core.settings import Settings
from tenants.agencies.keys import authenticate, read_key
from tenants.agencies.schemas import WorkspaceCreate
from tenants.agencies.service import create_agency, create_workspace


async def create(settings: Settings, name: str, workspace: str | None, time_zone: str) -> dict[str, Any]:
    """Create an agency with its first keys and, in test mode, a workspace. The keys are shown this once."""
    database = Database(settings)
    ring = KeyRing(settings.encryption_keys.get_secret_value())
    try:
        async with database.session() as session:
            made = await create_agency(session, ring, name, now())
        answer: dict[str, Any] = {
            "agency": encode("agc", made.live_id), "test_agency": encode("agc", made.test_id),
            "live_key": made.live_key, "test_key": made.test_key,
        }  # fmt: skip
        if workspace is not None:
            key = read_key(made.test_key)
            async with database.connection(Tenant(key.agency_id)) as connection:
                actor = await authenticate(connection, key)
            async with database.session(actor.tenant) as session:
                row = await create_workspace(session, actor, WorkspaceCreate(name=workspace, time_zone=time_zone), now())
                answer["workspace"] = encode("wsp", row.id)
        return answer
    finally:
        await database.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tenants")
    commands = parser.add_subparsers(dest="command", required=True)
    agency = commands.add_parser("create-agency", help="create an agency with its first keys")
    agency.add_argument("--name", required=True)
    agency.add_argument("--workspace", help="also create this workspace, in test mode")
    agency.add_argument("--time-zone", default="UTC")
    commands.add_parser("demo", help="fill the agency of .octavo/dev.env with a lively week")
    arguments = parser.parse_args()
    if arguments.command == "demo":
        from tenants.demo import fill

        fill()
        return
    answer = asyncio.run(create(Settings(), arguments.name, arguments.workspace, arguments.time_zone))
    sys.stdout.write(orjson.dumps(answer).decode() + "\n")
