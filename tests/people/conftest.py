"""Who the tests of people are about, and where they act."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from core.db import Database
from core.settings import Settings
from tests.conftest import TestAgency, free_port
from tests.fakes.openid import Provider, openid_provider
from tests.people.cast import Cast
from tests.people.credentials import PUBLIC
from tests.people.people import browser, join, make_person
from workers.context import Context, open_context


@pytest.fixture
def cast(app: FastAPI, database: Database, agency: TestAgency) -> Cast:
    """Makes members of the first agency."""
    return Cast(app, database, agency)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Passkeys are bound to a host by its name."""
    return settings.model_copy(update={"public_url": PUBLIC})


@pytest.fixture
async def context(settings: Settings) -> AsyncIterator[Context]:
    """What a worker works with."""
    context = await open_context(settings)
    yield context
    await context.close()


@pytest.fixture
async def ada(database: Database, agency: TestAgency) -> str:
    """Ada owns the first agency."""
    await join(database, agency, await make_person(database, "ada@first.example"), "owner")
    return "ada@first.example"


@pytest.fixture
async def door(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser of nobody yet."""
    async with browser(app) as client:
        yield client


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A provider on loopback."""
    async with openid_provider(free_port()) as running:
        yield running
