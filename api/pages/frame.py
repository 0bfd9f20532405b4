"""What all pages share: the frame around their content, and how a page is kept and answered."""

import hashlib
import html
from collections.abc import Callable, Mapping

from fastapi import Request, Response

CURRENT = "no-cache"
"""May be stored, and is asked for again by its entity tag: a deployment shows at once."""
POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Of pages without a script: one style sheet and one icon, from here."""
PLACES = {"/docs/guides": "Guides", "/docs": "Reference", "/errors": "Errors"}
FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} - Octavo API</title>
<link rel="icon" href="/docs/assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/docs/assets/pages.css">
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<a class="brand" href="/docs/guides">Octavo API</a>
<nav aria-label="Documentation">{places}</nav>
</header>
{content}
</body>
</html>
"""


def frame(title: str, content: str, *, place: str) -> bytes:
    """Put `content` (HTML, with the id "main" where it begins) into the frame. `place` is its entry of `PLACES`."""
    places = " ".join(
        f'<a href="{path}"{" aria-current=true" if path == place else ""}>{name}</a>' for path, name in PLACES.items()
    )
    return FRAME.format(title=html.escape(title), content=content, places=places).encode()


def article(content: str) -> str:
    """Wrap what is to be read in the page's `main`."""
    return f'<main id="main">\n<article>\n{content}</article>\n</main>'


def kept(request: Request, make: Callable[[], bytes]) -> bytes:
    """Give what `make` made at the first request of this path. For paths that are there only: they are finitely many."""
    pages: dict[str, bytes] = request.app.state.pages
    path = request.url.path
    if path not in pages:
        pages[path] = make()
    return pages[path]


def answer(
    request: Request, body: bytes, media_type: str = "text/html; charset=utf-8", *, cache: str = CURRENT,
    headers: Mapping[str, str] | None = None,
) -> Response:  # fmt: skip
    """Answer with `body`, or with 304 to who has it already (RFC 9110 section 13.1.2)."""
    told = {
        "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        "Cache-Control": cache,
        "Content-Security-Policy": POLICY,
        **(headers or {}),
    }
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if told["ETag"] in known or "*" in known:
        return Response(status_code=304, headers=told)
    return Response(body, media_type=media_type, headers=told)
