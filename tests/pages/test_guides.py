"""The guides say what is so: their calls are made, their links lead somewhere, their tables are those of the code."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args, get_type_hints

import httpx2
import pytest
from fastapi import FastAPI

from api.pages.facts import fill
from api.pages.guides import FOLDER, GUIDES
from api.pages.markdown import render, render_line
from core.development import names_of
from networks.base import Capabilities
from tenants.command import create
from tenants.permissions import Permission
from tenants.posts.states import PUBLICATION_STATES
from tenants.sandbox.behaviours import BEHAVIOURS
from tests.conftest import Platform, client_of

DEADLINE_S = 60.0
OWNER = "owner@demo.example"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Page(HTMLParser):
    """The links, ids and levels of headings of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.levels: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a":
            self.links.append(given.get("href") or "")
        if given.get("id"):
            self.ids.append(given["id"] or "")
        if re.fullmatch(r"h[1-6]", tag):
            self.levels.append(int(tag[1]))


@pytest.fixture
async def reader(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody without a key."""
    async with client_of(app, None) as client:
        yield client


def _shows(shown: Any, actual: Any, place: str = "") -> None:
    """What a guide shows must be in the answer: every key and value of it; `...` stands for what differs from call to call."""
    if isinstance(shown, dict):
        assert isinstance(actual, dict), place
        for key, value in shown.items():
            assert key in actual, f"{place}/{key}"
            _shows(value, actual[key], f"{place}/{key}")
    elif isinstance(shown, list):
        assert isinstance(actual, list), place
        assert len(actual) >= len(shown), place
        for position, value in enumerate(shown):
            _shows(value, actual[position], f"{place}/{position}")
    elif isinstance(shown, str) and shown.endswith("..."):
        assert isinstance(actual, str), place
        assert actual.startswith(shown.removesuffix("...")), place
    else:
        assert actual == shown, place


def _shows_lines(shown: str, actual: str) -> None:
    said = [line.strip().lower() for line in actual.splitlines()]
    for line in shown.strip().lower().splitlines():
        assert line in said, (line, actual)


@asynccontextmanager
async def _working(platform: Platform) -> AsyncIterator[None]:
    """Workers at work meanwhile, as they are in a running system."""

    async def work() -> None:
        while True:
            await platform.work("publish", "operation")

    task = asyncio.create_task(work())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _bash(script: str, environment: dict[str, str], folder: Path) -> str:
    command = ["bash", "-euo", "pipefail", "-c", script]
    paths = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=paths | environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(DEADLINE_S):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.mark.parametrize("name", GUIDES)
async def test_what_a_guide_tells_to_call_answers_what_it_shows(platform: Platform, tmp_path: Path, name: str) -> None:
    # Given the guide's own commands, one shell for all of them with the names that `make run` keeps, and an account
    blocks = BLOCK.findall(fill((FOLDER / f"{name}.md").read_text(), platform.app))
    calls = [place for place, (language, _) in enumerate(blocks) if language == "sh"]
    made = await create(platform.context.settings, "Demo agency", "First client", "Europe/Berlin", OWNER)
    names = names_of(made, OWNER)
    body = {"network": "sandbox", "credentials": {"handle": "always_ok"}, "targets": "all"}
    async with platform.client(names["OCTAVO_API_KEY"]) as client:
        connected = await client.post(f"/v1/workspaces/{names['OCTAVO_WORKSPACE']}/connect-sessions", json=body)
    environment = names | {"OCTAVO_URL": platform.url, "ACCOUNT": connected.json()["accounts"][0]["id"]}
    # When they are run in their order
    script = "".join(f"{{\n{blocks[place][1]}}} > {place}.out\n" for place in calls)
    async with _working(platform):
        await _bash(script, environment, tmp_path)
    # Then each answers what stands below it
    shown = 0
    for place in calls:
        said = (tmp_path / f"{place}.out").read_text()
        language, text = blocks[place + 1] if place + 1 < len(blocks) else ("", "")
        if language == "json":
            _shows(json.loads(text), json.loads(said))
        elif language == "http":
            _shows_lines(text, said)
        else:
            assert "problem+json" not in said
            assert '"code"' not in said
        shown += language in {"json", "http"}
    assert shown or not calls


async def test_every_guide_is_a_page_that_names_itself(reader: httpx2.AsyncClient) -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == set(GUIDES)
    index = (await reader.get("/docs/guides")).text
    for name in GUIDES:
        answer = await reader.get(f"/docs/guides/{name}")
        title = (FOLDER / f"{name}.md").read_text().splitlines()[0].removeprefix("# ")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert f"<title>{title} - Octavo API</title>" in answer.text
        assert f'href="/docs/guides/{name}">{title}</a>' in index
        assert "{{" not in answer.text
        assert "<script" not in answer.text


async def test_every_link_of_every_page_leads_somewhere(reader: httpx2.AsyncClient) -> None:
    seen: dict[str, Page] = {}
    ahead = ["/docs/guides"]
    while ahead:
        path = ahead.pop()
        if path in seen or not path.startswith(("/docs", "/errors")):
            continue
        answer = await reader.get(path)
        assert answer.status_code == 200, path
        seen[path] = Page(answer.text)
        ahead += [link.partition("#")[0] for link in seen[path].links]
    for path, page in seen.items():
        for link in page.links:
            target, _, anchor = link.partition("#")
            if anchor:
                assert anchor in seen[target or path].ids, (path, link)
            elif not target.startswith("https://"):
                assert target in seen or target == "/openapi.json", (path, link)
    assert len(seen) > len(GUIDES)


async def test_headings_are_in_order_and_ids_are_unique(reader: httpx2.AsyncClient) -> None:
    for path in ("/docs/guides", "/errors", "/errors/not_found", *(f"/docs/guides/{name}" for name in GUIDES)):
        page = Page((await reader.get(path)).text)
        assert page.levels.count(1) == 1
        assert page.levels[0] == 1
        assert all(after - before <= 1 for before, after in zip(page.levels, page.levels[1:], strict=False)), path
        assert len(page.ids) == len(set(page.ids)), path


async def test_an_unknown_guide_is_not_found(reader: httpx2.AsyncClient) -> None:
    for path in ("/docs/guides/nope", "/docs/guides/..%2f..%2fREADME", "/docs/guides/quickstart.md", "/docs/assets/nope.js"):
        answer = await reader.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path


async def test_the_tables_of_the_guides_are_those_of_the_code(reader: httpx2.AsyncClient, app: FastAPI) -> None:
    publishing = (await reader.get("/docs/guides/publishing")).text
    for network in app.state.networks.values():
        facts = network.capabilities
        assert facts.promise
        assert facts.title in publishing
        assert render_line(facts.promise) in publishing
    for dedupe in get_args(get_type_hints(Capabilities)["dedupe"]):
        assert f"<code>{dedupe}</code>" in publishing
    for state in PUBLICATION_STATES:
        assert f"<code>{state}</code>" in publishing, state
    sandbox = (await reader.get("/docs/guides/test-mode")).text
    assert [name for name in BEHAVIOURS if f"<code>{name}</code>" not in sandbox] == []
    scopes = (await reader.get("/docs/guides/authentication")).text
    assert [scope for scope in Permission if f"<code>{scope}</code>" not in scopes] == []


async def test_a_guide_cannot_carry_markup_of_its_own() -> None:
    assert render("<script>alert(1)</script> [x](javascript:alert(1))").count("<") == 2  # the paragraph's own
