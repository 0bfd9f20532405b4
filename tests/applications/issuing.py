"""Tokens put where nobody goes the whole way to them."""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from fastapi import FastAPI

from core.clock import now
from core.credentials import hash_credential, write
from core.db import Database
from core.ids import new_id
from tests.conftest import TestAgency

APPLICATION = (
    "insert into applications (agency_id, id, name, confidential, scopes, workspace_ids) values ($1, $2, 'A', true, $3, '{}')"
)
GRANT = """
insert into grants (agency_id, id, member_id, application_agency_id, application_id, application_name, scopes, workspace_ids,
  expires_at)
values ($1, $2, $3, $1, $4, 'A', $5, $6, $7)
"""
TOKEN = """
insert into access_tokens (agency_id, id, kind, hash, grant_id, member_id, application_agency_id, application_id, scopes,
  workspace_ids, expires_at) values ($1, $2, $3, $4, $5, $6, $1, $7, $8, $9, $10)
"""


async def issue(
    app: FastAPI, database: Database, agency: TestAgency, kind: str, member_id: UUID, scopes: Iterable[str], workspaces: list[UUID]
) -> str:  # fmt: skip
    """Issue a token (`oat` of an application, `oem` of a page) that a member granted. Returns its text."""
    agency_id, application_id, grant_id = agency.actor.agency_id, new_id(), new_id()
    text = write(kind, agency_id, livemode=agency.actor.livemode)
    hash = hash_credential(app.state.settings.secret.get_secret_value(), text)
    held, ends = sorted(str(scope) for scope in scopes), now() + timedelta(hours=1)
    async with database.connection(agency.tenant) as db:
        await db.execute(APPLICATION, agency_id, application_id, held)
        await db.execute(GRANT, agency_id, grant_id, member_id, application_id, held, workspaces, ends)
        await db.execute(
            TOKEN, agency_id, new_id(), {"oat": "access", "oem": "embed"}[kind], hash, grant_id, member_id, application_id,
            held, workspaces, ends,
        )  # fmt: skip
    return text
