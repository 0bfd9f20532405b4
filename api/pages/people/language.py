"""In which language a page speaks, and its words: one catalogue for each language, as data."""

import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from fastapi import Request
from markupsafe import Markup

FOLDER = Path(__file__).parent / "texts"
COOKIE = "lang"
COOKIE_S = 365 * 24 * 3600
PARAMETER = "lang"
ACCEPTED_MAX = 20
"""Entries of Accept-Language that are looked at; browsers send fewer than ten."""
QUALITY = re.compile(r"q=(0(\.\d{0,3})?|1(\.0{0,3})?)")


class Language(NamedTuple):
    """A language: its code, its own name for itself, and the direction of its script."""

    code: str
    name: str
    direction: str = "ltr"


LANGUAGES = {one.code: one for one in (Language("en", "English"), Language("ru", "Русский"), Language("ar", "العربية", "rtl"))}
DEFAULT = LANGUAGES["en"]


def _known(tag: str | None) -> Language | None:
    """The language of a tag such as `ru-RU`, whatever its region (RFC 4647 section 3.4)."""
    return LANGUAGES.get((tag or "").strip().partition("-")[0].lower())


def _accepted(header: str) -> Language | None:
    """The one that a browser likes best among ours (RFC 9110 section 12.5.4)."""
    wishes = []
    for place, entry in enumerate(header.split(",")[:ACCEPTED_MAX]):
        tag, _, parameter = entry.partition(";")
        quality = QUALITY.fullmatch(parameter.strip())
        known = _known(tag)
        if known is not None and (quality is not None or not parameter):
            wishes.append((-float(quality[1]) if quality else -1.0, place, known))
    liked = [wish for wish in wishes if wish[0] < 0]
    return min(liked)[2] if liked else None


def asked_for(request: Request) -> Language | None:
    """The language that the address names, which is kept in a cookie from then on."""
    return _known(request.query_params.get(PARAMETER))


def choose_language(request: Request, locale: str | None = None) -> Language:
    """Choose: what the address names, what was chosen before, the person's own, what the browser likes, English.

    English as a person's own says nothing: it is what everybody has who never chose.
    """
    chosen = asked_for(request) or _known(request.cookies.get(COOKIE))
    own = _known(locale)
    if chosen is None and own is not DEFAULT:
        chosen = own
    return chosen or _accepted(request.headers.get("accept-language", "")) or own or DEFAULT


@lru_cache(maxsize=len(LANGUAGES))
def catalogue(code: str) -> Mapping[str, Mapping[str, str]]:
    """Read the texts of a language: page, then name, then words."""
    return tomllib.loads((FOLDER / f"{code}.toml").read_text("utf-8"))


class Words:
    """The words of one language, as templates ask for them: by `page.name`."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._texts = catalogue(language.code)

    def find(self, name: str) -> str | None:
        """The text as it stands in the catalogue, if there is one."""
        page, _, key = name.partition(".")
        return self._texts.get(page, {}).get(key)

    def plain(self, name: str, /, **facts: object) -> str:
        """A text without markup, for titles and attributes. Raises KeyError for a name that does not exist."""
        page, _, key = name.partition(".")
        return self._texts[page][key].format(**facts)

    def say(self, name: str, /, **facts: object) -> Markup:
        """A text for the body of a page. Facts are escaped, and isolated: a name may be written in the other direction."""
        page, _, key = name.partition(".")
        isolated = {fact: Markup("<bdi>{}</bdi>").format(value) for fact, value in facts.items()}
        return Markup.escape(self._texts[page][key]).format(**isolated)
