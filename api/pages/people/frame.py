"""The frame of people's pages: a template in the person's language, and the headers that keep it to itself."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.routing import Match

from api.pages.people.browsers import browser_name
from api.pages.people.language import COOKIE, COOKIE_S, LANGUAGES, PARAMETER, Language, Words, asked_for, choose_language
from api.signed_in import SAFE, is_plain

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent / "templates"
HOME = "/sessions"
"""Where who has signed in goes who came from nowhere."""
DONE = "/sign-on/done"
"""The same for who has signed in through an agency, whose session opens no page of the person's own."""
SECOND_FACTOR = "/second-factor"
PATH_LENGTH_MAX = 2_000
BASE_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none';"
MINUTE = "%Y-%m-%d %H:%M UTC"


@lru_cache(maxsize=1)
def _environment() -> "Environment":
    """Templates, read when the first page is asked for."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters["moment"] = _moment
    made.filters["browser"] = browser_name
    return made


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).strftime(MINUTE)


def policy(*, leads_to: tuple[str, ...] = (), scripts: bool = False) -> str:
    """Write the Content-Security-Policy of a page: one style sheet, and forms that come back here.

    Chromium holds `form-action` against where an answer redirects to as well, so a page whose form ends elsewhere names these
    addresses in `leads_to`, or its answer is `leave`.
    """
    targets = " ".join(["'self'", *sorted({_source(one) for one in leads_to})])
    script = " script-src 'self'; connect-src 'self';" if scripts else ""
    return BASE_POLICY + script + f" form-action {targets}"


def _source(url: str) -> str:
    """An address as a policy names it (CSP 3 section 2.3.1): the origin, or the scheme alone of what is no web address."""
    parts = urlsplit(url)
    plain = "".join(one for one in f"{parts.scheme}://{parts.netloc}" if one not in "; ,'\"")
    return plain if parts.scheme in {"http", "https"} else f"{parts.scheme}:"


def page(
    request: Request, template: str, *, status: int = 200, leads_to: tuple[str, ...] = (), scripts: bool = False,
    locale: str | None = None, once: bool = False, kept: Sequence[tuple[str, str | None]] = (), **facts: Any,
) -> Response:  # fmt: skip
    """Answer with a page made of `templates/<template>`, which extends `frame.html` and is given `facts`.

    `locale` is the person's own, where one is known; `leads_to` and `scripts` are as `policy` has them. What is shown `once`, or
    has an address that is good once, cannot be had in another language. `kept` is what the address of the page says beside its
    path, where a form was sent to it.
    """
    language = choose_language(request, locale)
    words = Words(language)
    shown = {"values": {}, "refused": {}, "alert": None, "person": None} | facts
    body = _environment().get_template(template).render(
        say=words.say, plain=words.plain, find=words.find, language=language,
        languages=[] if once else _switches(request, language, kept), **shown,
    )  # fmt: skip
    headers = {
        "Content-Security-Policy": policy(leads_to=leads_to, scripts=scripts),
        "Content-Language": language.code,
        "Vary": "Accept-Language, Cookie",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    return keep_language(request, HTMLResponse(body, status_code=status, headers=headers))


def keep_language(request: Request, response: Response) -> Response:
    """Let the browser keep the language that the address names, also where one is led on from there."""
    wanted = asked_for(request)
    if wanted is not None:
        secure = not is_plain(request.app.state.settings)
        response.set_cookie(COOKIE, wanted.code, max_age=COOKIE_S, path="/", secure=secure, httponly=True, samesite="lax")
    return response


def page_of(request: Request) -> str | None:
    """Find the path of the page to which a form belongs: its own, or the next above that can be looked at, if there is one."""
    path = request.url.path
    while path:
        scope = {**request.scope, "method": "GET", "path": path}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            return path
        path = path.rpartition("/")[0]
    return None


def _switches(request: Request, current: Language, kept: Sequence[tuple[str, str | None]]) -> list[dict[str, Any]]:
    """Links to this page in each language, and everything else of its address; of what a form has brought, to the form's page."""
    path: str | None = ""
    if request.method in SAFE:
        kept = [(name, value) for name, value in request.query_params.multi_items() if name != PARAMETER]
    else:
        path, kept = page_of(request), [pair for pair in kept if pair[1]]
    if path is None:
        return []
    return [
        {"language": one, "current": one is current, "address": f"{path}?{urlencode([*kept, (PARAMETER, one.code)])}"}
        for one in LANGUAGES.values()
    ]


def own_path(text: str | None) -> str | None:
    """Give back a path of this service that somebody is to come to later; None for what could lead anywhere else.

    Browsers take a backslash for a slash and drop tabs and line ends (WHATWG URL, section 4.4), so both are refused.
    """
    if not text or len(text) > PATH_LENGTH_MAX or not text.startswith("/") or text.startswith("//"):
        return None
    if "\\" in text or not text.isprintable() or not text.isascii():
        return None
    return text


def go(path: str) -> Response:
    """Lead to another page of this service, after a form (303) or before one."""
    return RedirectResponse(path, status_code=303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})


def to_sign_in(request: Request, kept: Sequence[tuple[str, str]] = ()) -> Response:
    """Lead who is not signed in to the page for it, and back afterwards; a form that was sent is filled in anew.

    `kept` is as `page` has it. The page of the second factor asks whose session waits, and is nowhere to come back to.
    """
    safe = request.method in SAFE
    path = request.url.path if safe else page_of(request) or HOME
    query = [pair for pair in (parse_qsl(request.url.query) if safe else kept) if pair[0] != PARAMETER]
    onward = f"{path}?{urlencode(query)}" if query else path
    if path == SECOND_FACTOR:
        onward = own_path(dict(query).get("next")) or HOME
    return keep_language(request, go(f"/sign-in?{urlencode({'next': onward})}" if onward != HOME else "/sign-in"))


def leave(request: Request, url: str, name: str) -> Response:
    """Lead to another site by a page, which no policy of the page before stands in the way of. `name` is who is there."""
    return page(request, "leave.html", once=True, url=url, name=name)
