"""A member who owns the first agency, in a browser."""

from collections.abc import AsyncIterator
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from core.db import Database
from tests.conftest import TestAgency
from tests.people.people import join, make_person, signed_in


@pytest.fixture
async def ada(database: Database, agency: TestAgency) -> UUID:
    """Ada owns the first agency."""
    user_id = await make_person(database, "ada@first.example")
    await join(database, agency, user_id, "owner")
    return user_id


@pytest.fixture
async def browser(app: FastAPI, database: Database, ada: UUID) -> AsyncIterator[httpx2.AsyncClient]:
    """Ada's browser."""
    async with await signed_in(app, database, ada) as client:
        yield client
