"""The reference: Scalar over the published document, from this service alone, and the files that pages need.

Scalar is kept as its publisher built it (docs/decisions/0011). Its page may run scripts from here, talk to here, and
nothing else; what Scalar would fetch elsewhere is switched off in assets/reference.js, and the policy holds it besides.
"""

import gzip
from pathlib import Path

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from api.pages.frame import answer, frame, kept
from core.errors import Missing

router = APIRouter(include_in_schema=False)
PLACE = "/docs"
FOLDER = Path(__file__).parent / "assets"
SCALAR = "scalar-1.72.1.js"
ASSETS = {
    SCALAR: "text/javascript; charset=utf-8",
    "reference.js": "text/javascript; charset=utf-8",
    "pages.css": "text/css; charset=utf-8",
    "people.css": "text/css; charset=utf-8",
    "passkey.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
FOREVER = "public, max-age=31536000, immutable"
"""For a name that carries its version."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Styles alone may be inline: Scalar writes style elements as it goes. Scripts, data and requests stay with this origin."""
CONTENT = f"""<div id="main">
<noscript><p class="note">The reference needs JavaScript. The <a href="/openapi.json">document</a> that it shows, the
<a href="/docs/guides">guides</a> and the <a href="/errors">errors</a> do not.</p></noscript>
<div id="reference"></div>
</div>
<script src="/docs/assets/{SCALAR}"></script>
<script src="/docs/assets/reference.js"></script>"""


@router.get("/", response_class=RedirectResponse)
def root() -> Response:
    """Lead who comes to the bare host to the guides."""
    return RedirectResponse("/docs/guides", status_code=307, headers={"Cache-Control": "no-cache"})


@router.get("/docs")
def reference(request: Request) -> Response:
    """Every operation."""
    page = kept(request, lambda: frame("Reference", CONTENT, place=PLACE))
    return answer(request, page, headers={"Content-Security-Policy": POLICY})


@router.get("/docs/assets/{name}")
def asset(name: str, request: Request) -> Response:
    """A file that pages need."""
    if name not in ASSETS:
        raise Missing
    if name == SCALAR:
        return _packed(request, (FOLDER / f"{name}.gz").read_bytes(), ASSETS[name], cache=FOREVER)
    return answer(request, (FOLDER / name).read_bytes(), ASSETS[name])


@router.get("/openapi.json")
def document(request: Request) -> Response:
    """The published document, with the address of this installation."""
    packed = kept(request, lambda: gzip.compress(orjson.dumps(request.app.openapi()), mtime=0))
    return _packed(request, packed, "application/json")


def _packed(request: Request, packed: bytes, media_type: str, **more: str) -> Response:
    """Answer with what is kept packed by gzip: as it is to who takes that, unpacked to others."""
    headers = {"Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return answer(request, packed, media_type, headers=headers | {"Content-Encoding": "gzip"}, **more)
    return answer(request, gzip.decompress(packed), media_type, headers=headers, **more)
