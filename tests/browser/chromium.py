"""Debian's Chromium, driven by Playwright; and what a page did while it was looked at."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, Request, ViewportSize, async_playwright

PROGRAM = shutil.which("chromium")
DESKTOP = ViewportSize(width=1280, height=900)
PHONE = ViewportSize(width=390, height=844)
needs_chromium = pytest.mark.skipif(
    PROGRAM is None and not os.environ.get("OCTAVO_REQUIRE_ALL"), reason="there is no chromium (apt-get install chromium)"
)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Start a browser without a window. Its own sandbox does not work for root, which is who CI is."""
    assert PROGRAM is not None, "there is no chromium"
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=PROGRAM, args=arguments)
        yield started
        await started.close()


@dataclass
class Watched:
    """What a page complained about, and the hosts that it asked."""

    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)


def _matters(request: Request) -> bool:
    """Say whether a request failed by itself, and not because the test went on to another page."""
    return request.failure != "net::ERR_ABORTED"


def watch(page: Page) -> Watched:
    """Write down from now on what the page complains about and whom it asks."""
    seen = Watched()
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("console", lambda said: seen.complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on(
        "requestfailed", lambda request: seen.complaints.append(f"{request.failure}: {request.url}") if _matters(request) else None
    )
    page.on("request", lambda request: seen.hosts.add(urlsplit(request.url).netloc))
    return seen
