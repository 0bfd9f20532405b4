"""The words of mails, in every language of the service: texts.toml beside this file, read when the first mail is sent."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).with_suffix(".toml")
LOCALES = ("en", "ru", "ar")
FACT_LENGTH_MAX = 500
"""A name that somebody gave is not the place for a text of his own. The longest link of ours has 300."""


@dataclass(frozen=True, slots=True)
class Text:
    """The subject and the body of a mail."""

    subject: str
    body: str


@lru_cache(maxsize=1)
def texts() -> Mapping[str, Mapping[str, Text]]:
    """Read all of them: template -> locale -> text."""
    found = tomllib.loads(FILE.read_text())
    return {name: {locale: Text(**text) for locale, text in locales.items()} for name, locales in found.items()}


def spoken(locale: str) -> str:
    """Choose the language for somebody who speaks `locale`: its own, or English."""
    language = locale.partition("-")[0].lower()
    return language if language in LOCALES else LOCALES[0]


def compose(template: str, locale: str, facts: Mapping[str, str]) -> Text:
    """Put the facts into a text. Each is one line: nothing that somebody chose makes a line, or a header, of its own."""
    text = texts()[template][spoken(locale)]
    lines = {name: one_line(value) for name, value in facts.items()}
    return Text(text.subject.format_map(lines), text.body.format_map(lines))


def one_line(value: str) -> str:
    """Leave out what ends a line or cannot be seen, and what is too much."""
    return " ".join("".join(each if each.isprintable() else " " for each in value).split())[:FACT_LENGTH_MAX]
