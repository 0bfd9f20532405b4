"""Who the tests of people are about."""

import pytest
from fastapi import FastAPI

from core.db import Database
from tests.conftest import TestAgency
from tests.people.cast import Cast


@pytest.fixture
def cast(app: FastAPI, database: Database, agency: TestAgency) -> Cast:
    """Makes members of the first agency."""
    return Cast(app, database, agency)
