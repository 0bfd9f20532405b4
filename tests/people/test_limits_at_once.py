"""Limits that are counted hold for those who come at once, too."""

import asyncio

import httpx2
import pytest

from core.settings import Settings
from tenants.people.tries import FREE_CODES
from tenants.sign_on.providers import PROVIDERS_MAX
from tests.people.cast import Cast
from tests.people.credentials import add_app
from tests.people.people import browser, sign_in
from tests.people.sign_on import wish


class TestCodes:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        """Enough connections that codes are looked at side by side."""
        return settings.model_copy(update={"database_pool_size": 20})

    async def test_codes_that_come_at_once_are_counted_one_by_one_from_the_first(self, cast: Cast) -> None:
        ada = await cast.add("ada", "owner")
        await add_app(ada.client)
        async with browser(cast.app) as half:
            await sign_in(half, "ada@first.example")
            tries = [half.post("/v1/sessions/second-factor", json={"code": f"{number:06d}"}) for number in range(40)]
            answers = [one.status_code for one in await asyncio.gather(*tries)]
        assert (answers.count(401), answers.count(429)) == (FREE_CODES, 40 - FREE_CODES)


async def test_providers_that_are_set_at_once_are_no_more_than_an_agency_may_have(cast: Cast) -> None:
    ada = await cast.add("ada", "owner")

    async def one(number: int) -> httpx2.Response:
        return await ada.client.post("/v1/identity-providers", json=wish(f"https://id{number}.first.example"))

    answers = await asyncio.gather(*(one(number) for number in range(PROVIDERS_MAX + 10)))
    assert sorted(answer.status_code for answer in answers) == [201] * PROVIDERS_MAX + [409] * 10
    assert len((await ada.client.get("/v1/identity-providers")).json()["data"]) == PROVIDERS_MAX
    # And the same issuer at once is one provider
    first = (await ada.client.get("/v1/identity-providers")).json()["data"][0]
    assert (await ada.client.delete(f"/v1/identity-providers/{first['id']}")).status_code == 204
    twins = await asyncio.gather(
        *(ada.client.post("/v1/identity-providers", json=wish("https://twin.first.example")) for _ in "12")
    )
    assert sorted(answer.status_code for answer in twins) == [201, 409]
    await ada.client.aclose()
