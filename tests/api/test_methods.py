"""Methods: every path says what it takes, refuses the rest, and answers HEAD as GET without its body."""

import httpx2
import pytest
from fastapi import FastAPI

from tests.conftest import TestAgency, client_of
from tests.walls.slots import operations
from tests.walls.things import never

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")


def resources(app: FastAPI) -> dict[str, set[str]]:
    """Every path of the document with ids of nothing, and its methods as `Allow` lists them."""
    ids = never()
    found: dict[str, set[str]] = {}
    for operation in operations(app.openapi()):
        methods = found.setdefault(operation.fill(ids), {"OPTIONS"})
        methods |= {operation.method} | ({"HEAD"} if operation.method == "GET" else set())
    return found


def allowed(answer: httpx2.Response) -> set[str]:
    return set(answer.headers["allow"].split(", "))


async def test_options_lists_what_each_path_takes(app: FastAPI) -> None:
    async with client_of(app, None) as anybody:
        for path, methods in resources(app).items():
            answer = await anybody.options(path)
            assert (answer.status_code, answer.content, allowed(answer)) == (204, b"", methods), path
        assert (await anybody.options("/v1/nothing")).status_code == 404


async def test_what_a_path_does_not_take_is_refused_by_any_other_method(app: FastAPI, agency: TestAgency) -> None:
    tried = 0
    async with client_of(app, agency.key) as client:
        for path, methods in resources(app).items():
            for method in set(METHODS) - methods:
                answer = await client.request(method, path, json={}, headers={"If-Match": "*", "Idempotency-Key": path[-20:]})
                assert (answer.status_code, answer.json()["code"], allowed(answer)) == (405, "method_not_allowed", methods), (
                    method,
                    path,
                    answer.text,
                )
                tried += 1
    assert tried > 150


async def test_head_is_get_without_its_body_on_every_path(app: FastAPI, agency: TestAgency) -> None:
    async with client_of(app, agency.key) as client:
        for path, methods in resources(app).items():
            answer = await client.head(path)
            expected = (await client.get(path)).status_code if "GET" in methods else 405
            assert (answer.status_code, answer.content) == (expected, b""), path


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-Method-Override"])
async def test_a_method_is_not_overridden_by_a_header(client: httpx2.AsyncClient, header: str) -> None:
    answer = await client.post("/v1/me", headers={header: "GET"})
    assert (answer.status_code, allowed(answer)) == (405, {"GET", "HEAD", "OPTIONS"})
