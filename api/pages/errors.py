"""One page for each code of the registry, at the address that `type` of a problem names, and a list of all of them."""

import html

import orjson
from fastapi import APIRouter, Request, Response

from api.document.refusals import REFUSALS, example, statuses_of
from api.pages.frame import answer, article, frame, kept
from api.pages.markdown import render_line
from core.error_texts import ErrorText, read_texts
from core.errors import CODES, Missing

router = APIRouter(include_in_schema=False)
PLACE = "/errors"
RETRY = {
    "no": "No. The same request gets the same answer: change it first.",
    "same": "Yes. Send the same request again, with the same Idempotency-Key, after the seconds that Retry-After names.",
    "later": "Not by itself. The same request can succeed once what stands in the way has changed.",
}
INTRODUCTION = """<h1>Errors</h1>
<p>Every answer that is not a success is <code>application/problem+json</code> (RFC 9457). Its <code>code</code> is for programs
and never changes its meaning; its <code>type</code> is the address of a page below. The list may grow: judge a code that you do
not know by its status. How to handle errors as a whole, says <a href="/docs/guides/errors">the guide</a>.</p>
"""


@router.get("/errors")
def error_index(request: Request) -> Response:
    """Every code, by its status."""
    return answer(request, kept(request, _index))


@router.get("/errors/{code}")
def error_page(code: str, request: Request) -> Response:
    """What one code means, and what to do about it."""
    if code not in CODES:
        raise Missing("There is no such code of an error.")
    return answer(request, kept(request, lambda: _page(code, request.app.state.settings.public_url)))


def _index() -> bytes:
    parts = [INTRODUCTION]
    for status, refusal in REFUSALS.items():
        rows = [f'<li><a href="/errors/{code}"><code>{code}</code></a> {html.escape(CODES[code])}</li>' for code in refusal.codes]
        parts.append(f'<h2 id="{status}">{status}</h2>\n<p>{render_line(refusal.meaning)}</p>\n<ul class="codes">\n')
        parts.append("\n".join(rows) + "\n</ul>\n")
    return frame("Errors", article("".join(parts)), place=PLACE)


def _page(code: str, public_url: str) -> bytes:
    text, statuses = read_texts()[code], statuses_of(code)
    content = f"<h1><code>{code}</code></h1>\n<p>{html.escape(CODES[code])}.</p>\n{_words(text, statuses)}"
    content += "<h2>Example</h2>\n"
    for status in statuses:
        shown = orjson.dumps(example(status, code, public_url), option=orjson.OPT_INDENT_2).decode()
        content += f'<pre tabindex="0"><code>{html.escape(shown, quote=False)}</code></pre>\n'
    content += '<p><a href="/errors">All codes</a></p>\n'
    return frame(code, article(content), place=PLACE)


def _words(text: ErrorText, statuses: list[int]) -> str:
    facts = (
        ("What it means", text.means),
        ("When it happens", text.when),
        ("What to do", text.do),
        ("Does a retry help?", RETRY[text.retry]),
        ("Status", " or ".join(str(status) for status in statuses)),
    )
    return "".join(f"<h2>{title}</h2>\n<p>{render_line(words)}</p>\n" for title, words in facts)
