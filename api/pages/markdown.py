"""Markdown to HTML: tables, headings that can be linked to, and links between our own pages. Raw HTML is shown, not used."""

import html
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

ERROR_SCHEME = "error:"
"""`[text](error:not_found)` leads to the page of a code, `error:` alone to the list of them."""


def render(text: str) -> str:
    """Render a whole text."""
    parser = _parser()
    tokens = parser.parse(text)
    _name_headings(tokens)
    return str(parser.renderer.render(tokens, parser.options, {}))


def render_line(text: str) -> str:
    """Render what stands inside a paragraph or a cell."""
    return str(_parser().renderInline(text))


@lru_cache(maxsize=1)
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # at the first page, not at the start: most processes never show one

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("fence", _fence)
    parser.add_render_rule("table_open", lambda *_: '<div class="wide" role="group" aria-label="Table" tabindex="0"><table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    parser.add_render_rule("link_open", _link)
    return parser


def _fence(_renderer: object, tokens: "Sequence[Token]", place: int, *_: object) -> str:
    # Focusable, since a long line scrolls sideways and a keyboard must be able to (WCAG 2.2, 2.1.1).
    return f'<pre tabindex="0"><code>{html.escape(tokens[place].content, quote=False)}</code></pre>\n'


def _link(_renderer: object, tokens: "Sequence[Token]", place: int, *_: object) -> str:
    return f'<a href="{html.escape(_address(str(tokens[place].attrGet("href"))))}">'


def _address(href: str) -> str:
    if href.startswith(ERROR_SCHEME):
        return f"/errors/{href.removeprefix(ERROR_SCHEME)}".rstrip("/")
    return re.sub(r"^([a-z-]+)\.md(#|$)", r"/docs/guides/\1\2", href)


def _name_headings(tokens: "Sequence[Token]") -> None:
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            words = re.findall(r"[a-z0-9]+", tokens[place + 1].content.lower())
            token.attrSet("id", "-".join(words))
