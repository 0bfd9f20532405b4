"""What is sealed opens in its own row of its own agency, and nowhere else; the memory of keys is short and small."""

from uuid import uuid4

import pytest

from core.clock import now
from core.crypto import KeyRing, SealBroken
from core.db import Database, Tenant
from networks.base import Credentials
from tenants.accounts import sealing
from tenants.accounts.sealing import PENDING, Vault, open_vault
from tests.conftest import TestAgency

SECRET = Credentials({"access_token": "a_secret", "refresh_token": "r_secret"}, now(), ("read",))


async def vault_of(database: Database, ring: KeyRing, agency: TestAgency) -> Vault:
    """Open an agency's vault."""
    async with database.connection(Tenant(agency.actor.agency_id)) as db:
        return await open_vault(db, ring, agency.actor.agency_id)


async def test_a_sealed_value_opens_in_its_own_place_alone(
    database: Database, ring: KeyRing, agency: TestAgency, other: TestAgency
) -> None:
    vault, row_id = await vault_of(database, ring, agency), uuid4()
    sealed = vault.seal(SECRET, row_id)
    assert b"secret" not in sealed
    assert vault.unseal(sealed, row_id) == SECRET
    theirs = await vault_of(database, ring, other)
    for opened, place in (
        (vault, (uuid4(), sealing.CONNECTION)),
        (vault, (row_id, PENDING)),
        (theirs, (row_id, sealing.CONNECTION)),
    ):
        with pytest.raises(SealBroken):
            opened.unseal(sealed, *place)
    assert "secret" not in repr(SECRET)
    assert vault.data_key.hex() not in repr(vault)


async def test_the_data_key_of_another_agency_is_not_seen(
    database: Database, ring: KeyRing, agency: TestAgency, other: TestAgency
) -> None:
    async with database.connection(Tenant(agency.actor.agency_id)) as db:
        with pytest.raises(SealBroken):
            await open_vault(db, ring, other.actor.agency_id)


async def test_a_deleted_data_key_is_forgotten_in_time(
    database: Database, ring: KeyRing, agency: TestAgency, other: TestAgency, monkeypatch: pytest.MonkeyPatch
) -> None:
    await vault_of(database, ring, agency)
    async with database.connection(Tenant(agency.actor.agency_id)) as db:
        await db.execute("delete from agency_keys where agency_id = $1", agency.actor.agency_id)
    await vault_of(database, ring, agency)
    monkeypatch.setattr(sealing.time, "monotonic", lambda: 1e12)
    with pytest.raises(SealBroken):
        await vault_of(database, ring, agency)


async def test_the_memory_is_bounded(
    database: Database, ring: KeyRing, agency: TestAgency, other: TestAgency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "KEEP_MAX", 1)
    for one in (agency, other, agency):
        await vault_of(database, ring, one)
        assert list(sealing._kept[ring]) == [one.actor.agency_id]
