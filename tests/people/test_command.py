"""The operator's command makes an agency with its owner, who can sign in."""

import asyncio
import json
import sys

import asyncpg
import pytest
from fastapi import FastAPI

from core.errors import InvalidInput
from core.settings import Settings
from tenants.command import create
from tests.campaign.processes import ROOT, environment
from tests.people.people import PASSWORD, browser, sign_in


async def test_the_owner_of_a_new_agency_signs_in_with_the_password_that_was_shown(app: FastAPI, settings: Settings) -> None:
    made = await create(settings, "Corner Agency", None, "UTC", "Ada@Corner.example")
    async with browser(app) as client:
        answer = await sign_in(client, "ada@corner.example", made["owner_password"])
        assert (answer.status_code, answer.json()["person"]["id"]) == (201, made["owner"])
        assert {one["id"] for one in answer.json()["agencies"]} == {made["agency"], made["test_agency"]}
        me = (await client.get("/v1/me")).json()
        assert (me["agency"]["id"], me["livemode"], me["actor"]["role"]) == (made["agency"], True, "owner")


async def test_the_command_itself_reads_the_password_of_the_owner(app: FastAPI, settings: Settings) -> None:
    # In a process of its own, which loads no more than the command does
    arguments = ["-m", "tenants", "create-agency", "--name", "Own", "--owner-email", "ada@corner.example", "--password-stdin"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, env=environment(settings), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complaint = await process.communicate(f"{PASSWORD}\n".encode())
    assert process.returncode == 0, complaint.decode()
    made = json.loads(said)
    assert "owner_password" not in made
    async with browser(app) as client:
        assert (await sign_in(client, "ada@corner.example")).json()["person"]["id"] == made["owner"]


async def test_an_owner_whom_there_is_keeps_the_password_and_owns_another_agency(app: FastAPI, settings: Settings) -> None:
    first = await create(settings, "First", None, "UTC", "ada@corner.example", PASSWORD)
    assert "owner_password" not in first
    second = await create(settings, "Second", None, "UTC", "ada@corner.example")
    assert second["owner"] == first["owner"]
    assert "owner_password" not in second
    async with browser(app) as client:
        answer = await sign_in(client, "ada@corner.example")
        assert sorted({one["name"] for one in answer.json()["agencies"]}) == ["First", "Second"]


async def test_an_agency_without_an_owner_has_its_keys_alone(settings: Settings) -> None:
    assert set(await create(settings, "Keys", None, "UTC")) == {"agency", "test_agency", "live_key", "test_key"}
    db = await asyncpg.connect(settings.database_url)
    assert await db.fetchval("select count(*) from members") == 0
    await db.close()


@pytest.mark.parametrize(
    ("owner", "password"), [("ada@corner.example", "too short"), ("nonsense", PASSWORD), ("a b@c.d", PASSWORD)]
)
async def test_a_bad_owner_or_time_zone_is_refused_before_anything_is_made(settings: Settings, owner: str, password: str) -> None:
    with pytest.raises((ValueError, InvalidInput)):
        await create(settings, "Corner Agency", None, "UTC", owner, password)
    with pytest.raises(ValueError, match="time zone"):
        await create(settings, "Corner Agency", "Bakery", "Mars/Olympus", "ada@corner.example", PASSWORD)
    db = await asyncpg.connect(settings.database_url)
    assert await db.fetchval("select count(*) from agencies") == 0
    await db.close()
