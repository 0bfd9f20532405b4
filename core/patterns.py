"""Patterns that the standard library cannot read: grapheme clusters and classes of Unicode. They are written for `regex`."""

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex  # type: ignore[import-untyped]  # it ships no types, and its stubs are not installed

GRAPHEME = r"\X"
"""What a person sees as one character: an extended grapheme cluster (UAX 29)."""


@lru_cache
def pattern(source: str) -> "regex.Pattern[str]":
    """Compile `source` once. `regex` is imported with the first of them: it is 50 ms of a start, and many texts need none."""
    import regex

    return regex.compile(source)
