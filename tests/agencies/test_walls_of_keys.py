import pytest

from core.db import Database
from core.errors import Missing
from tenants.agencies.models import Workspace
from tenants.owned import find
from tests.conftest import TestAgency


async def test_an_agency_finds_its_own_workspace_and_not_that_of_another(
    database: Database, agency: TestAgency, other: TestAgency
) -> None:
    async with database.session(agency.tenant) as session:
        assert (await find(session, Workspace, agency.actor, agency.workspace.id)).id == agency.workspace.id
        with pytest.raises(Missing):
            await find(session, Workspace, agency.actor, other.workspace.id)
