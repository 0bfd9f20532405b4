"""The guides of docs/guides/, as pages."""

import html
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response

from api.pages.facts import fill
from api.pages.frame import answer, article, frame, kept
from api.pages.markdown import render, render_line
from core.errors import Missing

router = APIRouter(include_in_schema=False)
PLACE = "/docs/guides"
FOLDER = Path(__file__).parents[2] / "docs" / "guides"
GUIDES = (
    "quickstart", "authentication", "people", "test-mode", "publishing", "time-zones", "idempotency", "errors", "pagination",
    "limits", "audit-log", "connect-page", "client-links", "data-rights", "third-party-apps",
)  # fmt: skip
"""In the order in which they are best read."""
INTRODUCTION = """<h1>Guides</h1>
<p>How to build on Octavo: begin with the quickstart, and read the others when you come to them.</p>
"""


@router.get("/docs/guides")
def guide_index(request: Request) -> Response:
    """Every guide with its first sentence."""
    return answer(request, kept(request, _index))


@router.get("/docs/guides/{name}")
def guide(name: str, request: Request) -> Response:
    """One guide."""
    if name not in GUIDES:
        raise Missing("There is no such guide.")
    return answer(request, kept(request, lambda: _page(name, request.app)))


@lru_cache(maxsize=len(GUIDES))
def _begin(name: str) -> tuple[str, str]:
    """The title of a guide, and its first paragraph."""
    title, lead, *_ = (FOLDER / f"{name}.md").read_text("utf-8").split("\n\n", 2)
    return title.removeprefix("# "), lead.replace("\n", " ")


def _index() -> bytes:
    entries = []
    for name in GUIDES:
        title, lead = _begin(name)
        entries.append(f'<li><a href="{PLACE}/{name}">{html.escape(title)}</a><p>{render_line(lead)}</p></li>\n')
    more = (
        '<h2>More</h2>\n<ul class="guides">\n'
        '<li><a href="/docs">Reference</a><p>Every operation, with its fields and examples.</p></li>\n'
        '<li><a href="/errors">Errors</a><p>Every code, with what to do about it.</p></li>\n'
        '<li><a href="/openapi.json">openapi.json</a><p>The contract, for programs and generators.</p></li>\n</ul>\n'
    )
    content = INTRODUCTION + '<ol class="guides">\n' + "".join(entries) + "</ol>\n" + more
    return frame("Guides", article(content), place=PLACE)


def _page(name: str, app: FastAPI) -> bytes:
    text = fill((FOLDER / f"{name}.md").read_text("utf-8"), app)
    return frame(_begin(name)[0], article(render(text) + _onward(name)), place=PLACE)


def _onward(name: str) -> str:
    place = GUIDES.index(name)
    if place + 1 == len(GUIDES):
        return f'<p class="onward"><a href="{PLACE}">All guides</a></p>\n'
    after = GUIDES[place + 1]
    return f'<p class="onward">Next: <a href="{PLACE}/{after}">{html.escape(_begin(after)[0])}</a></p>\n'
